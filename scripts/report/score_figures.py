"""What the scores are worth as probabilities: calibration, decision curve, and their distribution by outcome."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from scripts.pictures import COLOURS, FUSED
from scripts.report.cells import estimate, number, p_value
from scripts.report.document import Picture, Table
from scripts.report.study import Model
from scripts.stats.calibration import calibration, calibration_curve
from scripts.stats.decision_curve import decision_curve

LINES = ("-", "--", "-.", ":")
PANELS = 6  # models drawn in one picture of small panels; the tables have all
CONTROLLED, UNCONTROLLED = "#0072B2", "#D55E00"


def calibration_table(models: Sequence[Model]) -> Table:
    """Intercept, slope, Brier and scaled Brier score of every model, with 95 % intervals."""
    rows, reasons = [], []
    for model in models:
        found = calibration(model.labels, model.scores)
        rows.append(
            (
                model.name,
                number(found.mean_score),
                number(found.positives / found.n),
                estimate(found.intercept, found.intercept_interval, 2),
                estimate(found.slope, found.slope_interval, 2),
                number(found.brier),
                number(found.scaled_brier),
                p_value(found.spiegelhalter_p),
            )
        )
        reasons += [f"{model.name}: no slope, {found.reason}."] * bool(found.reason)
        reasons += [f"{model.name}: {found.clipped} scores of 0 or 1 were moved by 5e-7."] * bool(found.clipped)
    return Table(
        name="calibration",
        title="Calibration",
        columns=(
            "model",
            "mean score",
            "controlled",
            "intercept",
            "slope",
            "Brier",
            "scaled Brier",
            "Spiegelhalter's p",
        ),
        rows=tuple(rows),
        notes=(
            "Intercept in the large (perfect: 0; below: the scores are too high), slope (perfect: 1; below: too extreme); "
            "intervals by profile likelihood. Scaled Brier: 1 perfect, 0 no better than the share of controlled for everyone.",
            "The networks' scores are averages of sigmoids and have not been calibrated.",
            *reasons,
        ),
    )


def calibration_picture(models: Sequence[Model]) -> Picture:
    """Observed share of controlled children by score, in bins with Wilson's interval, above the scores' histogram."""
    shown = models[:PANELS]
    figure = Figure(figsize=(3.3 * min(3, len(shown)) + 0.4, 4.1 * -(-len(shown) // 3)), layout="constrained")
    grid = figure.subplots(
        2 * -(-len(shown) // 3), min(3, len(shown)), squeeze=False, height_ratios=[3, 1] * -(-len(shown) // 3)
    )
    for panel in grid.flat:
        panel.set_axis_off()
    for position, model in enumerate(shown):
        row, column = divmod(position, 3)
        axes, below = grid[2 * row, column], grid[2 * row + 1, column]
        for panel in (axes, below):
            panel.set_axis_on()
            panel.spines[["top", "right"]].set_visible(False)
            panel.set_xlim(-0.02, 1.02)
        axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
        bins = calibration_curve(model.labels, model.scores, bins=min(10, max(3, model.labels.size // 15)))
        where, observed = [b.mean_score for b in bins], np.array([b.observed for b in bins])
        low, high = np.array([b.interval for b in bins]).T
        axes.errorbar(
            where,
            observed,
            yerr=(observed - low, high - observed),
            fmt="o",
            color=FUSED,
            ecolor="#777777",
            capsize=2,
            markersize=5,
        )
        found = calibration(model.labels, model.scores)
        if found.slope is not None and found.slope_intercept is not None:
            x = np.linspace(0.01, 0.99, 99)
            axes.plot(
                x,
                1 / (1 + np.exp(-(found.slope_intercept + found.slope * np.log(x / (1 - x))))),
                color=CONTROLLED,
                linewidth=1.8,
            )
        axes.set(ylim=(-0.02, 1.02), ylabel="share controlled" if column == 0 else "")
        axes.set_title(model.name, fontsize=10)
        edges = np.linspace(0, 1, 21)
        below.hist(model.scores[model.labels == 1], edges, color=CONTROLLED, alpha=0.85)
        below.hist(
            model.scores[model.labels == 0],
            edges,
            weights=-np.ones(int((model.labels == 0).sum())),
            color=UNCONTROLLED,
            alpha=0.85,
            hatch="///",
            edgecolor="white",
            linewidth=0,
        )
        below.axhline(0, color="#1b1f24", linewidth=0.8)
        below.set(yticks=[], xlabel="score")
        if column == 0:
            below.set_ylabel("children", fontsize=9)
    caption = (
        "Dots: children of neighbouring scores, with Wilson's 95 % interval. Line: logistic recalibration. Below: scores of "
        "the controlled (blue, up) and the uncontrolled children (orange, hatched, down)."
    )
    return Picture("calibration", "Calibration", figure, caption + _left_out(models))


def decision_picture(models: Sequence[Model]) -> Picture:
    """Net benefit of treating as uncontrolled by each model, against treating all and none."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    prevalence = 1 - float(models[0].labels.mean())
    for number_, model in enumerate(models[:PANELS]):
        curve = decision_curve(model.labels, model.scores)
        colour, line = (
            (FUSED, "-") if number_ == 0 else (COLOURS[(number_ - 1) % len(COLOURS)], LINES[number_ % len(LINES)])
        )
        axes.plot(
            curve.thresholds,
            curve.model,
            color=colour,
            linestyle=line,
            linewidth=2.2 if number_ == 0 else 1.5,
            label=model.name,
        )
    axes.plot(curve.thresholds, curve.treat_all, color="#777777", linewidth=1.2, label="act on all")
    axes.axhline(0, color="#777777", linewidth=1.2, linestyle=":", label="act on none")
    axes.set(
        xlim=(0, 1),
        ylim=(-0.1, prevalence + 0.05),
        xlabel="risk of going on with seizures from which one would act",
        ylabel="net benefit (true positives a child)",
    )
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=9, frameon=False)
    caption = (
        "Positive here is the uncontrolled child, whose risk is 1 - score: the one that would be given another treatment "
        "(Vickers and Elkin 2006). A model is of use where its curve is above both others. "
        "It takes the scores as probabilities: see their calibration."
    )
    return Picture("decision_curve", "Decision curve", figure, caption + _left_out(models))


