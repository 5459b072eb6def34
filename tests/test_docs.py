"""What `make docs` makes its pages of: docstrings that can be read, verbs and options with their meaning, every document a place.

The site itself is built by `make docs`, where each of Sphinx's warnings is a fault.
"""

from __future__ import annotations

import io
import re
import subprocess
from typing import Any

import pytest
from bundle_options import WORKFLOWS, meanings, options, overlay_options
from command_pages import fill, helps
from docutils.frontend import get_default_settings
from docutils.io import ErrorOutput
from docutils.parsers.rst import Parser
from docutils.utils import new_document
from plain_docstrings import plain
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

from tests.conftest import ROOT
from tests.test_docstrings import FOLDERS, definitions

DOCS = ROOT / "docs"
PAGES = {"scripts": "scripts", "export": "export", "federated": "federated", "etscnet-edge": "edge"}
SETTINGS = get_default_settings(Parser)
NAPOLEON: Any = Config(napoleon_use_ivar=True)  # read by its attributes alone
OVERLAYS = ("inference_onnx.json", "inference_trt.json", "multi_gpu_train.json")


def complaints(docstring: str) -> str:
    """What docutils says of a docstring that went the way of a page's."""
    text = str(GoogleDocstring(plain(docstring), NAPOLEON))
    document = new_document("docstring", SETTINGS.copy())
    said = io.StringIO()
    document.reporter.stream = ErrorOutput(said)
    Parser().parse(f".. default-role:: literal\n\n{text}\n", document)
    return said.getvalue()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_docstring_can_be_read(folder: str) -> None:
    said = {one.place: complaints(one.docstring) for one in definitions() if one.place.startswith(folder)}
    assert len(said) > 50
    assert {place: found for place, found in said.items() if found} == {}


def test_what_restructured_text_would_misread_is_shown_as_it_stands() -> None:
    for docstring in (
        "|z| of a case",
        "It is:\n\n    a *.md\n    b\n\nSo.",
        "Two:\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
    ):
        assert complaints(docstring) == ""
    assert complaints("an *emphasis that never ends") != ""
    assert plain("`a|b` and |z|") == "`a|b` and \\|z\\|"


@pytest.mark.parametrize(("package", "page"), PAGES.items())
def test_a_page_of_commands_has_every_verb_with_its_help(package: str, page: str) -> None:
    text = fill((DOCS / "commands" / f"{page}.md").read_text())
    assert len(helps(package)) >= 4
    for verb, said in helps(package).items():
        assert f"\n## `{verb}`\n" in text and said.rstrip() in text


def test_the_bundles_page_has_every_option_with_its_default() -> None:
    page = (DOCS / "commands" / "bundle.md").read_text()
    text = fill(page)
    assert set(re.findall(r"<!-- options: (\w+) -->", page)) == set(WORKFLOWS)
    assert "| `--epochs` | `100` |" in text and "| `--part` | `testing` |" in text and "<!--" not in text


def test_an_option_is_one_that_its_run_reads() -> None:
    named = {workflow: {option.name for option in options(workflow)} for workflow in WORKFLOWS}
    assert {"epochs", "learning_rate"} <= named["training"] and not {"epochs", "learning_rate"} & named["evaluating"]
    assert "part" in named["evaluating"] and "part" not in named["training"]
    assert {"imports", "code_path", "run"}.isdisjoint(set().union(*named.values()))


def test_a_meaning_is_of_an_option_that_there_is() -> None:
    there = {option.name for workflow in WORKFLOWS for option in options(workflow)}
    there |= {option.name for overlay in OVERLAYS for option in overlay_options(overlay)}
    assert set(meanings()) == there
    assert all(meaning.endswith(".") for meaning in meanings().values())


def test_an_overlay_is_shown_with_what_it_adds() -> None:
    page = (DOCS / "commands" / "bundle.md").read_text()
    assert set(re.findall(r"<!-- overlay: (\S+) -->", page)) == set(OVERLAYS)
    assert [overlay_options(name)[0].name for name in OVERLAYS] == ["manifest", "manifest", "backend"]


def test_every_document_has_its_place_in_the_contents() -> None:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    contents = "".join(re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text(), flags=re.DOTALL))
    placed = {
        (DOCS / f"{entry}.md").resolve()
        for entry in re.findall(r"^(?:.* <)?([\w./-]+?)>?$", contents, flags=re.MULTILINE)
    }
    below = {(DOCS / "commands" / f"{page}.md").resolve() for page in ("bundle", *PAGES.values())}
    assert {(ROOT / file).resolve() for file in files} == placed | below | {(DOCS / "index.md").resolve()}
