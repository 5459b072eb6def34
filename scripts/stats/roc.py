"""The ROC curve of a binary score, its area, and DeLong's interval of it.

Conventions: `labels` (N,) are 1 = controlled (positive) or 0 = uncontrolled; `scores` (N,) are higher for controlled; a
case is called controlled if score >= threshold. Ties count 1/2. Intervals are two-sided, at `level`.

Sources: DeLong ER, DeLong DM, Clarke-Pearson DL, Biometrics 1988;44:837 (variance of the AUC); Sun X, Xu W, IEEE Signal
Process Lett 2014;21:1389 (the same by midranks, in O(N log N)); Pepe MS, The Statistical Evaluation of Medical Tests
for Classification and Prediction, 2003 (the interval on the logit scale); Clopper CJ, Pearson ES, Biometrika
1934;26:404.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from scripts.errors import InputError

Interval = tuple[float, float]


def check_scores(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and scores as arrays of shape (N,), int64 and float64.

    Raises:
        InputError: other shapes, no case, a score that is not finite, a label that is not 0 or 1, or only one class.
    """
    y, s = _numbers(labels, "labels"), _numbers(scores, "scores")
    if y.ndim != 1 or y.shape != s.shape or y.size == 0:
        raise InputError(
            f"labels have shape {y.shape}, scores {s.shape}",
            expected="the same shape (N,), N 1 or more",
            remedy="Give one label and one score a case.",
        )
    for name, values, wrong, expected in (
        ("scores", s, ~np.isfinite(s), "finite numbers"),
        ("labels", y, ~np.isin(y, (0, 1)), "1 (controlled) or 0 (uncontrolled)"),
    ):
        if wrong.any():
            raise InputError(
                f"{name} hold {values[wrong][0]} at index {np.argmax(wrong)}",
                expected=expected,
                remedy="Leave out cases that failed or have no label; check that labels and scores are not exchanged.",
            )
    if np.unique(y).size < 2:
        raise InputError(
            f"all {y.size} labels are {int(y[0])}",
            expected="both classes, controlled (1) and uncontrolled (0)",
            remedy="Add cases of the other class: without them there is no ROC curve.",
        )
    return y.astype(np.int64), s


