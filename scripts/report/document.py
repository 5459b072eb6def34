"""What a report is made of: sections of text, tables and pictures, whatever format they are written in afterwards."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import matplotlib
from matplotlib.figure import Figure

DPI = 200


@dataclass(frozen=True)
class Text:
    """One paragraph. A warning is set off from the rest."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Table:
    """A table of finished texts, as a person reads it.

    Attributes:
        name: of its files, e.g. "table2".
        title: one line above it.
        columns: the head; rows are as long.
        rows: cell by cell.
        notes: lines below it: tests, abbreviations, what was left out.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.name}: every row must have {len(self.columns)} cells")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def to_csv(self) -> str:
        """Head and rows as CSV, without title and notes."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()

    def to_markdown(self) -> str:
        """Title, table and notes, for a document or the terminal; columns are aligned."""
        table = [[cell.replace("|", "\\|") for cell in row] for row in (self.columns, *self.rows)]
        widths = [max(3, *(len(row[column]) for row in table)) for column in range(len(self.columns))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in table
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join([self.title, "", *lines, *(["", *(f"- {note}" for note in self.notes)] if self.notes else [])])


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Attributes:
        name: of its files, e.g. "figure3".
        title: one line above it.
        figure: drawn by Matplotlib; written as SVG and PNG.
        caption: what it shows, and what must be known to read it.
    """

    name: str
    title: str
    figure: Figure = field(compare=False)
    caption: str

    @cached_property
    def svg(self) -> bytes:
        """For the screen; letters are outlines, so that it looks the same everywhere. The same figure gives the same bytes."""
        content = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "etsc-net"}):
            self.figure.savefig(content, format="svg", metadata={"Date": None})
        return content.getvalue()

    @cached_property
    def png(self) -> bytes:
        """For print, at `DPI`."""
        content = io.BytesIO()
        self.figure.savefig(content, format="png", dpi=DPI)
        return content.getvalue()


Block = Text | Table | Picture


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in order."""

    title: str
    blocks: Sequence[Block]
