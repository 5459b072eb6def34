"""Sphinx settings of the documentation: `make docs`.

The source folder is the repository: every document is shown from where it lies, and its links lead where they lead on GitHub.
This folder adds what is in no other: tutorial, commands, API.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(ROOT / "edge"), str(HERE / "ext")]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # the API's pages import ONNX Runtime

project = "eTSC-Net"
author = "The eTSC-Net developers"
release = json.loads((ROOT / "bundle" / "configs" / "metadata.json").read_text())["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "command_pages",
    "names",
    "plain_docstrings",
    "short_menu",
    "signatures",
]
root_doc = "docs/index"
include_patterns = ["*.md", "**/*.md", "docs/api/*.rst"]
exclude_patterns = [  # what .gitignore keeps out of the repository, and what pip leaves beside a package
    ".*",
    "**/__pycache__",
    "**/node_modules",
    "**/*.egg-info",
    "build",
    "data",
    "demo",
    "dist",
    "edge/build",
    "exports",
    "mutants",
    "results",
    "runs",
]

myst_heading_anchors = 4  # as GitHub's
suppress_warnings = ["myst.header"]  # the model card's levels are those of the Model Zoo's template

default_role = "name"  # single backticks, see ext/names.py
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"eTSC-Net {release}"
templates_path = [str(HERE / "templates")]
html_additional_pages = {"index": "start.html"}  # the site's own address leads to docs/index
html_static_path = [str(HERE / "static")]
html_css_files = ["width.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
