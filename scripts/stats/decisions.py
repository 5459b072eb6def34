"""What decisions achieve: counts and proportions with their intervals. Scores and AUC are in `metrics`.

Conventions: label 1 = controlled = positive; decision 1 = called controlled.

Sources: Wilson EB, J Am Stat Assoc 1927;22:209 (proportions); Zou GY, Donner A, Stat Med 2008;27:1693 (the interval of
a sum from those of its terms).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scripts.errors import InputError
from scripts.stats.roc import Interval, check_scores, normal_quantile


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion.

    Checked against scipy.stats.binomtest(...).proportion_ci(method="wilson").

    Raises:
        InputError: more successes than n, a negative number, or none at all.
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


def mean_of_two(first: tuple[int, int], second: tuple[int, int], *, level: float = 0.95) -> Interval:
    """Interval of the mean of two independent proportions (successes, n): the balanced accuracy.

    By variance recovery from their Wilson intervals (Zou and Donner 2008), M the mean of p1 and p2:
    M - 1/2 · sqrt((p1 - l1)² + (p2 - l2)²) and M + 1/2 · sqrt((u1 - p1)² + (u2 - p2)²).
    """
    (l1, u1), (l2, u2) = wilson(*first, level=level), wilson(*second, level=level)
    p1, p2 = first[0] / first[1], second[0] / second[1]
    return (p1 + p2 - math.hypot(p1 - l1, p2 - l2)) / 2, (p1 + p2 + math.hypot(u1 - p1, u2 - p2)) / 2


@dataclass(frozen=True)
class DecisionMetrics:
    """What decisions achieve on N cases. `ppv` (`npv`) is None where no case is called (un)controlled.

    PPV and NPV, and their intervals, are those at the cohort's share of controlled, and no other.
    """

    n: int
    positives: int
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    acc: float
    sensitivity: float
    specificity: float
    balanced_accuracy: float
    ppv: float | None
    npv: float | None
    level: float
    intervals: dict[str, Interval | None]  # of acc, sensitivity, specificity, balanced_accuracy, ppv, npv

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, each interval as [low, high]."""
        intervals = {name: None if pair is None else list(pair) for name, pair in self.intervals.items()}
        return {**asdict(self), "intervals": intervals}


def decision_metrics(labels: ArrayLike, decisions: ArrayLike, *, level: float = 0.95) -> DecisionMetrics:
    """Counts and proportions of decisions, however they were made: each fold of a cross-validation has its own threshold.

    Intervals: `wilson`; of the balanced accuracy `mean_of_two`.

    Args:
        labels: (N,), 0 or 1.
        decisions: (N,), 1 = called controlled, 0 = called uncontrolled.
        level: of the intervals.

    Raises:
        InputError: as of `roc.check_scores`; a decision that is not 0 or 1.
    """
    y, called = check_scores(labels, decisions)
    wrong = ~np.isin(called, (0, 1))
    if wrong.any():
        raise InputError(
            f"decisions hold {called[wrong][0]} at index {int(np.argmax(wrong))}",
            expected="1 (called controlled) or 0 (called uncontrolled)",
            remedy="Compare scores with their threshold before.",
        )
    tp, fp = int(((called == 1) & (y == 1)).sum()), int(((called == 1) & (y == 0)).sum())
    fn, tn = int(((called == 0) & (y == 1)).sum()), int(((called == 0) & (y == 0)).sum())
    proportions = {
        "acc": (tp + tn, int(y.size)),
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "ppv": (tp, tp + fp),
        "npv": (tn, tn + fn),
    }
    interval = {name: wilson(k, total, level=level) if total else None for name, (k, total) in proportions.items()}
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)  # both classes are there: see check_scores
    return DecisionMetrics(
        n=int(y.size),
        positives=int(y.sum()),
        true_positives=tp,
        false_positives=fp,
        true_negatives=tn,
        false_negatives=fn,
        acc=(tp + tn) / int(y.size),
        sensitivity=sensitivity,
        specificity=specificity,
        balanced_accuracy=(sensitivity + specificity) / 2,
        ppv=tp / (tp + fp) if tp + fp else None,
        npv=tn / (tn + fn) if tn + fn else None,
        level=level,
        intervals={
            **interval,
            "balanced_accuracy": mean_of_two(proportions["sensitivity"], proportions["specificity"], level=level),
        },
    )
