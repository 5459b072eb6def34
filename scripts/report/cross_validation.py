"""Cross-validation of the networks beside single splits: every child tested once, by a network that had not seen it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.report.cells import estimate, interval, number
from scripts.report.document import Table
from scripts.report.interaction import missing_class
from scripts.report.study import Model
from scripts.stats.decisions import decision_metrics
from scripts.stats.roc import Interval, auc, auc_interval, normal_quantile, placements


@dataclass(frozen=True)
class FoldAucs:
    """The AUC of each fold's held-out children.

    Attributes:
        folds: number of the fold -> AUC; only folds with both classes.
        left_out: number of the fold -> why it has none.
        mean: over the folds that have one; None where none has.
        interval: of the mean, on the logit scale; None where it has no variance.
    """

    folds: dict[int, float]
    left_out: dict[int, str]
    mean: float | None
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        pair = None if self.interval is None else list(self.interval)
        return {"folds": self.folds, "left_out": self.left_out, "mean": self.mean, "interval": pair}


def fold_aucs(model: Model, *, level: float = 0.95) -> FoldAucs:
    """AUC by fold, and their mean with an interval from DeLong's components within the folds.

    A child's components are those within its fold, less the fold's AUC; their variance over all children of a class gives
    that of the mean (LeDell E, Petersen M, van der Laan M, Electron J Stat 2015;9:1583: influence curves of a
    cross-validated AUC). Pooled scores compare children scored by different networks; these means do not.
    """
    areas: dict[int, float] = {}
    left_out: dict[int, str] = {}
    of_positives, of_negatives = [], []
    numbers = np.zeros(0, dtype=np.int64) if model.folds is None else model.folds
    for fold in np.unique(numbers).tolist():
        y, s = model.labels[numbers == fold], model.scores[numbers == fold]
        reason = missing_class(y)
        if reason is not None:
            left_out[fold] = reason
            continue
        areas[fold] = auc(y, s)
        above, below = placements(y, s)
        of_positives.append(above / (2 * below.size) - areas[fold])
        of_negatives.append(below / (2 * above.size) - areas[fold])
    if not areas:
        return FoldAucs(areas, left_out, None, None)
    mean, count = math.fsum(areas.values()) / len(areas), len(areas)
    variance = 0.0
    for components in (of_positives, of_negatives):
        # Folds weigh alike, whatever their sizes; each fold's mean is 0, which costs it one degree of freedom.
        size = sum(part.size for part in components)
        if size <= count:
            return FoldAucs(areas, left_out, mean, None)
        pooled = math.fsum(float(part @ part) for part in components) / (size - count)
        variance += pooled * sum(1 / part.size for part in components) / count**2
    if variance == 0 or not 0 < mean < 1:
        return FoldAucs(areas, left_out, mean, None)
    half = normal_quantile(level) * math.sqrt(variance) / (mean * (1 - mean))
    centre = math.log(mean / (1 - mean))
    low, high = (1 / (1 + math.exp(-(centre + sign * half))) for sign in (-1, 1))
    return FoldAucs(areas, left_out, mean, (low, high))


def cross_validation_table(models: Sequence[Model], *, name: str = "cross_validation") -> Table | None:
    """Cross-validated models beside those of a single split; None where no model was cross-validated."""
    if all(model.folds is None for model in models):
        return None
    rows, notes = [], []
    for model in models:
        if missing_class(model.labels) is not None:
            notes.append(f"{model.name}: {missing_class(model.labels)}.")
            continue
        found = fold_aucs(model)
        decided = decision_metrics(model.labels, model.decisions)
        pair = (min(found.folds.values()), max(found.folds.values())) if found.folds else None
        rows.append(
            (
                model.name,
                "single split" if model.folds is None else f"{np.unique(model.folds).size} folds",
                f"{int(model.labels.sum())} / {int((1 - model.labels).sum())}",
                estimate(auc(model.labels, model.scores), auc_interval(model.labels, model.scores)),
                estimate(found.mean, found.interval),
                interval(pair),
                *(number(getattr(decided, metric)) for metric in ("acc", "sensitivity", "specificity")),
                estimate(decided.balanced_accuracy, decided.intervals["balanced_accuracy"]),
            )
        )
        notes += [f"{model.name}, fold {fold}: no AUC, {reason}." for fold, reason in found.left_out.items()]
    notes = [
        "Pooled: all children's scores together, though different networks made them; interval DeLong, logit scale. Mean of "
        "folds: interval from the components within the folds. Neither knows that the folds' training parts overlap.",
        *notes,
    ]
    columns = (
        *("model", "", "controlled / uncontrolled", "AUC, pooled", "AUC, mean of folds", "folds, least to most"),
        *("accuracy", "sensitivity", "specificity", "balanced accuracy"),
    )
    return Table(name, "Single split and cross-validation of the networks", columns, tuple(rows), tuple(notes))
