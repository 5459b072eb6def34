"""A report as one HTML file that needs nothing beside it: pictures inside, no script, nothing from the network."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from scripts.report.document import Picture, Section

TEMPLATE = Path(__file__).with_name("report.html.j2")


def to_html(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole document.

    Args:
        title: its heading.
        subtitle: one line below it: of what, made when, by which version.
        sections: in order.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["anchor"] = _anchor
    environment.filters["picture"] = _picture
    environment.filters["kind"] = lambda block: type(block).__name__
    return environment.get_template(TEMPLATE.name).render(title=title, subtitle=subtitle, sections=sections)


def _picture(picture: Picture) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(picture.svg).decode()


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
