"""The pictures that come with the results: one page a study, its maps, ROC curves, learning curves.

Colours are those of Okabe and Ito, which the colour-blind can tell apart. Files are written atomically.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from scripts.explanation.maps import BrainMap
from scripts.files import write_atomically
from scripts.stats.roc import auc, auc_interval, roc_curve

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
FUSED = "#000000"
NAMES = {"flair": "FLAIR", "t2w": "T2w", "t1w": "T1w", "dwi": "DWI", "fused": "fused"}
SLICES = (0.35, 0.47, 0.58, 0.70)  # of the height, from the skull base upwards
MAP_COLOURS, MAP_OPACITY = "magma", 0.75  # perceptually uniform; opacity of the map's maximum


def case_picture(image: np.ndarray, result: Mapping[str, Any], *, path: str | Path) -> None:
    """One page: axial slices of every modality as the network sees them, beside the scores and what must be said of them.

    Args:
        image: (M, x, y, z) float32 in [0, 1], RAS.
        result: of `prediction_writer.PredictionWriter`.
        path: the PNG file.
    """
    modalities = list(result["branch_scores"])
    figure = Figure(figsize=(11, 1.6 + 2.3 * max(len(modalities), 2)), layout="constrained")
    grid = figure.add_gridspec(len(modalities), len(SLICES) + 2)
    for row, modality in enumerate(modalities):
        for column, height in enumerate(SLICES):
            axes = figure.add_subplot(grid[row, column])
            plane = image[row, :, :, int(height * (image.shape[3] - 1))]  # (x, y): left to right, back to front
            axes.imshow(
                plane.T, origin="lower", cmap="gray", vmin=0, vmax=max(float(np.percentile(image[row], 99.8)), 1e-6)
            )
            axes.set_axis_off()
            if column == 0:
                axes.set_title(NAMES.get(modality, modality), loc="left", fontsize=11, fontweight="bold")
    _draw_scores(figure.add_subplot(grid[:, len(SLICES) :]), result)
    figure.suptitle(f"eTSC-Net: {result['case']}", x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.supxlabel(
        "\n".join(textwrap.wrap(" ".join(result["warnings"]), 130)), x=0.01, ha="left", fontsize=9, color="#B00000"
    )
    _save(figure, path)


def explanation_picture(maps: Mapping[str, BrainMap], result: Mapping[str, Any], *, path: str | Path) -> None:
    """One page: every modality's map over its brain, in the planes of `case_picture` and in the one with most of the map.

    Args:
        maps: by modality.
        result: of `case_picture`, and "outcome" that the maps speak for, "layers": modality -> how fine its map is.
        path: the PNG file.
    """
    figure = Figure(figsize=(13, 1.5 + 2.6 * max(len(maps), 2)), layout="constrained")
    grid = figure.add_gridspec(len(maps), len(SLICES) + 3)
    panels = []
    for row, (modality, mapped) in enumerate(maps.items()):
        standard = [int(height * (mapped.values.shape[2] - 1)) for height in SLICES]
        most = int(mapped.values.sum(axis=(0, 1)).argmax())
        for column, plane in enumerate([*standard, most]):
            axes = figure.add_subplot(grid[row, column])
            panels.append(axes)
            _draw_map(axes, mapped, plane)
            if column == 0:
                axes.set_title(NAMES.get(modality, modality), loc="left", fontsize=11, fontweight="bold")
            if column == 1:
                axes.set_title(result["layers"][modality], loc="left", fontsize=8)
            if column == len(SLICES):
                where = "most of the map" if mapped.peak_mm is not None else "no voxel speaks for it"
                axes.set_title(f"{where}\n(plane {plane + 1} of {mapped.values.shape[2]})", fontsize=9)
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), MAP_COLOURS), ax=panels, location="bottom", shrink=0.45, aspect=45, pad=0.02
    )
    bar.set_label(
        f"evidence for '{result['outcome']}', relative to each map's maximum. The child's left is on the left.",
        fontsize=9,
    )
    _draw_scores(figure.add_subplot(grid[:, len(SLICES) + 1 :]), result)
    figure.suptitle(
        f"eTSC-Net: {result['case']}, what speaks for '{result['outcome']}'",
        x=0.01,
        ha="left",
        fontsize=13,
        fontweight="bold",
    )
    figure.supxlabel(
        "\n".join(textwrap.wrap(" ".join(result["warnings"]), 150)), x=0.01, ha="left", fontsize=9, color="#B00000"
    )
    _save(figure, path)


def _draw_map(axes: Axes, mapped: BrainMap, plane: int) -> None:
    """One axial plane, cut to the brain's edges: left to right, back to front."""
    inside = mapped.image > 0
    (left, right), (back, front) = (
        np.flatnonzero(inside.any(axis=(1 - axis, 2)))[[0, -1]] + (0, 1) if inside.any() else (0, inside.shape[axis])
        for axis in (0, 1)
    )
    image, values = (volume[left:right, back:front, plane] for volume in (mapped.image, mapped.values))
    x_mm, y_mm = np.linalg.norm(mapped.affine[:3, :2], axis=0)
    brightest = max(float(np.percentile(mapped.image[inside], 99.8)) if inside.any() else 0.0, 1e-6)
    axes.imshow(image.T, origin="lower", cmap="gray", vmin=0, vmax=brightest, aspect=y_mm / x_mm)
    axes.imshow(
        values.T,
        origin="lower",
        cmap=MAP_COLOURS,
        vmin=0,
        vmax=1,
        alpha=MAP_OPACITY * values.T**0.7,
        aspect=y_mm / x_mm,
    )
    axes.set(xticks=[], yticks=[])  # else each page spends a second on ticks that nobody sees
    axes.set_axis_off()


