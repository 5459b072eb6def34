"""The bootstrap, stratified by outcome, with the bias-corrected and accelerated (BCa) interval.

Cases are drawn with replacement within each class, so that every resample has the cohort's numbers of controlled and
uncontrolled. A resample is a row of weights: how often each case was drawn. A statistic that takes weights is computed
for all resamples at once, and for the jackknife too, where one case has weight 0. Cases are sorted before drawing: with
the same seed the result does not depend on their order.

Sources: Efron B, J Am Stat Assoc 1987;82:171 (BCa); Davison AC, Hinkley DV, Bootstrap Methods and their Application,
1997, section 5.3 (its acceleration for several samples).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from scripts.errors import InputError
from scripts.stats.roc import Interval, check_scores, normal_quantile

Floats = NDArray[np.float64]
Statistic = Callable[[Floats, NDArray[np.int64], Floats], Floats]  # weights (B, N), labels (N,), values (N, C) -> (B,)
_BLOCK = 2**22  # weights at a time: 32 MiB


@dataclass(frozen=True)
class Bootstrap:
    """A statistic with its BCa interval.

    Attributes:
        estimate: of the cases as they are.
        interval: at `level`; None where the bootstrap gives none.
        bias: z0, the correction of the median; None without an interval.
        acceleration: a; None without an interval.
        resamples: how many.
        reason: why there is no interval; None where there is one.
    """

    estimate: float
    interval: Interval | None
    bias: float | None
    acceleration: float | None
    resamples: int
    level: float
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the interval as [low, high]."""
        return {**asdict(self), "interval": None if self.interval is None else list(self.interval)}


