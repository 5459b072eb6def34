"""A report's content in every format: nothing is lost, nothing is executed, nothing is fetched."""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime

import pytest
from matplotlib.figure import Figure
from pypdf import PdfReader

from scripts.report.checklists import checklist
from scripts.report.document import Picture, Section, Table, Text
from scripts.report.html import to_html
from scripts.report.pdf import to_pdf

EVIL = "<script>alert(1)</script> & | ü ≥"


def drawing() -> Figure:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def table(rows: int = 2) -> Table:
    return Table(
        "t", "A table", ("child", "said"), tuple((f"sub-{n:03d}", EVIL) for n in range(rows)), notes=("A note.",)
    )


def sections() -> list[Section]:
    picture = Picture("p", "A picture", drawing(), "Its caption.")
    return [
        Section("First things", [Text("Plain."), Text("Careful.", warning=True), table()]),
        Section("Then", [picture]),
    ]


def test_a_table_refuses_a_row_of_another_length() -> None:
    with pytest.raises(ValueError, match="must have 2 cells"):
        Table("t", "", ("a", "b"), (("1",),))


def test_a_table_is_csv_and_markdown() -> None:
    assert table(1).to_csv() == f"child,said\nsub-000,{EVIL}\n"
    lines = table(1).to_markdown().splitlines()
    assert lines[0] == "A table" and lines[-1] == "- A note."
    assert lines[2].startswith("| child") and set(lines[3]) == {"|", "-"} and r"\|" in lines[4]
    assert len({len(line) for line in lines[2:5]}) == 1


def test_html_stands_alone_and_runs_nothing() -> None:
    page = to_html("The title", "of today", sections())

    assert "<script" not in page and "&lt;script&gt;alert(1)" in page
    assert "default-src 'none'" in page and not re.search(r'(src|href)="(?!data:|#)', page)
    for words in (
        "The title",
        "of today",
        "First things",
        "Plain.",
        "A table",
        "sub-001",
        "A note.",
        "A picture",
        "Its caption.",
    ):
        assert words in page
    assert page.count('class="warning"') == 1 and 'href="#first-things"' in page and 'id="first-things"' in page
    assert page.count("data:image/svg+xml;base64,") == 1


def test_the_same_figure_is_the_same_file() -> None:
    one, other = (Picture("p", "", drawing(), "") for _ in range(2))
    assert one.svg == other.svg and one.png == other.png


def test_pdf_holds_the_words_the_contents_and_the_warning_on_every_page() -> None:
    content = to_pdf(
        "The title",
        "of today",
        [*sections(), Section("Long", [table(80)])],
        made=datetime(2026, 1, 2, tzinfo=UTC),
        footer="Research only.",
    )

    pages = [page.extract_text() for page in PdfReader(io.BytesIO(content)).pages]
    text = "\n".join(pages)
    for words in ("The title", "First things", "Careful.", "sub-079", "A note.", "Its caption.", "≥"):
        assert words in text
    assert len(pages) > 3 and all("Research only." in page for page in pages)
    assert "First things" in pages[0]  # the contents
    assert sum("child" in page and "said" in page for page in pages) > 2  # the head of a long table is repeated


@pytest.mark.parametrize(("name", "items"), [("TRIPOD+AI", 52), ("CLAIM 2024", 44)])
def test_a_checklist_says_where_each_item_is_met_and_what_is_missing(name: str, items: int) -> None:
    empty, some = checklist(name, {}), checklist(name, {"cohort": "Participants"})

    assert len(empty.rows) == items and len({row[0] for row in empty.rows}) == items
    assert {row[3] for row in empty.rows} == {"", "not met"}
    assert sum(row[3] == "Participants" for row in some.rows) >= 4
    assert all(row[4].startswith("to be written by the authors") for row in some.rows if row[3] == "")
    assert f"{sum(row[3] == 'Participants' for row in some.rows)} of {items} items are met" in some.title
