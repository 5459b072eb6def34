"""A report as a PDF for print: A4 across, a contents list, page numbers, fonts inside."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import matplotlib
from fpdf import FPDF
from fpdf.enums import Align, TableBordersLayout
from fpdf.fonts import FontFace
from fpdf.outline import TableOfContents
from matplotlib.figure import Figure

from scripts.report.document import Picture, Section, Table, Text

FONT = "DejaVu"  # Matplotlib brings it: no font has to be installed
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
INK, SOFT, WARN = 30, 95, (255, 244, 229)
MM = 25.4  # an inch
_WIDEST = 60  # characters that a column is given room for before its cells are wrapped


def to_pdf(title: str, subtitle: str, sections: Sequence[Section], *, made: datetime, footer: str) -> bytes:
    """The whole document.

    Args:
        title: its heading.
        subtitle: below it: of what, by which version.
        sections: in order, each an entry of the contents.
        made: its date, in the file's properties.
        footer: at the foot of every page, before the page's number.
    """
    pdf = _Pages(footer)
    pdf.set_title(title)
    pdf.set_creation_date(made)
    pdf.add_page()
    pdf.set_font(FONT, "B", 18)
    pdf.multi_cell(0, 9, title, new_x="LMARGIN", new_y="NEXT")
    pdf.set_font(FONT, "", 9)
    pdf.set_text_color(SOFT)
    pdf.multi_cell(0, 5, subtitle, new_x="LMARGIN", new_y="NEXT")
    pdf.ln(4)
    contents = TableOfContents()
    pdf.set_text_color(INK)
    pdf.insert_toc_placeholder(contents.render_toc, pages=1)
    for section in sections:
        pdf.section(section)
    return bytes(pdf.output())


class _Pages(FPDF):
    """A4 across, with a footer. One method a kind of block."""

    def __init__(self, footer: str) -> None:
        super().__init__(orientation="landscape", format="A4")
        self.set_auto_page_break(True, margin=15)
        self.set_margins(14, 12)
        for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font(FONT, style, FONTS / file)
        self._said = footer
        self._numbers = 0

    def footer(self) -> None:
        """Called by fpdf2 at the end of every page."""
        self.set_y(-11)
        self.set_font(FONT, "", 7)
        self.set_text_color(SOFT)
        self.cell(self.epw - 20, 5, self._said)
        self.cell(20, 5, str(self.page_no()), align=Align.R)
        self.set_text_color(INK)

    def section(self, section: Section) -> None:
        """A heading and its blocks; it stays with the first of them."""
        if self.will_page_break(min(self.eph, 18 + _room(section.blocks[0], self._scale))):
            self.add_page()
        self.ln(5)
        self.start_section(section.title)
        self.set_font(FONT, "B", 13)
        self.multi_cell(0, 8, section.title, new_x="LMARGIN", new_y="NEXT")
        for block in section.blocks:
            if isinstance(block, Text):
                self.paragraph(block)
            elif isinstance(block, Table):
                self.table_of(block)
            else:
                self.picture(block)

    def paragraph(self, text: Text) -> None:
        """Set off by its ground if it is a warning."""
        self.set_font(FONT, "", 9)
        self.set_fill_color(*(WARN if text.warning else (255, 255, 255)))
        self.multi_cell(0, 5, text.text, fill=text.warning, align=Align.L, new_x="LMARGIN", new_y="NEXT")
        self.set_fill_color(255)  # or the rows of the next table would be filled, too
        self.ln(1.5)

    def table_of(self, table: Table) -> None:
        """Columns as wide as their cells ask for; the head is repeated on every page."""
        self._heading(table.title, room=_room(table, self._scale))
        wanted = [
            min(_WIDEST, max(7, *(len(row[column]) for row in (table.columns, *table.rows)))) ** 0.85
            for column in range(len(table.columns))
        ]
        self.set_font(FONT, "", 6.5 if len(table.columns) > 7 else 7.5)
        self.set_draw_color(200)
        with self.table(
            col_widths=wanted,
            width=self.epw if sum(wanted) > 70 else self.epw * max(0.45, sum(wanted) / 70),
            align=Align.L,
            text_align=Align.L,
            line_height=4,
            padding=(0.7, 1),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            headings_style=FontFace(emphasis="BOLD", fill_color=(246, 248, 250)),
        ) as rows:
            for cells in (table.columns, *table.rows):
                row = rows.row()
                for cell in cells:
                    row.cell(cell)
        self._small([f"- {note}" for note in table.notes])

    def picture(self, picture: Picture) -> None:
        """Never cut by the end of a page."""
        self._heading(picture.title, room=_room(picture, self._scale))
        width = picture.figure.get_size_inches()[0] * MM * self._scale(picture.figure)
        self.image(io.BytesIO(picture.png), w=width, alt_text=picture.title)
        self._small([picture.caption])

    def _scale(self, figure: Figure) -> float:
        """No wider than the page, no higher than two thirds of it, unless that makes its letters too small to read."""
        width, height = figure.get_size_inches() * MM
        wanted = min(0.85, self.epw / width, self.eph * 2 / 3 / height)
        return float(min(max(wanted, 0.6), self.epw / width, (self.eph - 30) / height))

    def _heading(self, title: str, *, room: float) -> None:
        if self.will_page_break(min(room, self.eph - 12) + 8):
            self.add_page()
        self.ln(2)
        self.set_font(FONT, "B", 9)
        self.multi_cell(0, 5, title, align=Align.L, new_x="LMARGIN", new_y="NEXT")
        self.ln(1)

    def _small(self, lines: Sequence[str]) -> None:
        self.set_font(FONT, "", 7)
        self.set_text_color(SOFT)
        for line in lines:
            self.multi_cell(0, 3.8, line, align=Align.L, new_x="LMARGIN", new_y="NEXT")
        self.set_text_color(INK)
        self.ln(2)


def _room(block: Text | Table | Picture, scale: Callable[[Figure], float]) -> float:
    """What a block needs before a page may end: of a table its head and some rows (mm)."""
    if isinstance(block, Picture):
        return float(block.figure.get_size_inches()[1] * MM * scale(block.figure)) + 14
    return 45 if isinstance(block, Table) else 30
