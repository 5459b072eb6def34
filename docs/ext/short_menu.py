"""The menu beside a page opens the branch of that page alone. The theme would write every module into every page's menu."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

BEFORE_THE_THEME = 400  # its handler of the same event has the default, 500


def shorten(app: Sphinx, page: str, template: str, context: dict[str, Any], document: Any) -> None:
    """Sphinx's event: a page is about to be written."""
    whole = context.get("toctree")
    if whole is not None:
        context["toctree"] = lambda **options: whole(**{**options, "collapse": True})


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx calls this when the extension is loaded."""
    app.connect("html-page-context", shorten, priority=BEFORE_THE_THEME)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
