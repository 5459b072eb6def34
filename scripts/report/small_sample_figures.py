"""Figures of the section on small samples: test sets drawn anew, and the width of intervals by number of test children."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.pictures import COLOURS, FUSED
from scripts.report.document import Picture
from scripts.report.sample_worth import HALF_WIDTH, PAPER, SIZES, SampleWorth, paper_value
from scripts.stats.resampling import TEST, VALIDATION, Redrawn, spread

_BINS = [number / 40 for number in range(41)]


def redrawn_picture(found: SampleWorth, *, name: str = "redrawn_test_sets") -> Picture:
    """Histograms of AUC and accuracy over test sets of the paper's size, with the paper's values and those of all children."""
    drawn = [(found.redrawn, "the model's own weights and threshold", FUSED)]
    drawn.append((found.searched, f"found on {sum(VALIDATION)} validation children", COLOURS[0]))
    shown = [(redrawn, title, colour) for redrawn, title, colour in drawn if redrawn is not None]
    figure = Figure(figsize=(9.6, 0.7 + 2.2 * len(shown)), layout="constrained")
    grid = figure.subplots(len(shown), 2, sharex=True, sharey="col", squeeze=False)
    for row, (redrawn, title, colour) in zip(grid, shown, strict=True):
        _histogram(row[0], redrawn, "auc", colour=colour, whole=found.area)
        _histogram(row[1], redrawn, "acc", colour=colour, whole=found.accuracy)
        row[0].set_title(title, loc="left", fontsize=9.5)
    grid[-1, 0].set_xlabel(f"AUC of {sum(TEST)} test children")
    grid[-1, 1].set_xlabel(f"accuracy of {sum(TEST)} test children")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    draws = shown[0][0].draws
    return Picture(
        name,
        f"The same model, other draws of {sum(TEST)} test children",
        figure,
        f"{found.model}: {draws} test sets of {TEST[0]} controlled and {TEST[1]} uncontrolled children, drawn from "
        f"{found.controlled} and {found.uncontrolled}. Bars below: middle 95 % of the draws. Paper: what it prints for eTSC-Net.",
    )


def width_picture(found: SampleWorth, *, name: str = "interval_width") -> Picture:
    """Half-width of 95 % intervals by number of test children."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    sizes = [width.n for width in found.widths]
    lines = [
        (f"AUC {PAPER.auc:.3f} (paper)", [width.paper_auc for width in found.widths], COLOURS[5], "--", "s"),
        ("sensitivity", [width.sensitivity for width in found.widths], COLOURS[0], "-.", "^"),
        ("specificity", [width.specificity for width in found.widths], COLOURS[2], ":", "D"),
    ]
    own = [width.auc for width in found.widths if width.auc is not None]
    if len(own) == len(sizes):
        lines.insert(0, (f"AUC {found.area:.3f} ({found.model})", own, FUSED, "-", "o"))
    for label, pairs, colour, style, marker in lines:
        half = [(high - low) / 2 for low, high in pairs]
        axes.plot(sizes, half, color=colour, linestyle=style, marker=marker, markersize=5, label=label)
    axes.axhline(HALF_WIDTH, color="#777777", linewidth=0.8)
    axes.text(SIZES[0], HALF_WIDTH, f"±{HALF_WIDTH:g}", ha="left", va="bottom", fontsize=9, color="#555555")
    axes.set_xscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set(xlabel="test children", ylabel="half the width of the 95 % interval", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=9, frameon=False)
    return Picture(
        name,
        "The width of an interval and the number of test children",
        figure,
        f"Class sizes in the paper's ratio {TEST[0]} : {TEST[1]}. How each interval is made stands below the table.",
    )


def _histogram(axes: Axes, drawn: Redrawn, metric: str, *, colour: str, whole: float) -> None:
    values = drawn.values[metric]
    axes.hist(values, bins=_BINS, weights=np.full(values.size, 100 / values.size), color=colour, alpha=0.35)
    middle = spread(values)
    top = axes.get_ylim()[1]
    axes.plot(
        [middle["low"], middle["high"]],
        [-0.05 * top] * 2,
        color=colour,
        linewidth=3,
        solid_capstyle="butt",
        clip_on=False,
    )
    printed = paper_value(metric)
    axes.axvline(printed, color=COLOURS[5], linestyle="--", linewidth=1.6, label="paper")
    axes.axvline(whole, color=FUSED, linewidth=1.4, label="the model on all children")
    share = 100 * drawn.share_from(metric, printed)
    axes.text(
        0.02,
        0.96,
        f"{share:.0f} % at or above\nthe paper's {printed:.3f}",
        transform=axes.transAxes,
        va="top",
        fontsize=9,
    )
    axes.set(xlim=(0, 1.0), ylabel="% of draws")
    axes.spines[["top", "right"]].set_visible(False)
