"""Confidence bands of a ROC curve, without resampling.

They are never of width 0, not even for perfect separation, where the bootstrap's are. How well they cover is measured in
benchmarks/records/STATISTICS.md.

Sources: Zou GY, Donner A, Stat Med 2008;27:1693 (pointwise: variance recovery, here from the intervals of both rates);
Wilson EB, J Am Stat Assoc 1927;22:209; Campbell G, Stat Med 1994;13:499 (simultaneous: Kolmogorov's bounds of both
distributions).
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
from scripts.stats.decisions import wilson
from scripts.stats.roc import normal_quantile, roc_curve

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

    Pointwise: two things are uncertain of the sensitivity T(f) at a false positive rate f, the sensitivity at a threshold
    and the threshold whose false positive rate is f. Wilson's interval (l, u) of the empirical T(f) speaks of the first.
    Of the second: thresholds whose Wilson interval of the false positive rate lies below f (above f) are surely left
    (right) of it; their empirical sensitivities nearest to T(f) are l' and u'. The two are independent, and are joined by
    variance recovery: T(f) - sqrt((T(f) - l)² + (T(f) - l')²) and T(f) + sqrt((u - T(f))² + (u' - T(f))²). This use of
    Zou and Donner's method is not from a paper.

    Simultaneous (Campbell 1994): the empirical curve moved by Kolmogorov's exact bounds of the two samples, each at the
    root of `level`, along both axes. It holds for any distribution of the scores, and is wide.

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
    curve, positives = roc_curve(labels, scores), np.asarray(labels) == 1
    m, n = int(positives.sum()), int((~positives).sum())
    false, true = np.array(curve.false_positive_rate), np.array(curve.true_positive_rate)
    grid = np.linspace(0, 1, points)
    if simultaneous:
        along, up = _kolmogorov(n, level), _kolmogorov(m, level)
        low, high = _envelope(grid, (false - along, false + along), (true - up, true + up))
    else:
        at = np.searchsorted(np.round(false, 12), np.round(grid, 12), side="right") - 1
        left, right = _envelope(grid, _wilson(false, n, level), (true, true))
        by_positives = _wilson(true, m, level)
        low = true[at] - np.hypot(true[at] - by_positives[0][at], true[at] - left)
        high = true[at] + np.hypot(by_positives[1][at] - true[at], right - true[at])
        low[-1] = high[-1] = 1.0
    low, high = low.clip(0, 1), high.clip(0, 1)
    return RocBand(tuple(grid.tolist()), tuple(low.tolist()), tuple(high.tolist()), level, simultaneous)


@lru_cache  # 5 ms each
def _kolmogorov(size: int, level: float) -> float:
    """The distance that the empirical distribution of a sample keeps from the true one, at the root of `level`."""
    return float(stats.kstwo.ppf(math.sqrt(level), size))


def _wilson(rates: Floats, size: int, level: float) -> tuple[Floats, Floats]:
    """Wilson's bounds of rates = k / size: (points,) each."""
    bounds = np.array([wilson(round(rate * size), size, level=level) for rate in rates.tolist()])
    return bounds[:, 0], bounds[:, 1]


def _envelope(
    grid: Floats, false_bounds: tuple[Floats, Floats], true_bounds: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Bounds of T at each point of the grid; thresholds fall from point to point of the curve, so all bounds rise."""
    f, (false_low, false_high) = np.round(grid, 12), (np.round(bound, 12) for bound in false_bounds)
    last = np.searchsorted(false_high, f, side="right")  # the last threshold whose F is surely f or less, + 1
    first = np.searchsorted(false_low, f, side="right")  # the first whose F is surely more
    low, high = np.r_[0.0, true_bounds[0]][last], np.r_[true_bounds[1], 1.0][first]
    low[-1] = high[-1] = 1.0  # every curve ends there
    return low, high
