"""Figures 3 and 4 of the paper: the ROC curve of every weight pair, and of the branches and their fusion."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from scripts.fusion import fuse, simplex
from scripts.pictures import COLOURS, FUSED, NAMES
from scripts.report.document import Picture
from scripts.report.study import Model
from scripts.stats.roc import auc, auc_interval, roc_curve
from scripts.stats.roc_band import roc_band

LINES = ("-", "--", "-.", ":")


def weight_curves(model: Model, *, chosen: Sequence[float] | None, validation: Model | None) -> Picture | None:
    """Figure 3: the ROC curve of the fused score for every weight pair in steps of 0.1, with its AUC.

    Args:
        model: on the children that it is tested on; with other than two branches there is no such figure (None).
        chosen: the weights that its scores were made with, in the branches' order, where they are known.
        validation: the same model on the validation part; its AUC stands beside, since the weights are chosen there.
    """
    if len(model.branches) != 2:
        return None
    names = [NAMES.get(name, name) for name in model.branches]
    figure = Figure(figsize=(10, 5), layout="constrained")
    curves, areas = figure.subplots(1, 2, width_ratios=(1, 1.05))
    _frame(curves)
    grid, shades = simplex(2), matplotlib.colormaps["viridis"](np.linspace(0.1, 0.9, 9))
    lowest = 0.5
    for height, (weights, shade) in enumerate(zip(grid, shades, strict=True)):
        fused = fuse(_branches(model), weights)
        is_chosen = chosen is not None and bool(np.allclose(weights, chosen, atol=1e-6))
        colour, width, line = (FUSED, 2.6, "-") if is_chosen else (shade, 1.4, LINES[height % len(LINES)])
        curve, area, (low, high) = (
            roc_curve(model.labels, fused),
            auc(model.labels, fused),
            auc_interval(model.labels, fused),
        )
        lowest = min(lowest, low)
        curves.plot(
            curve.false_positive_rate,
            curve.true_positive_rate,
            color=colour,
            linestyle=line,
            linewidth=width,
            zorder=3 if is_chosen else 2,
        )
        areas.plot([low, high], [height, height], color=colour, linewidth=width, linestyle=line)
        areas.plot(area, height, "o", color=colour, markersize=7)
        areas.text(
            1.06,
            height,
            f"{area:.3f} ({low:.3f} to {high:.3f})",
            va="center",
            fontsize=8,
            fontweight="bold" if is_chosen else "normal",
        )
        if validation is not None:
            areas.plot(
                auc(validation.labels, fuse(_branches(validation), weights)),
                height,
                "D",
                color=colour,
                markerfacecolor="white",
                markersize=6,
            )
    labels = [f"{weights[0]:.1f} {names[0]} + {weights[1]:.1f} {names[1]}" for weights in grid]
    areas.set(
        yticks=range(len(grid)),
        yticklabels=labels,
        xlim=(max(0, lowest - 0.05), 1.025),
        xlabel="AUC",
        ylim=(len(grid) - 0.4, -0.6),
    )
    areas.tick_params(axis="y", labelsize=9)
    areas.axvline(0.5, color="#999999", linewidth=1)
    areas.spines[["top", "right"]].set_visible(False)
    areas.set_title("AUC with its 95 % interval", fontsize=10, loc="left")
    caption = (
        f"{model.name}, {_counted(model)}. Colour and line style are those of the weights on the right. "
        + ("Black: the weights that were chosen on the validation part. " if chosen is not None else "")
        + (f"Diamonds: AUC on the validation part ({_counted(validation)}). " if validation is not None else "")
        + "Weights may not be chosen by this figure: it shows the children that the model is tested on."
    )
    return Picture("figure3", "Figure 3. ROC curve of every weight pair", figure, caption)


def branch_curves(model: Model) -> Picture:
    """Figure 4: the ROC curve of each branch and of the fusion with a 95 % confidence band.

    Args:
        model: whose branches and fused score are drawn; a single branch is the fused score.
    """
    drawn = dict(model.branches) if len(model.branches) > 1 else {}
    scores: dict[str, NDArray[np.float64]] = {**drawn, "fused": model.scores}
    figure = Figure(figsize=(3.6 * len(scores) + 0.6, 4.3), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(scores), sharey=True))
    for axes, (name, values), colour in zip(panels, scores.items(), (*COLOURS[: len(drawn)], FUSED), strict=True):
        _frame(axes)
        band = roc_band(model.labels, values)
        axes.fill_between(band.false_positive_rate, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
        curve, (low, high) = roc_curve(model.labels, values), auc_interval(model.labels, values)
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, color=colour, linewidth=2)
        axes.set_title(
            f"{NAMES.get(name, name)}\nAUC {auc(model.labels, values):.3f} ({low:.3f} to {high:.3f})", fontsize=10
        )
        if name == "fused":
            called = model.decisions == 1
            sensitivity, false_positives = called[model.labels == 1].mean(), called[model.labels == 0].mean()
            axes.plot(false_positives, sensitivity, "o", color="#D55E00", markersize=8, markeredgecolor="white")
        if axes is not panels[0]:
            axes.set_ylabel("")
    caption = (
        f"{model.name}, {_counted(model)}. Bands: 95 % at each point, from the Wilson intervals of both rates. "
        "AUC: interval by DeLong on the logit scale. Dot: the operating point of its decisions."
    )
    return Picture("figure4", "Figure 4. ROC curves of the branches and their fusion", figure, caption)


def model_curves(models: Sequence[Model]) -> Picture:
    """The fused ROC curves of all models in one frame."""
    figure = Figure(figsize=(8.6, 5), layout="constrained")
    axes = figure.subplots()
    _frame(axes)
    for number, model in enumerate(models):
        curve, (low, high) = roc_curve(model.labels, model.scores), auc_interval(model.labels, model.scores)
        colour = FUSED if number == 0 else COLOURS[(number - 1) % len(COLOURS)]
        axes.plot(
            curve.false_positive_rate,
            curve.true_positive_rate,
            color=colour,
            linestyle=LINES[(number + (number > len(COLOURS))) % len(LINES)],
            linewidth=2.4 if number == 0 else 1.5,
            label=f"{model.name}: {auc(model.labels, model.scores):.3f} ({low:.3f} to {high:.3f})",
        )
    figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside right upper",
        fontsize=8,
        frameon=False,
        title="AUC (95 % interval)",
    )
    return Picture(
        "roc", "ROC curves of all models", figure, f"{_counted(models[0])}; the same children for every model."
    )


def _branches(model: Model) -> NDArray[np.float64]:
    return np.stack(list(model.branches.values()), axis=1)  # (N, M)


def _counted(model: Model) -> str:
    controlled = int(model.labels.sum())
    return f"{controlled} controlled and {model.labels.size - controlled} uncontrolled children"


def _frame(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
