"""Docstrings are plain English with a little of Markdown, which reStructuredText would read as something else.

`|z|` is an absolute value, rows of `|` are a table, what stands indented under a line with a colon and an empty one is shown
as it is.
"""

from __future__ import annotations

import re
from textwrap import indent
from typing import Any

from sphinx.application import Sphinx

PARTS = re.compile(
    r"""(?P<table>(?:^\|.*(?:\n|\Z))+)
    |(?P<block>(?<=[^:]:)\n\n(?:[ ]+.*(?:\n|\Z)|\n)+)
    |(?P<code>`+[^`]*`+)
    |(?P<bar>\|)""",
    flags=re.MULTILINE | re.VERBOSE,
)


def plain(docstring: str) -> str:
    """The same docstring as reStructuredText: tables and indented blocks are literal, other bars escaped outside of backticks."""
    return PARTS.sub(_written, docstring)


def _written(part: re.Match[str]) -> str:
    if part["table"]:
        return "::\n\n" + indent(part["table"], "    ") + "\n"
    return f":{part[0]}" if part["block"] else "\\|" if part["bar"] else part[0]


def read_plainly(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Sphinx's event: a docstring was found; its lines are changed in place."""
    lines[:] = plain("\n".join(lines)).split("\n")


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when the extension is loaded."""
    app.connect(
        "autodoc-process-docstring", read_plainly, priority=400
    )  # before napoleon's, which has the default, 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