def histogram_picture(models: Sequence[Model]) -> Picture:
    """The scores of both outcomes, with the threshold."""
    shown = models[:PANELS]
    rows = -(-len(shown) // 3)
    figure = Figure(figsize=(3.4 * min(3, len(shown)) + 0.4, 2.7 * rows + 0.3), layout="constrained")
    grid = figure.subplots(rows, min(3, len(shown)), squeeze=False, sharex=True)
    edges = np.linspace(0, 1, 21)
    for axes, model in zip(grid.flat, shown, strict=False):
        axes.hist(
            model.scores[model.labels == 0],
            edges,
            color=UNCONTROLLED,
            alpha=0.75,
            hatch="///",
            edgecolor="white",
            linewidth=0,
            label="uncontrolled",
        )
        axes.hist(
            model.scores[model.labels == 1], edges, histtype="step", color=CONTROLLED, linewidth=2, label="controlled"
        )
        for threshold in np.unique(model.thresholds)[:5]:
            axes.axvline(threshold, color="#1b1f24", linestyle="--", linewidth=1.2)
        axes.set_title(model.name, fontsize=10)
        axes.set(xlim=(0, 1), xlabel="score", ylabel="children")
        axes.spines[["top", "right"]].set_visible(False)
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_axis_off()
    grid.flat[0].legend(fontsize=8, frameon=False)
    return Picture(
        "histograms",
        "Scores by outcome",
        figure,
        "Dashed: the threshold from which a child is called controlled." + _left_out(models),
    )


def _left_out(models: Sequence[Model]) -> str:
    return f" Drawn: the first {PANELS} of {len(models)} models." if len(models) > PANELS else ""
