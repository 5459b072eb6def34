"""Table 1: the clinical variables of children whose seizures are controlled and of those whose are not.

`python -m scripts table1 --dataset_dir DIR --output_dir DIR`. The numbers are `scripts.report.describe`'s.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from scripts.answer import Answer
from scripts.files import write_atomically
from scripts.report.cells import NONE, p_value, signed
from scripts.report.describe import CohortDescription, Described, Share, Summary, describe_cohort
from scripts.report.document import Table
from scripts.report.group_tests import NOT_TESTED
from scripts.report.participants import read_participants
from scripts.report.variables import CLINICAL, Variable, own_variables


def write_table1(
    dataset_dir: str | Path, output_dir: str | Path, *, variables: str | Sequence[str] = (), smd: bool = False
) -> Answer:
    """Write Table 1, the children's characteristics by outcome, as CSV, Markdown and JSON.

    Args:
        dataset_dir: BIDS folder with participants.tsv.
        output_dir: folder of table1.csv, table1.md and table1.json.
        variables: further columns, declared in participants.json.
        smd: add standardised mean differences.

    Example:
        python -m scripts table1 --dataset_dir data/cohort --output_dir results/table1 --smd

    Returns:
        The table in Markdown, and table1.json.

    Raises:
        InputError: no participants.tsv, or a column that is not declared or not understood.
    """
    names = [variables] if isinstance(variables, str) else list(variables)
    shown = (*CLINICAL, *(own_variables(dataset_dir, names) if names else ()))
    description = describe_cohort(read_participants(dataset_dir, shown), shown)
    table = _table(description, smd=smd)
    folder, markdown = Path(output_dir), table.to_markdown()
    write_atomically(folder / "table1.csv", table.to_csv())
    write_atomically(folder / "table1.md", f"{markdown}\n")
    write_atomically(folder / "table1.json", json.dumps(description.to_dict(), indent=1) + "\n")
    return Answer(markdown, description.to_dict())


def table1(participants: pd.DataFrame, *, variables: Sequence[Variable] = CLINICAL, smd: bool = False) -> Table:
    """Table 1 of a cohort, as a person reads it.

    Args:
        participants: of `scripts.report.participants.read_participants`.
        variables: of the table.
        smd: add standardised mean differences.

    Raises:
        InputError: as of `describe_cohort`.
    """
    return _table(describe_cohort(participants, variables), smd=smd)


def _table(description: CohortDescription, *, smd: bool) -> Table:
    heads = [f"{name} (N = {n})" for name, n in description.n.items()]
    columns = ["", *heads, "p", "test", "effect", *(["SMD"] if smd else []), "not known"]
    rows = []
    for described in description.described:
        lines = _lines(described)
        test = described.test
        named = test.name if test.name != NOT_TESTED else f"{NOT_TESTED}: {test.reason}"
        missing = " + ".join(str(described.missing[name]) for name in description.n)
        difference = NONE if described.smd is None else f"{described.smd:.2f}"
        for number, (title, cells, effect) in enumerate(lines):
            first = number == 0
            start, middle, end = (
                ((p_value(test.p), named), [difference], [missing]) if first else (("", ""), [""], [""])
            )
            rows.append((title, *cells, *start, effect, *(middle if smd else []), *end))
    return Table(
        "table1", "Table 1. Clinical variables by outcome", tuple(columns), tuple(rows), _notes(description, smd)
    )


def _lines(described: Described) -> list[tuple[str, tuple[str, ...], str]]:
    """The variable's lines: title, one cell a group, effect."""
    title = described.variable.title
    if described.summaries:
        unit = f", {described.variable.unit}" if described.variable.unit else ""
        effect = NONE if described.superiority is None else f"AUC {described.superiority:.3f}"
        groups = described.summaries.values()
        return [
            (f"{title}{unit}: mean (range), SD", tuple(_mean(summary) for summary in groups), effect),
            ("- median [quartiles]", tuple(_median(summary) for summary in groups), ""),
        ]
    if not described.shares:
        return [(title, (NONE,) * len(described.missing), NONE)]
    if described.variable.kind == "binary":
        (share,) = described.shares
        return [(f"{title}, n (%)", _cells(share), _h(share))]
    lines = [(f"- {share.title}", _cells(share), _h(share)) for share in described.shares]
    return [(f"{title}, n (%)", ("",) * len(described.missing), ""), *lines]


def _cells(share: Share) -> tuple[str, ...]:
    return tuple(_count(count, share.known[group]) for group, count in share.count.items())


def _count(count: int, known: int) -> str:
    return f"{count}/{known} ({100 * count / known:.1f} %)" if known else NONE


def _h(share: Share) -> str:
    return NONE if share.cohens_h is None else f"h {signed(share.cohens_h)}"


def _mean(summary: Summary) -> str:
    if summary.mean is None or summary.low is None or summary.high is None:
        return NONE
    spread = NONE if summary.sd is None else f"{summary.sd:.2f}"
    return f"{summary.mean:.2f} ({_short(summary.low)} to {_short(summary.high)}), {spread}"


def _median(summary: Summary) -> str:
    if summary.median is None or summary.q1 is None or summary.q3 is None:
        return NONE
    return f"{summary.median:.1f} [{summary.q1:.1f} to {summary.q3:.1f}]"


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _notes(description: CohortDescription, smd: bool) -> tuple[str, ...]:
    notes = [
        "n/N (%) of the children whose value is known; not known: controlled + uncontrolled.",
        "Two-sided p, not corrected for the number of variables: Mann-Whitney U; Pearson chi-square without continuity "
        "correction; Fisher's exact test where an expected count is below 1 or more than a fifth of them below 5.",
        "h: Cohen's h, positive where controlled children have it more often. AUC: the chance that a controlled child's "
        "value is above an uncontrolled one's, ties by half.",
    ]
    if smd:
        notes.append("SMD: absolute standardised mean difference.")
    if description.without_outcome:
        notes.append(f"Left out, since their outcome is not known: {description.without_outcome}.")
    if description.absent:
        notes.append(f"Columns that the cohort does not have: {', '.join(description.absent)}.")
    return tuple(notes)
