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
from scipy import stats

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


def concordance(labels: ArrayLike, scores: ArrayLike) -> int:
    """Twice the Mann-Whitney U of the controlled: 2 for every pair in the right order, 1 for a tie.

    AUC = this / (2 m n). A whole number, so that equal AUCs are equal.
    """
    y, s = check_scores(labels, scores)
    m = int(y.sum())
    ranks = stats.rankdata(s)  # midranks: halves, exact in float64
    return round(2 * float(ranks[y == 1].sum())) - m * (m + 1)


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: P(score of a controlled > of an uncontrolled) + P(equal) / 2.

    Checked against sklearn.metrics.roc_auc_score.
    """
    y, s = check_scores(labels, scores)
    m = int(y.sum())
    return concordance(y, s) / (2 * m * (y.size - m))


def delong_variance(labels: ArrayLike, scores: ArrayLike) -> float:
    """DeLong's variance of the AUC: S10 / m + S01 / n, the sample variances of the structural components.

    V10 of a positive is the share of negatives below it, V01 of a negative the share of positives above it (ties 1/2),
    both from midranks among all and within the class. NaN where a class has one case: its variance cannot be estimated.
    Checked against the definition over all pairs.
    """
    y, s = check_scores(labels, scores)
    positive, negative = s[y == 1], s[y == 0]
    m, n = positive.size, negative.size
    if min(m, n) < 2:
        return math.nan
    ranks = stats.rankdata(s)
    v10 = (ranks[y == 1] - stats.rankdata(positive)) / n
    v01 = 1 - (ranks[y == 0] - stats.rankdata(negative)) / m
    return float(v10.var(ddof=1) / m + v01.var(ddof=1) / n)


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
        return _expit(centre - half), _expit(centre + half)
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
    """z of a two-sided interval: 1.96 for level 0.95."""
    if not 0 < level < 1:
        raise InputError(f"level is {level}", expected="a number between 0 and 1", remedy="Give 0.95, for instance.")
    return float(stats.norm.ppf(0.5 + level / 2))


def _numbers(values: ArrayLike, name: str) -> NDArray[np.float64]:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}", expected="an array (N,) of numbers", remedy="Give numbers.") from error


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