def bca(
    labels: ArrayLike,
    values: ArrayLike,
    *,
    statistic: Statistic,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Bootstrap:
    """The statistic and its BCa interval.

    There is no interval, and `reason` says why, where a class has one case (it never varies), where all resamples give
    one value (perfect separation: an interval of width 0 would be false certainty), where some give none, and where the
    correction leaves the bootstrap distribution.

    Checked against scipy.stats.bootstrap(method="BCa") of two samples, whose conventions these are: ties with the
    estimate count half, quantiles are interpolated.

    Args:
        labels: (N,), 0 or 1: within which cases are drawn. Both classes are there.
        values: (N,) or (N, C): what the statistic needs of each case.
        statistic: weights (B, N), labels (N,), values (N, C) -> (B,), NaN where it is not defined. It must not care for the
            order of the cases. Those below: `weighted_auc`, `weighted_auc_difference`, `weighted_mean`.
        level: of the interval.
        resamples: B.
        seed: of the draws.

    Raises:
        InputError: as of `roc.check_scores`, for each column of the values.
    """
    z = normal_quantile(level)
    y, columns = _sorted(labels, np.asarray(values))
    sizes = (int(y.size - y.sum()), int(y.sum()))
    estimate = float(statistic(np.ones((1, y.size)), y, columns)[0])

    def without(reason: str) -> Bootstrap:
        return Bootstrap(estimate, None, None, None, resamples, level, reason)

    if min(sizes) < 2:
        return without(f"{sizes[1]} controlled, {sizes[0]} uncontrolled: a class of one case never varies")
    drawn = np.concatenate([statistic(w, y, columns) for w in _resampled(sizes, resamples, seed)])
    if not np.isfinite(drawn).all() or not math.isfinite(estimate):
        return without(f"{int((~np.isfinite(drawn)).sum())} of {resamples} resamples do not define the statistic")
    drawn[np.isclose(drawn, estimate, rtol=1e-12, atol=1e-12)] = estimate  # ties are ties and not rounding
    if np.ptp(drawn) == 0:
        return without("all resamples give the same value")
    left_out = np.concatenate([statistic(w, y, columns) for w in _jackknifed(y.size)])
    acceleration = _acceleration(left_out, sizes)
    rank = ((drawn < estimate).mean() + (drawn <= estimate).mean()) / 2
    bias = float(stats.norm.ppf(rank))
    ends = np.array([bias - z, bias + z])
    if not (math.isfinite(bias) and math.isfinite(acceleration) and (acceleration * ends < 1).all()):
        return without("the correction leaves the bootstrap distribution")
    low, high = np.quantile(drawn, stats.norm.cdf(bias + ends / (1 - acceleration * ends))).tolist()
    return Bootstrap(estimate, (low, high), bias, acceleration, resamples, level)


def auc_bca(
    labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Bootstrap:
    """The AUC of labels (N,) and scores (N,) with its BCa interval. Arguments and errors as of `bca`.

    None for perfect separation and for equal scores: `roc.auc_interval` has a convention for these.
    """
    return bca(labels, scores, statistic=weighted_auc, level=level, resamples=resamples, seed=seed)


def weighted_auc(weights: Floats, labels: NDArray[np.int64], values: Floats) -> Floats:
    """AUC of the first column for each row of weights: (B, N), (N,), (N, C) -> (B,)."""
    order = np.argsort(values[:, 0], kind="stable")
    starts = np.flatnonzero(np.diff(values[order, 0], prepend=-np.inf))  # of each distinct score
    positive = np.add.reduceat(weights[:, order] * labels[order], starts, axis=1)  # (B, distinct)
    negative = np.add.reduceat(weights[:, order] * (1 - labels[order]), starts, axis=1)
    twice = 2 * np.cumsum(negative, axis=1) - negative  # negatives below, and half of those with the same score
    area: Floats = (positive * twice).sum(axis=1) / (2 * positive.sum(axis=1) * negative.sum(axis=1))
    return area


def weighted_auc_difference(weights: Floats, labels: NDArray[np.int64], values: Floats) -> Floats:
    """AUC of the first column minus that of the second, of the same resamples: (B, N), (N,), (N, 2) -> (B,).

    With the paper's 19 test cases its interval excludes 0 too often (benchmarks/records/STATISTICS.md): there
    `comparison.delong_test` is the one to use.
    """
    return weighted_auc(weights, labels, values) - weighted_auc(weights, labels, values[:, 1:])


def weighted_mean(weights: Floats, labels: NDArray[np.int64], values: Floats) -> Floats:
    """Mean of the first column over all cases, (B, N), (N,), (N, C) -> (B,): the Brier score, of squared errors."""
    mean: Floats = weights @ values[:, 0] / weights.sum(axis=1)
    return mean


def _sorted(labels: ArrayLike, values: NDArray[Any]) -> tuple[NDArray[np.int64], Floats]:
    """Labels (N,) and values (N, C), checked: the uncontrolled first, then by value; equal rows are interchangeable."""
    if values.ndim not in (1, 2) or values.size == 0:
        raise InputError(
            f"values have shape {values.shape}",
            expected="(N,) or (N, C)",
            remedy="Give a row a case, a column a value.",
        )
    checked = [check_scores(labels, column) for column in (values[:, None] if values.ndim == 1 else values).T]
    y, columns = checked[0][0], np.stack([column for _, column in checked], axis=1)
    order = np.lexsort((*columns.T, y))
    return y[order], columns[order]


def _resampled(sizes: tuple[int, int], resamples: int, seed: int) -> Iterator[Floats]:
    """How often each case was drawn: blocks (b, N), the classes one after the other."""
    if resamples < 100:
        raise InputError(f"resamples is {resamples}", expected="100 or more", remedy="Give 2000, for instance.")
    generator, total = np.random.default_rng(seed), sum(sizes)
    for start in range(0, resamples, max(1, _BLOCK // total)):
        rows = min(max(1, _BLOCK // total), resamples - start)
        counts = []
        for size in sizes:
            drawn = generator.integers(0, size, (rows, size)) + size * np.arange(rows)[:, None]
            counts.append(np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size))
        yield np.concatenate(counts, axis=1).astype(np.float64)


def _jackknifed(size: int) -> Iterator[Floats]:
    """All cases but one: blocks (b, N), N rows in all."""
    step = max(1, _BLOCK // size)
    for start in range(0, size, step):
        rows = np.arange(start, min(start + step, size))
        weights = np.ones((rows.size, size))
        weights[rows - start, rows] = 0
        yield weights


def _acceleration(left_out: Floats, sizes: tuple[int, int]) -> float:
    """a = Σ_k Σ_i l³ / n_k³ / (6 (Σ_k Σ_i l² / n_k²)^1.5), l = (n_k - 1) · (mean - value without the case)."""
    third = second = 0.0
    for size, values in zip(sizes, np.split(left_out, [sizes[0]]), strict=True):
        influence = (size - 1) * (values.mean() - values) / size
        third, second = third + float((influence**3).sum()), second + float((influence**2).sum())
    return third / (6 * second**1.5) if second > 0 else math.nan
