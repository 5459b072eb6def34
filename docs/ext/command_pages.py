"""Writes what code and JSON know into the pages that ask for it, by a comment of one line:

    <!-- verbs: export -->                 the verbs of a package, each with what `VERB --help` says
    <!-- options: inference -->            the options of a workflow of the bundle
    <!-- overlay: inference_onnx.json -->  those of a configuration that is laid over another

The page itself holds none of it, so that there is nothing to bring up to date.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module

from bundle_options import Option, options, overlay_options
from etscnet_edge.verbs import VERBS as EDGE_VERBS
from sphinx.application import Sphinx

from scripts.command_line.commands import describe

PLACE = re.compile(r"^<!-- (\w+): (\S+) -->$", flags=re.MULTILINE)


def option_table(listed: Sequence[Option]) -> str:
    """Markdown: option, default, meaning."""
    rows = [(f"`--{option.name}`", f"`{option.default}`", option.meaning) for option in listed]
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in ("option | default | meaning", "---|---|---", *lines)) + "\n"


def helps(package: str) -> dict[str, str]:
    """Verb -> what `VERB --help` prints; the edge's command has parsers of its own."""
    if package == "etscnet-edge":
        return {name: options.describe() for name, options in EDGE_VERBS.items()}
    verbs = import_module(f"{package}.__main__").VERBS
    return {name: describe(package, verbs, name) for name in verbs}


def verb_sections(package: str) -> str:
    """Markdown: a heading a verb, and its help."""
    return "\n".join(f"## `{name}`\n\n```text\n{text.rstrip()}\n```\n" for name, text in helps(package).items())


WRITERS: dict[str, Callable[[str], str]] = {
    "verbs": verb_sections,
    "options": lambda workflow: option_table(options(workflow)),
    "overlay": lambda file: option_table(overlay_options(file)),
}


def fill(text: str) -> str:
    """A page's Markdown with what its comments ask for in their places."""
    return PLACE.sub(lambda match: WRITERS[match[1]](match[2]) if match[1] in WRITERS else match[0], text)


def fill_page(app: Sphinx, page: str, source: list[str]) -> None:
    """Sphinx's event: a page was read, its text is the one item of `source`."""
    if page.startswith("docs/commands/"):
        source[0] = fill(source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when the extension is loaded."""
    app.connect("source-read", fill_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
