"""Confidence bands of a ROC curve, from the exact distributions of ranks: no resampling, no assumption on the scores.

They are never of width 0, not even for perfect separation, and hold with ties and with few cases. Their price is width:
both cover at `level` or more. How much more is in benchmarks/records/STATISTICS.md.

Sources: Hilgers RA, Methods Inf Med 1991;30:96 (pointwise, from exact bounds of both rates); Clopper CJ, Pearson ES,
Biometrika 1934;26:404; Campbell G, Stat Med 1994;13:499 (simultaneous, from Kolmogorov's bounds of both distributions).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from scripts.errors import InputError
from scripts.roc import normal_quantile, roc_curve

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RocBand:
    """Bounds of the sensitivity at each false positive rate."""

    false_positive_rate: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float
    simultaneous: bool  # the whole true curve lies within, at `level`; otherwise each of its points by itself

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def roc_band(
    labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95, simultaneous: bool = False, points: int = 201
) -> RocBand:
    """A confidence band of the ROC curve.

    Pointwise (Hilgers): with F the false and T the true positive rate of a threshold, and Clopper and Pearson's bounds of
    each at 1 - (1 - level) / 2, the sensitivity at a false positive rate f is no less than the largest lower bound of T
    among the thresholds whose F is surely f or less, and no more than the smallest upper bound of T among those whose F is
    surely more. Four tails of (1 - level) / 4.

    Simultaneous (Campbell): the empirical curve moved by Kolmogorov's exact bounds of the two samples, each at the root of
    `level`, along both axes.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,).
        level: of the band.
        simultaneous: for the whole curve at once.
        points: of the grid of false positive rates, 0 to 1.

    Raises:
        InputError: as of `roc.check_scores`; fewer than 2 points.
    """
    normal_quantile(level)  # refuses a level that is none
    if points < 2:
        raise InputError(f"points is {points}", expected="2 or more", remedy="Give 201, for instance.")
    curve = roc_curve(labels, scores)
    y = np.asarray(labels)
    m, n = int((y == 1).sum()), int((y == 0).sum())
    false, true = np.array(curve.false_positive_rate), np.array(curve.true_positive_rate)
    grid = np.linspace(0, 1, points)
    if simultaneous:
        along, up = _kolmogorov(n, level), _kolmogorov(m, level)
        false_bounds, true_bounds = (false - along, false + along), (true - up, true + up)
    else:
        false_bounds, true_bounds = _exact(false, n, level), _exact(true, m, level)
    low, high = _envelope(grid, false_bounds, true_bounds)
    return RocBand(tuple(grid.tolist()), tuple(low.tolist()), tuple(high.tolist()), level, simultaneous)


@lru_cache  # 5 ms each
def _kolmogorov(size: int, level: float) -> float:
    """The distance that the empirical distribution of a sample keeps from the true one, at the root of `level`."""
    return float(stats.kstwo.ppf(math.sqrt(level), size))


def _exact(rates: Floats, size: int, level: float) -> tuple[Floats, Floats]:
    """Clopper and Pearson's bounds of rates = k / size, each tail (1 - level) / 4."""
    tail, k = (1 - level) / 4, np.rint(rates * size)
    low = np.where(k == 0, 0.0, stats.beta.ppf(tail, np.maximum(k, 1), size - k + 1))
    high = np.where(k == size, 1.0, stats.beta.ppf(1 - tail, k + 1, np.maximum(size - k, 1)))
    return low, high


def _envelope(
    grid: Floats, false_bounds: tuple[Floats, Floats], true_bounds: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Bounds of T at each point of the grid; thresholds fall from point to point of the curve, so all bounds rise."""
    f, (false_low, false_high) = np.round(grid, 12), (np.round(bound, 12) for bound in false_bounds)
    last = np.searchsorted(false_high, f, side="right")  # the last threshold whose F is surely f or less, + 1
    first = np.searchsorted(false_low, f, side="right")  # the first whose F is surely more
    low, high = np.r_[0.0, true_bounds[0]][last], np.r_[true_bounds[1], 1.0][first]
    low[-1] = 1.0  # every curve ends there
    return low.clip(0, 1), high.clip(0, 1)
