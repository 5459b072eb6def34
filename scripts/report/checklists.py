"""TRIPOD+AI and CLAIM 2024: where each item is met in the report, and which items are the authors' own to write.

Sources: Collins GS et al., BMJ 2024;385:e078378 (TRIPOD+AI, 27 items with 52 parts); Tejani AS et al., Radiol Artif Intell
2024;6:e240300 (CLAIM, 44 items). The items are given in short, in other words than theirs: fill in the originals to submit.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from scripts.report.document import Table

ITEMS = Path(__file__).with_name("checklists.tsv")
AUTHORS = "authors"  # the section of what no command can know


def checklist(name: str, sections: Mapping[str, str]) -> Table:
    """One checklist as a table.

    Args:
        name: "TRIPOD+AI" or "CLAIM 2024".
        sections: key -> title of the sections that this report has; what is met in another one is not met.
    """
    with ITEMS.open(newline="", encoding="utf-8") as stream:
        items = [row for row in csv.DictReader(stream, delimiter="\t") if row["checklist"] == name]
    rows = [(item["item"], item["topic"], item["asks"], *_where(item, sections)) for item in items]
    met = sum(row[3] not in ("", "not met") for row in rows)
    authors = sum(item["section"] == AUTHORS for item in items)
    return Table(
        name=f"checklist_{name.split()[0].lower().replace('+', '_')}",
        title=f"{name}: {met} of {len(rows)} items are met here, {authors} are the authors' to write",
        columns=("item", "topic", "asks for", "section", "remark"),
        rows=tuple(rows),
        notes=("In short; the originals have the full wording. An item is met in part where the remark says so.",),
    )


def _where(item: Mapping[str, str], sections: Mapping[str, str]) -> tuple[str, str]:
    if item["section"] == AUTHORS:
        return "", "to be written by the authors" + (f"; {item['remark']}" if item["remark"] else "")
    if item["section"] in sections:
        return sections[item["section"]], item["remark"]
    return "not met", "this report was made without the files that it needs"
