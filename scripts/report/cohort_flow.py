"""Who is in the report and who is not: from the rows of participants.tsv to the children that every model was tested on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.report.document import Block, Picture, Table, Text
from scripts.report.sources import Run
from scripts.split import PARTS

BOX = {"boxstyle": "round,pad=0.6", "facecolor": "#f6f8fa", "edgecolor": "#1b1f24"}
SIDE = {"boxstyle": "round,pad=0.6", "facecolor": "white", "edgecolor": "#999999"}


def cohort_flow(
    outcomes: Mapping[str, int | None], runs: Sequence[Run], datalist: Mapping[str, Any] | None
) -> list[Block]:
    """The flow as a picture, the split as a table, and the studies that failed with their reasons.

    Args:
        outcomes: participant_id -> label or None.
        runs: all on the same children.
        datalist: the split that they were trained by; None where it was not given.
    """
    model = runs[0].model
    known = {subject: label for subject, label in outcomes.items() if label is not None}
    steps = [f"in participants.tsv\n{len(outcomes)} children", f"with an outcome\n{_counted(known.values())}"]
    expected = known
    left = [f"outcome not known\n{len(outcomes) - len(known)}"]
    if datalist is not None:
        split = {part: {case["subject"]: case["label"] for case in datalist[part]} for part in PARTS}
        part = next((p for p in reversed(PARTS) if set(model.subjects) <= set(split[p])), None)
        if part is not None:
            others = [f"{p} {len(split[p])}" for p in PARTS if p != part]
            steps.append(f"{part} part\n{_counted(split[part].values())}")
            left.append(f"other parts\n{', '.join(others)}")
            expected = split[part]
    steps.append(
        f"scored by all {len(runs)} models\n{_counted(model.labels.tolist())}"
        if len(runs) > 1
        else f"scored\n{_counted(model.labels.tolist())}"
    )
    left.append(f"without a score\n{len(set(expected) - set(model.subjects))}")
    blocks: list[Block] = [_picture(steps, left)]
    if datalist is not None:
        blocks.append(_split_table(datalist))
    failures = [(run.model.name, case, reason) for run in runs for case, reason in run.failures.items()]
    if failures:
        blocks.append(
            Table(
                name="failures",
                title=f"{len(failures)} studies could not be scored",
                columns=("model", "case", "reason"),
                rows=tuple(failures),
            )
        )
    overlap = _overlap(model.subjects, datalist)
    return [*([overlap] if overlap else []), *blocks]


def _overlap(subjects: Sequence[str], datalist: Mapping[str, Any] | None) -> Text | None:
    """A model may not be tested on children that it was trained on; a validation part chose its weights and threshold."""
    if datalist is None:
        return None
    for part in ("training", "validation"):
        seen = set(subjects) & {case["subject"] for case in datalist[part]}
        if seen:
            use = "trained on" if part == "training" else "used to choose epochs, fusion weights and threshold"
            return Text(
                f"{len(seen)} of these {len(subjects)} children are in the {part} part of the split: they were {use}. "
                "For models of this split the figures below are not an evaluation.",
                warning=True,
            )
    return None


def _split_table(datalist: Mapping[str, Any]) -> Table:
    rows = []
    for part in PARTS:
        labels = {case["subject"]: case["label"] for case in datalist[part]}
        controlled = sum(labels.values())
        share = f"{100 * controlled / len(labels):.1f} %" if labels else "-"
        rows.append((part, str(len(labels)), str(controlled), str(len(labels) - controlled), share))
    made = [f"{key}: {datalist[key]}" for key in ("seed", "fractions", "folds", "fold") if key in datalist]
    return Table(
        name="split",
        title="The split",
        columns=("part", "children", "controlled", "uncontrolled", "controlled, share"),
        rows=tuple(rows),
        notes=(
            "By child (and children with byte-identical images together), stratified by outcome. " + ", ".join(made),
        ),
    )


def _picture(steps: Sequence[str], left: Sequence[str]) -> Picture:
    figure = Figure(figsize=(7.2, 1.25 * len(steps)), layout="constrained")
    axes: Axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(-len(steps) + 0.4, 0.6))
    axes.set_axis_off()
    for row, text in enumerate(steps):
        axes.text(3, -row, text, ha="center", va="center", fontsize=10, bbox=BOX)
    arrow = {"arrowstyle": "-|>", "color": "#1b1f24", "shrinkA": 0, "shrinkB": 0}
    for row, text in enumerate(left):
        axes.annotate("", (3, -row - 0.72), (3, -row - 0.28), arrowprops=arrow)
        axes.annotate("", (5.4, -row - 0.5), (3, -row - 0.5), arrowprops={**arrow, "color": "#999999"})
        axes.text(5.6, -row - 0.5, text, ha="left", va="center", fontsize=9, bbox=SIDE)
    return Picture("flow", "Cohort flow", figure, "Right: who leaves at each step.")


def _counted(labels: Any) -> str:
    values = list(labels)
    return f"{len(values)} children: {sum(values)} controlled, {len(values) - sum(values)} uncontrolled"
