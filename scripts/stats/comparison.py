"""Paired comparison of models on the same cases: DeLong's test of two AUCs, McNemar's of two decisions, Holm's correction.

Conventions as in `roc`. Differences are a - b, tests two-sided. What cannot be tested has no p (None) and says why.

Sources: DeLong ER, DeLong DM, Clarke-Pearson DL, Biometrics 1988;44:837; Sun X, Xu W, IEEE Signal Process Lett
2014;21:1389 (midranks); McNemar Q, Psychometrika 1947;12:153 (here with the exact binomial distribution); Holm S, Scand
J Stat 1979;6:65.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from scripts.errors import InputError
from scripts.stats.roc import Interval, check_scores, normal_quantile, placement_covariance, placements


@dataclass(frozen=True)
class AucDifference:
    """Two AUCs of the same cases.

    Attributes:
        difference: AUC of a minus AUC of b.
        standard_error: by DeLong; None where it cannot be estimated.
        interval: of the difference at `level`; None where its variance is 0 or cannot be estimated.
        z, p: of DeLong's test; None where there is none.
        reason: why something is None; None where nothing is.
    """

    difference: float
    standard_error: float | None
    interval: Interval | None
    z: float | None
    p: float | None
    level: float
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the interval as [low, high]."""
        return {**asdict(self), "interval": None if self.interval is None else list(self.interval)}


@dataclass(frozen=True)
class McNemar:
    """Two models' decisions on the same cases, by whether they are correct."""

    both_correct: int
    only_a_correct: int
    only_b_correct: int
    neither_correct: int
    p: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def delong_covariance(labels: ArrayLike, scores: Iterable[ArrayLike]) -> NDArray[np.float64]:
    """DeLong's covariance of the AUCs of K scores of the same cases, by midranks in O(K N log N + K² N).

    Args:
        labels: (N,), 0 or 1.
        scores: (K, N), one row a model.

    Returns:
        (K, K); NaN where a class has one case. Checked against R's pROC.

    Raises:
        InputError: as of `roc.check_scores`.
    """
    y, s = _paired(labels, scores)
    return placement_covariance(*placements(y, s))


def delong_test(labels: ArrayLike, a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> AucDifference:
    """DeLong's paired test of two AUCs, with the interval difference ± z · SE, kept within [-1, 1].

    The variance is 0 only where every case of a class has the same difference of placements. If the AUCs are then equal,
    no case tells the models apart: p is 1, as in pROC. If they are not (one model separates the classes and the other
    gives all cases one score, for instance), z would be infinite: there is no p. With one case in a class there is no
    variance and no p. In none of these is there an interval: one of width 0 would be false certainty.

    Checked against R's pROC (roc.test, paired) and MLstatkit, whose z has the other sign.

    Args:
        labels: (N,), 0 or 1.
        a, b: (N,) scores of the two models.
        level: of the interval.

    Raises:
        InputError: as of `roc.check_scores`.
    """
    quantile = normal_quantile(level)
    y, s = _paired(labels, [a, b])
    m, n = int(y.sum()), int(y.size - y.sum())
    of_positives, of_negatives = (values[:1] - values[1:] for values in placements(y, s))  # (1, m), (1, n)
    difference = int(of_positives.sum()) / (2 * m * n)
    variance = float(placement_covariance(of_positives, of_negatives)[0, 0])
    if math.isnan(variance):
        reason = f"{m} controlled, {n} uncontrolled: one case gives no variance"
        return AucDifference(difference, None, None, None, None, level, reason)
    if variance == 0 and difference == 0:
        reason = "every case stands equally among the other class by both models: no interval"
        return AucDifference(difference, 0.0, None, 0.0, 1.0, level, reason)
    if variance == 0:
        reason = "DeLong's variance of the difference is 0 in these cases: no test and no interval"
        return AucDifference(difference, 0.0, None, None, None, level, reason)
    error = math.sqrt(variance)
    interval = (max(-1.0, difference - quantile * error), min(1.0, difference + quantile * error))
    z = difference / error
    return AucDifference(difference, error, interval, z, float(2 * stats.norm.sf(abs(z))), level)


def mcnemar(labels: ArrayLike, decisions_a: ArrayLike, decisions_b: ArrayLike) -> McNemar:
    """McNemar's exact test: are the cases that only one model decides correctly split evenly between the two?

    Two-sided, binomial with probability 1/2; p is 1 where no such case is there. One class alone will do: then it
    compares two sensitivities or two specificities. Checked against statsmodels.stats.contingency_tables.mcnemar.

    Args:
        labels: (N,), 0 or 1.
        decisions_a, decisions_b: (N,), 1 = called controlled, 0 = called uncontrolled.

    Raises:
        InputError: other shapes or values, or no case.
    """
    arrays = [np.asarray(values) for values in (labels, decisions_a, decisions_b)]
    if any(values.ndim != 1 or values.shape != arrays[0].shape or values.size == 0 for values in arrays):
        raise InputError(
            f"labels and decisions have shapes {', '.join(str(values.shape) for values in arrays)}",
            expected="one shape (N,), N 1 or more",
            remedy="Give both models' decisions on the same cases.",
        )
    if not all(np.isin(values, (0, 1)).all() for values in arrays):
        raise InputError(
            "labels or decisions hold something else than 0 and 1",
            expected="1 (controlled) or 0 (uncontrolled)",
            remedy="Compare scores with their threshold before.",
        )
    a, b = arrays[1] == arrays[0], arrays[2] == arrays[0]
    only_a, only_b = int((a & ~b).sum()), int((~a & b).sum())
    p = float(stats.binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0
    return McNemar(int((a & b).sum()), only_a, only_b, int((~a & ~b).sum()), p)


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p of each of several tests, in their order; None stays None and does not count as a test.

    Checked against statsmodels.stats.multitest.multipletests, which collects the garbage of the whole process at each call.

    Raises:
        InputError: a p that is not in [0, 1], NaN among them.
    """
    given = [p for p in pvalues if p is not None]
    wrong = [p for p in given if not 0 <= p <= 1]
    if wrong:
        raise InputError(f"p is {wrong[0]}", expected="a number from 0 to 1, or None", remedy="Give None for no test.")
    order = np.argsort(given, kind="stable")
    steps = np.arange(len(given), 0, -1)  # the smallest p is multiplied by all tests, the next by one less
    adjusted = np.empty(len(given))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.array(given)[order] * steps), 1.0)
    each = iter(adjusted.tolist())
    return [None if p is None else next(each) for p in pvalues]


def _paired(labels: ArrayLike, scores: Iterable[ArrayLike]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels (N,) and scores (K, N), each row checked by itself, so that the fault is said of N."""
    checked = [check_scores(labels, row) for row in scores]
    if not checked:
        raise InputError("no scores are given", expected="scores of shape (K, N)", remedy="Give one row a model.")
    return checked[0][0], np.array([s for _, s in checked])
