"""The forest plot: AUC with its interval in every group of children, for one model or several."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.pictures import COLOURS, FUSED
from scripts.report.cells import NONE, estimate, p_value
from scripts.report.document import Picture
from scripts.report.subgroups import UNKNOWN, Subgroup, SubgroupAnalysis

MOST = 4  # models that are still told apart in one row
MARKERS = ("s", "o", "^", "D")
LINES = ("-", "--", "-.", ":")


def forest_picture(analyses: Sequence[SubgroupAnalysis], *, name: str = "forest") -> Picture:
    """Forest plot of the first `MOST` models; numbers beside it are the first one's. The others are in the tables."""
    shown = analyses[:MOST]
    rows = _rows(shown[0])
    step = 0.27 + 0.08 * (len(shown) - 1)
    figure = Figure(figsize=(9.6, 1.5 + step * len(rows)), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.05, 1.75, 0.95), sharey=True)
    left.set_ylim(len(rows) - 0.4, -1.4)
    for axes in (left, right):
        axes.set_axis_off()
        axes.set_xlim(0, 1)
    left.text(0.66, -1, "controlled /\nuncontrolled", ha="center", va="center", fontsize=8.5)
    right.text(0.0, -1, "AUC (interval)", va="center", fontsize=8.5)
    right.text(1.0, -1, "p of\ninteraction", ha="right", va="center", fontsize=8.5)
    for height, (title, group, p) in enumerate(rows):
        heading = group is None or height == 0
        left.text(
            0 if heading else 0.05, height, title, va="center", fontsize=9, fontweight="bold" if heading else None
        )
        right.text(1.0, height, p, ha="right", va="center", fontsize=9)
        if group is None:
            continue
        left.text(0.66, height, f"{group.controlled} / {group.uncontrolled}", ha="center", va="center", fontsize=9)
        right.text(0.0, height, _said(group), va="center", fontsize=9)
    for number, analysis in enumerate(shown):
        _draw(middle, analysis, number, of=len(shown))
    middle.axvline(0.5, color="#777777", linewidth=0.8, linestyle=":")
    overall = shown[0].overall.estimates["auc"].value
    if overall is not None:
        middle.axvline(overall, color=FUSED, linewidth=0.8, linestyle="--", zorder=0)
    middle.set(xlim=(0, 1), xlabel="AUC")
    middle.tick_params(left=False, labelleft=False)
    middle.spines[["top", "right", "left"]].set_visible(False)
    middle.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    if len(shown) > 1:
        figure.legend(
            *middle.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9
        )
    caption = (
        f"AUC of {shown[0].model} in each group with its {100 * shown[0].level:g} % interval (DeLong, logit scale); dashed line: "
        "all children, dotted line: chance. Numbers and p (not adjusted) are this model's. Open markers: fewer than 10 children "
        "of a class."
    )
    if len(analyses) > len(shown):
        caption += f" The first {len(shown)} of {len(analyses)} models are drawn; the tables have all."
    return Picture(name, "AUC by group of children", figure, caption)


def _rows(analysis: SubgroupAnalysis) -> list[tuple[str, Subgroup | None, str]]:
    """Title, group (None: a variable's heading), p of the AUC's test."""
    rows: list[tuple[str, Subgroup | None, str]] = [("All children", analysis.overall, "")]
    for variable in analysis.variables:
        p = next(test.interaction.p for test in analysis.tests if (test.variable, test.metric) == (variable, "auc"))
        rows.append((variable, None, p_value(p)))
        rows += [(group.level, group, "") for group in analysis.of(variable)]
    return rows


def _said(group: Subgroup) -> str:
    if group.level == UNKNOWN:
        return NONE
    value = group.estimates["auc"]
    return "not estimable" if value.value is None else estimate(value.value, value.interval, 2)


def _draw(axes: Axes, analysis: SubgroupAnalysis, number: int, *, of: int) -> None:
    colour = FUSED if number == 0 else COLOURS[number - 1]
    shift = 0.0 if of == 1 else -0.28 + 0.56 * number / (of - 1)
    named = False
    for height, (_, group, _) in enumerate(_rows(analysis)):
        value = group.estimates.get("auc") if group is not None else None
        if group is None or value is None or value.value is None or value.interval is None:
            continue
        at = height + shift
        axes.plot(value.interval, [at, at], color=colour, linestyle=LINES[number], linewidth=1.6, solid_capstyle="butt")
        axes.plot(value.interval, [at, at], "|", color=colour, markersize=6)
        axes.plot(
            value.value,
            at,
            MARKERS[number],
            color=colour,
            markerfacecolor="white" if group.few else colour,
            markersize=6,
            label=None if named else analysis.model,
            linestyle=LINES[number],
        )
        named = True
