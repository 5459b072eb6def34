"""What a score and a threshold achieve: counts, proportions and calibration, with intervals where a formula gives them.

Conventions as in `scripts.roc`, whose functions are to be had from here too: label 1 = controlled = positive,
controlled if score >= threshold. NumPy and SciPy alone, no torch.

Sources: Wilson EB, J Am Stat Assoc 1927;22:209 (proportions); Zou GY, Donner A, Stat Med 2008;27:1693 (the interval of
a sum from those of its terms); Brier GW, Mon Weather Rev 1950;78:1.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.errors import InputError
from scripts.roc import (
    Interval,
    RocCurve,
    auc,
    auc_interval,
    check_scores,
    concordance,
    delong_variance,
    normal_quantile,
    roc_curve,
)

__all__ = [
    "Interval",
    "Metrics",
    "RocCurve",
    "auc",
    "auc_interval",
    "brier",
    "check_probabilities",
    "check_scores",
    "classification_metrics",
    "concordance",
    "delong_variance",
    "roc_curve",
    "wilson",
]


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    Checked against scipy.stats.binomtest(...).proportion_ci(method="wilson").
    """
    if n < 1 or not 0 <= successes <= n:
        raise InputError(
            f"{successes} successes of {n}", expected="0 <= successes <= n and n 1 or more", remedy="Check the counts."
        )
    z, p = normal_quantile(level), successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # The ends are exactly 0 and 1 for none and all; the formula leaves rounding there.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == n else centre + half)


@dataclass(frozen=True)
class Metrics:
    """What a score and a threshold achieve on N cases. `ppv` (`npv`) is None where no case is called (un)controlled."""

    n: int
    positives: int
    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    auc: float
    acc: float
    sensitivity: float
    specificity: float
    balanced_accuracy: float
    ppv: float | None
    npv: float | None
    brier: float
    log_loss: float
    level: float
    intervals: dict[str, Interval | None]  # of auc, acc, sensitivity, specificity, balanced_accuracy, ppv, npv

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, each interval as [low, high]."""
        intervals = {name: None if pair is None else list(pair) for name, pair in self.intervals.items()}
        return {**asdict(self), "intervals": intervals}


def classification_metrics(labels: ArrayLike, scores: ArrayLike, *, threshold: float, level: float = 0.95) -> Metrics:
    """AUC, the proportions at the threshold, and the scores' calibration, with intervals.

    Intervals: AUC by `auc_interval`; proportions by `wilson`; balanced accuracy, half the sum of two independent
    proportions, by variance recovery from their Wilson intervals (Zou and Donner 2008):
    BA - 1/2 · sqrt((p1 - l1)² + (p2 - l2)²) and BA + 1/2 · sqrt((u1 - p1)² + (u2 - p2)²). Brier = mean (score -
    label)². Log loss = -mean log of the probability given to the label, clipped at 2.2e-16 (as in scikit-learn): a
    sigmoid in float32 does reach 0 and 1.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), probabilities in [0, 1].
        threshold: controlled if score >= threshold. Chosen on other data than these.
        level: of the intervals.

    Raises:
        InputError: as of `check_scores`; a score outside [0, 1]; a threshold that is not finite.
    """
    y, s = check_scores(labels, scores)
    check_probabilities(s)
    if not math.isfinite(threshold):
        raise InputError(f"threshold is {threshold}", expected="a finite number", remedy="Give 0.5, for instance.")
    called = s >= threshold
    tp, fp = int((called & (y == 1)).sum()), int((called & (y == 0)).sum())
    fn, tn = int((~called & (y == 1)).sum()), int((~called & (y == 0)).sum())
    proportions = {
        "acc": (tp + tn, y.size),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
    }
    value = {name: k / total if total else None for name, (k, total) in proportions.items()}
    interval = {name: wilson(k, total, level=level) if total else None for name, (k, total) in proportions.items()}
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)  # both classes are there: see check_scores
    balanced = (sensitivity + specificity) / 2
    (l1, u1), (l2, u2) = wilson(tp, tp + fn, level=level), wilson(tn, tn + fp, level=level)
    below = math.hypot(sensitivity - l1, specificity - l2) / 2
    above = math.hypot(u1 - sensitivity, u2 - specificity) / 2
    tiny = float(np.finfo(np.float64).eps)
    given = np.clip(np.where(y == 1, s, 1 - s), tiny, 1 - tiny)
    return Metrics(
        n=int(y.size),
        positives=int(y.sum()),
        threshold=float(threshold),
        true_positives=tp,
        false_positives=fp,
        true_negatives=tn,
        false_negatives=fn,
        auc=auc(y, s),
        acc=(tp + tn) / int(y.size),
        sensitivity=sensitivity,
        specificity=specificity,
        balanced_accuracy=balanced,
        ppv=value["ppv"],
        npv=value["npv"],
        brier=brier(y, s),
        log_loss=float(-np.log(given).mean()),
        level=level,
        intervals={
            "auc": auc_interval(y, s, level=level),
            **interval,
            "balanced_accuracy": (balanced - below, balanced + above),
        },
    )


def brier(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean squared difference of score and label, correctly summed: it does not depend on the order of the cases."""
    y, s = check_scores(labels, scores)
    return math.fsum((s - y) ** 2) / y.size


def check_probabilities(scores: NDArray[np.float64]) -> None:
    """Raises InputError where a score lies outside [0, 1]."""
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        raise InputError(
            f"scores hold {scores[outside].flat[0]} at index {np.argwhere(outside)[0].tolist()}",
            expected="probabilities in [0, 1]",
            remedy="Apply the sigmoid to logits before.",
        )