def _draw_scores(axes: Axes, result: Mapping[str, Any]) -> None:
    weights = result["fusion_weights"]
    rows = [
        (f"{NAMES.get(name, name)}\n(weight {weights[name]:g})", score)
        for name, score in result["branch_scores"].items()
    ]
    rows.append(("fused", result["score"]))
    colours = [*COLOURS[: len(rows) - 1], FUSED]
    for height, ((name, score), colour) in enumerate(zip(reversed(rows), reversed(colours), strict=True)):
        axes.barh(height, score, height=0.5, color=colour)
        axes.text(-0.03, height, name, ha="right", va="center", fontsize=9)
        axes.text(1.02, height, f"{score:.3f}", va="center", fontsize=10)
    axes.axvline(result["threshold"], color="#D55E00", linestyle="--", linewidth=1.5)
    axes.text(
        result["threshold"] + 0.01,
        len(rows) - 0.5,
        f"threshold {result['threshold']:.3f}",
        fontsize=9,
        color="#D55E00",
    )
    axes.set(
        xlim=(0, 1),
        ylim=(-0.6, len(rows) - 0.3),
        yticks=[],
        xlabel="score that seizures will be controlled after one year",
    )
    axes.spines[["top", "right", "left"]].set_visible(False)
    relation = "at or above" if result["decision"] == "controlled" else "below"
    probability = result.get("calibrated_probability")
    calibrated = "" if probability is None else f"\ncalibrated probability {probability:.3f}"
    axes.set_title(
        f"{result['decision']} (score {relation} the threshold){calibrated}\nmodel {result['model_version']}",
        fontsize=10,
    )


def roc_picture(labels: np.ndarray, scores: Mapping[str, np.ndarray], *, path: str | Path) -> None:
    """ROC curves of the fusion and the branches with their AUC and its 95 % interval (DeLong).

    Args:
        labels: (N,) 0 or 1.
        scores: "fused" or a modality -> (N,).
        path: the PNG file.
    """
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    branch_colours = iter(COLOURS)
    for name, values in scores.items():
        curve, (low, high) = roc_curve(labels, values), auc_interval(labels, values)
        label = f"{NAMES.get(name, name)}: AUC {auc(labels, values):.3f} ({low:.3f} to {high:.3f})"
        style: dict[str, Any] = (
            {"color": FUSED, "linewidth": 2.2} if name == "fused" else {"color": next(branch_colours), "linewidth": 1.4}
        )
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, label=label, **style)
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="1 - specificity", ylabel="sensitivity", aspect="equal")
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    axes.set_title(f"{int(labels.sum())} controlled, {int((1 - labels).sum())} uncontrolled", fontsize=10)
    _save(figure, path)


def learning_curves(history: Sequence[Mapping[str, float]], modalities: Sequence[str], *, path: str | Path) -> None:
    """Training loss, and each branch's validation loss and AUC by epoch.

    Args:
        history: rows of training.csv.
        modalities: the branches.
        path: the PNG file.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    losses, aucs = figure.subplots(1, 2)
    losses.plot(
        *_series(history, "train_loss", scale=1 / len(modalities)),
        color="#999999",
        label="training, mean of the branches",
    )
    for modality, colour in zip(modalities, COLOURS, strict=False):
        losses.plot(
            *_series(history, f"loss_{modality}"), color=colour, label=f"validation, {NAMES.get(modality, modality)}"
        )
        aucs.plot(*_series(history, f"auc_{modality}"), color=colour, label=NAMES.get(modality, modality))
    losses.set(xlabel="epoch", ylabel="binary cross-entropy", ylim=(0, None))
    aucs.set(xlabel="epoch", ylabel="validation AUC", ylim=(0, 1.02))
    for axes in (losses, aucs):
        axes.legend(fontsize=8, frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _series(history: Sequence[Mapping[str, float]], name: str, scale: float = 1.0) -> tuple[list[float], list[float]]:
    rows = [row for row in history if name in row]
    return [row["epoch"] for row in rows], [row[name] * scale for row in rows]


def _save(figure: Figure, path: str | Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_atomically(path, content.getvalue())
