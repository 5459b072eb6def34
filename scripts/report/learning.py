"""Learning curves: how each run's branches learned, and which epochs were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from scripts.pictures import COLOURS, NAMES
from scripts.report.document import Picture
from scripts.report.sources import Run

LINES = ("-", "--", "-.", ":")
MOST = 12  # runs in one picture


def learning_curves(runs: Sequence[Run]) -> Picture | None:
    """Training loss, and validation loss and AUC of each branch by epoch, one row a run; None where no run has a history."""
    known = [run for run in runs if run.history][:MOST]
    if not known:
        return None
    figure = Figure(figsize=(10, 2.5 * len(known) + 0.4), layout="constrained")
    grid = figure.subplots(len(known), 2, squeeze=False, sharex="row")
    for (losses, areas), run in zip(grid, known, strict=True):
        branches = list(run.model.branches)
        epochs, loss = _series(run.history, "train_loss")
        losses.plot(
            epochs,
            [value / max(len(branches), 1) for value in loss],
            color="#777777",
            label="training, mean of the branches",
        )
        for branch, colour, line in zip(branches, COLOURS, LINES, strict=False):
            name = NAMES.get(branch, branch)
            losses.plot(
                *_series(run.history, f"loss_{branch}"), color=colour, linestyle=line, label=f"validation, {name}"
            )
            areas.plot(*_series(run.history, f"auc_{branch}"), color=colour, linestyle=line, label=name)
            best = run.origin.get("best_epochs", {}).get(branch)
            values = dict(zip(*_series(run.history, f"auc_{branch}"), strict=True))
            if best in values:
                areas.plot(best, values[best], "o", color=colour, markersize=8, markeredgecolor="black")
        losses.set(ylabel="cross-entropy", ylim=(0, None))
        losses.set_title(run.model.name, fontsize=10, loc="left", fontweight="bold")
        areas.set(ylabel="validation AUC", ylim=(0, 1.03))
        areas.axhline(0.5, color="#bbbbbb", linewidth=1)
        for axes in (losses, areas):
            axes.legend(fontsize=8, frameon=False)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlabel("epoch")
    left_out = sum(bool(run.history) for run in runs) - len(known)
    caption = (
        "Circles: the epochs that were kept, the best of each branch on the validation part. "
        "An AUC there is that of a best of many."
    )
    return Picture(
        "learning", "Learning curves", figure, caption + (f" {left_out} more runs are not drawn." if left_out else "")
    )


def _series(history: Sequence[Mapping[str, float]], name: str) -> tuple[list[float], list[float]]:
    rows = [row for row in history if name in row]
    return [row["epoch"] for row in rows], [row[name] for row in rows]
