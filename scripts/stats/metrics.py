"""What a score and its decisions achieve: AUC, counts, proportions and calibration, with intervals.

Conventions as in `roc`: label 1 = controlled = positive, controlled if score >= threshold.

Sources: Brier GW, Mon Weather Rev 1950;78:1.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from scripts.errors import InputError
from scripts.stats.decisions import decision_metrics
from scripts.stats.roc import (
    Interval,
    auc,
    auc_interval,
    check_scores,
    normal_quantile,
)


@dataclass(frozen=True)
class Metrics:
    """What a score and its decisions achieve on N cases. `ppv` (`npv`) is None where no case is called (un)controlled."""

    n: int
    positives: int
    threshold: float | None  # None where the decisions were given
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
    # of auc, acc, sensitivity, specificity, balanced_accuracy, ppv, npv, brier
    intervals: dict[str, Interval | None]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, each interval as [low, high]."""
        intervals = {name: None if pair is None else list(pair) for name, pair in self.intervals.items()}
        return {**asdict(self), "intervals": intervals}


def classification_metrics(
    labels: ArrayLike,
    scores: ArrayLike,
    *,
    threshold: float | None = None,
    decisions: ArrayLike | None = None,
    level: float = 0.95,
) -> Metrics:
    """AUC, the proportions of the decisions, and the scores' calibration, with intervals.

    Intervals: AUC by `auc_interval`; proportions as of `decision_metrics`; Brier by `brier_interval`. Log loss = -mean log
    of the probability given to the label, 2.2e-16 at least (as in scikit-learn): a sigmoid in float32 does reach 0 and 1.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), probabilities in [0, 1].
        threshold: controlled if score >= threshold. Chosen on other data than these.
        decisions: (N,) instead of a threshold, 1 = called controlled: those of a cross-validation, whose folds have each
            their own threshold, and those that were made before the scores were rounded.
        level: of the intervals.

    Raises:
        InputError: as of `check_scores` and `decision_metrics`; a score outside [0, 1]; a threshold that is not finite;
            both or neither of threshold and decisions.
    """
    y, s = check_scores(labels, scores)
    check_probabilities(s)
    decided = decision_metrics(y, _called(s, threshold, decisions), level=level)
    given = np.maximum(np.where(y == 1, s, 1 - s), np.finfo(np.float64).eps)
    return Metrics(
        n=decided.n,
        positives=decided.positives,
        threshold=None if threshold is None else float(threshold),
        true_positives=decided.true_positives,
        false_positives=decided.false_positives,
        true_negatives=decided.true_negatives,
        false_negatives=decided.false_negatives,
        auc=auc(y, s),
        acc=decided.acc,
        sensitivity=decided.sensitivity,
        specificity=decided.specificity,
        balanced_accuracy=decided.balanced_accuracy,
        ppv=decided.ppv,
        npv=decided.npv,
        brier=brier(y, s),
        log_loss=math.fsum(-np.log(given)) / y.size,
        level=level,
        intervals={
            "auc": auc_interval(y, s, level=level),
            **decided.intervals,
            "brier": brier_interval(y, s, level=level),
        },
    )


def _called(s: NDArray[np.float64], threshold: float | None, decisions: ArrayLike | None) -> ArrayLike:
    if threshold is None and decisions is not None:
        return decisions
    if threshold is None or decisions is not None:
        raise InputError(
            f"{'neither' if threshold is None else 'both'} of threshold and decisions is given",
            expected="one of them",
            remedy="Give threshold=0.5, for instance.",
        )
    if not math.isfinite(threshold):
        raise InputError(f"threshold is {threshold}", expected="a finite number", remedy="Give 0.5, for instance.")
    return s >= threshold


def brier(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean squared difference of scores (N,) and labels (N,), correctly summed: the order of the cases does not matter."""
    y, s = check_scores(labels, scores)
    return math.fsum((s - y) ** 2) / y.size


def brier_interval(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Interval | None:
    """Interval of the Brier score B: logit(B) ± t · SE / (B (1 - B)), t of N - 2 degrees of freedom.

    SE² = Σ_k n_k s_k² / N², s_k² the variance of the squared errors within the class of n_k cases: the numbers of controlled
    and uncontrolled are those of the cohort, as in the stratified bootstrap. It covers better than BCa with few cases
    (benchmarks/records/STATISTICS.md) and needs no seed.

    None where a class has one case or the squared errors do not vary within either class: their variance is then unknown,
    or 0, and an interval of width 0 would be false certainty.
    """
    normal_quantile(level)  # refuses a level that is none
    y, s = check_scores(labels, scores)
    check_probabilities(s)
    squared = [np.sort((s[y == label] - label) ** 2) for label in (0, 1)]
    if min(values.size for values in squared) < 2 or all(np.ptp(values) == 0 for values in squared):
        return None
    error = math.sqrt(sum(values.size * float(values.var(ddof=1)) for values in squared)) / y.size
    mean = brier(y, s)
    half = float(stats.t.ppf(0.5 + level / 2, y.size - 2)) * error / (mean * (1 - mean))
    return float(special.expit(special.logit(mean) - half)), float(special.expit(special.logit(mean) + half))


def check_probabilities(scores: NDArray[np.float64]) -> None:
    """Raises InputError where a score lies outside [0, 1]."""
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        raise InputError(
            f"scores hold {scores[outside].flat[0]} at index {np.argwhere(outside)[0].tolist()}",
            expected="probabilities in [0, 1]",
            remedy="Apply the sigmoid to logits before.",
        )