def placements(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """DeLong's structural components as whole numbers: twice the cases of the other class that a case stands right of.

    A positive: 2 for each negative below it, 1 for each tied with it; a negative: the same for positives above it. By
    midranks among all and within the class (Sun and Xu 2014). V10 = the first / (2 n), V01 = the second / (2 m). As whole
    numbers their sums do not depend on the order of the cases, and a variance of 0 is 0 and not a rounding.

    Args:
        labels: (N,) as of `check_scores`.
        scores: (..., N).

    Returns:
        of the m positives (..., m) and of the n negatives (..., n), in the order of the cases.
    """
    positive, negative = scores[..., labels == 1], scores[..., labels == 0]
    ranks = stats.rankdata(scores, axis=-1)  # midranks: halves, exact in float64
    above = 2 * (ranks[..., labels == 1] - stats.rankdata(positive, axis=-1))
    below = 2 * (positive.shape[-1] - ranks[..., labels == 0] + stats.rankdata(negative, axis=-1))
    return above.astype(np.int64), below.astype(np.int64)


def placement_covariance(of_positives: NDArray[np.int64], of_negatives: NDArray[np.int64]) -> NDArray[np.float64]:
    """DeLong's covariance of K AUCs, S10 / m + S01 / n, from their `placements` (K, m) and (K, n): shape (K, K).

    NaN where a class has one case: its variance cannot be estimated. Linear contrasts of placements may be given too: the
    difference of two models' placements gives the variance of the difference of their AUCs.
    """
    m, n = of_positives.shape[-1], of_negatives.shape[-1]
    if min(m, n) < 2:
        return np.full((len(of_positives),) * 2, math.nan)
    covariance: NDArray[np.float64] = (
        _of_the_mean(of_positives) / (2 * n) ** 2 + _of_the_mean(of_negatives) / (2 * m) ** 2
    )
    return covariance


def _of_the_mean(values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sample covariance of the K means over N cases: (K, N) -> (K, K), from exact sums (Python's whole numbers)."""
    size, sums = values.shape[1], values.sum(axis=1).astype(object)
    centred = size * (values @ values.T).astype(object) - np.outer(sums, sums)
    return np.asarray(centred / (size**2 * (size - 1)), dtype=np.float64)


def concordance(labels: ArrayLike, scores: ArrayLike) -> int:
    """Twice the Mann-Whitney U of the controlled: 2 for every pair in the right order, 1 for a tie.

    AUC = this / (2 m n). A whole number, so that equal AUCs are equal.
    """
    return int(placements(*check_scores(labels, scores))[0].sum())


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(score of a controlled > of an uncontrolled) + P(equal) / 2.

    Checked against sklearn.metrics.roc_auc_score.
    """
    y, s = check_scores(labels, scores)
    m = int(y.sum())
    return concordance(y, s) / (2 * m * (y.size - m))


def delong_variance(labels: ArrayLike, scores: ArrayLike) -> float:
    """DeLong's variance of the AUC; NaN where a class has one case.

    Checked against the definition over all pairs and R's pROC.
    """
    y, s = check_scores(labels, scores)
    return float(placement_covariance(*placements(y, s[None]))[0, 0])


def auc_interval(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Interval:
    """Interval of the AUC: DeLong's variance on the logit scale, logit(A) ± z · SE / (A (1 - A)).

    On the logit scale because the plain A ± z · SE leaves [0, 1] and covers too little for the high AUCs and small
    cohorts that are met here.

    DeLong's variance is 0 for perfect separation (either way) and where all scores are equal, and there only; it cannot
    be estimated with one case in a class. An interval of width 0 would be false certainty. Instead: min(m, n) disjoint
    pairs of one controlled and one uncontrolled case are independent trials that succeed with probability AUC, and the
    interval is Clopper and Pearson's for A · min(m, n) successes among them. For perfect separation every such pairing
    succeeds throughout, and the lower bound (alpha / 2)^(1 / min(m, n)) covers at `level` or more whatever the scores'
    distribution: 8 controlled and 11 uncontrolled give 0.63 to 1. Elsewhere (a fraction of a success) it is a
    convention.
    """
    y, s = check_scores(labels, scores)
    z, area, pairs = normal_quantile(level), auc(y, s), int(min(y.sum(), y.size - y.sum()))
    if 0 < area < 1 and pairs > 1 and np.ptp(s) > 0:
        centre = math.log(area / (1 - area))
        half = z * math.sqrt(delong_variance(y, s)) / (area * (1 - area))
        return float(special.expit(centre - half)), float(special.expit(centre + half))
    successes, tail = area * pairs, (1 - level) / 2
    low = float(stats.beta.ppf(tail, successes, pairs - successes + 1)) if area > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, pairs - successes)) if area < 1 else 1.0
    return low, high


@dataclass(frozen=True)
class RocCurve:
    """The ROC curve from (0, 0) to (1, 1), one point a distinct score: controlled is what has score >= threshold."""

    false_positive_rate: tuple[float, ...]  # 1 - specificity
    true_positive_rate: tuple[float, ...]  # sensitivity
    thresholds: tuple[float, ...]  # falling; the first is infinite: no case is called controlled

    def to_dict(self) -> dict[str, list[float | None]]:
        """For JSON: the infinite threshold is null."""
        return {
            "false_positive_rate": list(self.false_positive_rate),
            "true_positive_rate": list(self.true_positive_rate),
            "thresholds": [value if math.isfinite(value) else None for value in self.thresholds],
        }


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """The ROC curve. Checked against sklearn.metrics.roc_curve(drop_intermediate=False)."""
    y, s = check_scores(labels, scores)
    distinct, where = np.unique(s, return_inverse=True)
    positives = np.bincount(where, weights=y)[::-1].cumsum()
    called = np.bincount(where)[::-1].cumsum()
    m = int(y.sum())
    return RocCurve(
        false_positive_rate=(0.0, *((called - positives) / (y.size - m)).tolist()),
        true_positive_rate=(0.0, *(positives / m).tolist()),
        thresholds=(math.inf, *distinct[::-1].tolist()),
    )


def normal_quantile(level: float) -> float:
    """z of a two-sided interval: 1.96 for level 0.95.

    Raises:
        InputError: a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise InputError(f"level is {level}", expected="a number between 0 and 1", remedy="Give 0.95, for instance.")
    return float(special.ndtri(0.5 + level / 2))


def _numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}", expected="an array (N,) of numbers", remedy="Give numbers.") from error
