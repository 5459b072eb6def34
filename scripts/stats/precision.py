"""What a number of test children is worth: the width of an interval, the children a width needs, the power of a comparison.

Sources: Hanley JA, McNeil BJ, Radiology 1982;143:29 (variance of an AUC from its value and the class sizes, for negative
exponential scores); DeLong ER et al., Biometrics 1988;44:837 (from the data); Metz CE, Semin Nucl Med 1978;8:283 (the
binormal model, from which scores are simulated).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from scripts.errors import InputError
from scripts.stats.roc import Interval, check_scores, normal_quantile, placements

Variance = Callable[[int, int], float]  # of an AUC, by the numbers of controlled and uncontrolled children
_MOST = 100_000  # children


@dataclass(frozen=True)
class Power:
    """How often the paired DeLong test finds a difference between two AUCs.

    Attributes:
        areas: the AUCs of the two models.
        controlled, uncontrolled: test children.
        correlation: of the two models' scores within a class.
        power: share of simulated test sets with p < alpha.
        false_alarms: the same where both models have the first AUC.
    """

    areas: tuple[float, float]
    controlled: int
    uncontrolled: int
    correlation: float
    alpha: float
    draws: int
    power: float
    false_alarms: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"areas": list(self.areas)}


def hanley_mcneil(area: float) -> Variance:
    """Variance of an AUC by Hanley and McNeil: (A (1 - A) + (m - 1) (Q1 - A²) + (n - 1) (Q2 - A²)) / (m n).

    Q1 = A / (2 - A), Q2 = 2 A² / (1 + A), m controlled and n uncontrolled children.
    """
    _check_area(area)
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)

    def variance(m: int, n: int) -> float:
        return (area * (1 - area) + (m - 1) * (q1 - area**2) + (n - 1) * (q2 - area**2)) / (m * n)

    return variance


def delong_components(labels: ArrayLike, scores: ArrayLike) -> Variance:
    """DeLong's variance S10 / m + S01 / n with S10 and S01 of these children, for other numbers m and n of children like them.

    Args:
        labels: (N,) of 0 and 1.
        scores: (N,).

    Raises:
        InputError: as of `roc.check_scores`; a class has one child.
    """
    y, s = check_scores(labels, scores)
    above, below = placements(y, s)
    m, n = above.size, below.size
    if min(m, n) < 2:
        raise InputError(
            f"{m} controlled, {n} uncontrolled children",
            expected="2 or more of each class",
            remedy="Give predictions of more children.",
        )
    s10, s01 = float((above / (2 * n)).var(ddof=1)), float((below / (2 * m)).var(ddof=1))
    return lambda controlled, uncontrolled: s10 / controlled + s01 / uncontrolled


def interval_of(area: float, variance: float, *, level: float = 0.95) -> Interval:
    """Interval of an AUC on the logit scale, as `roc.auc_interval` makes it from DeLong's variance."""
    _check_area(area)
    centre, half = math.log(area / (1 - area)), normal_quantile(level) * math.sqrt(variance) / (area * (1 - area))
    low, high = 1 / (1 + np.exp(-np.array([centre - half, centre + half])))
    return float(low), float(high)


def split_of(n: int, share: float) -> tuple[int, int]:
    """Controlled and uncontrolled children among n, rounded, one of each at least."""
    controlled = min(max(round(n * share), 1), n - 1)
    return controlled, n - controlled


def children_needed(
    area: float, variance: Variance, *, half_width: float = 0.05, share: float, level: float = 0.95
) -> int | None:
    """The fewest test children whose AUC has an interval no wider than twice `half_width`; None where 100,000 do not do.

    Args:
        area: the AUC that is expected.
        variance: of `hanley_mcneil` or `delong_components`.
        half_width: half the distance between the interval's ends.
        share: of controlled children.
        level: of the interval.
    """

    def wide(n: int) -> bool:
        low, high = interval_of(area, variance(*split_of(n, share)), level=level)
        return high - low > 2 * half_width

    if wide(_MOST):
        return None
    low, high = 2, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if wide(middle) else (low, middle)
    # Rounding of the class sizes makes the width fall with small steps back: the first that fits is near.
    near = range(max(2, high - 5), high + 1)
    return next(n for n in near if not wide(n))


def paired_power(
    areas: tuple[float, float],
    sizes: tuple[int, int],
    *,
    correlation: float = 0.5,
    alpha: float = 0.05,
    draws: int = 2000,
    seed: int = 0,
) -> Power:
    """Power of the paired DeLong test, by simulation from the binormal model.

    Controlled children have scores N(√2 Φ⁻¹(AUC), 1), uncontrolled ones N(0, 1); within a class the two models' scores
    have the correlation. A test set whose difference has no variance finds nothing.

    Args:
        areas: AUCs of the two models.
        sizes: controlled and uncontrolled test children, 2 or more each.
        correlation: between -1 and 1.
        alpha: of the two-sided test.
        draws: simulated test sets.
        seed: of the simulation.

    Raises:
        InputError: an area, a size, a correlation or a number of draws that can't be.
    """
    for area in areas:
        _check_area(area)
    if min(sizes) < 2 or not -1 < correlation < 1 or draws < 1:
        raise InputError(
            f"{sizes} children, correlation {correlation}, {draws} draws",
            expected="2 or more of each class, a correlation between -1 and 1, 1 draw or more",
            remedy="Give other numbers.",
        )
    found = []
    for pair in (areas, (areas[0], areas[0])):
        # The same draws: without a difference only the shift is another.
        p = _paired_p(_binormal(pair, sizes, correlation, draws, np.random.default_rng([seed, 4])), sizes[0])
        found.append(float((p < alpha).mean()))
    return Power(areas, *sizes, correlation, alpha, draws, *found)


def children_for_power(
    areas: tuple[float, float],
    *,
    share: float,
    correlation: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """The fewest test children with which the paired DeLong test finds the difference with this power; None over 100,000.

    By the normal approximation with the binormal model's exact variance of the difference (Gauss-Hermite quadrature):
    |A1 - A2| = (z(1 - alpha / 2) + z(power)) · √(S / m + S / n).
    """
    z = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    spread = _component(areas, correlation)
    difference = abs(areas[0] - areas[1])
    for n in range(4, _MOST):
        controlled, uncontrolled = split_of(n, share)
        if difference >= z * math.sqrt(spread / controlled + spread / uncontrolled):
            return n
    return None


def within_class_correlation(labels: ArrayLike, a: ArrayLike, b: ArrayLike) -> float | None:
    """Correlation of two models' scores within the classes, by ranks: 2 sin(π r / 6) of Spearman's r in each class.

    Labels and both scores are (N,). The mean over the classes, weighted by children - 1: what a bivariate normal with these ranks
    has. None where a class has fewer than 3 children or equal scores.
    """
    y, first = check_scores(labels, a)
    _, second = check_scores(labels, b)
    total, weight = 0.0, 0
    for label in (0, 1):
        x, z = first[y == label], second[y == label]
        if x.size < 3 or np.ptp(x) == 0 or np.ptp(z) == 0:
            return None
        rho = float(np.corrcoef(stats.rankdata(x), stats.rankdata(z))[0, 1])
        total, weight = total + (x.size - 1) * 2 * math.sin(math.pi * rho / 6), weight + x.size - 1
    return total / weight


def _binormal(
    areas: tuple[float, float], sizes: tuple[int, int], correlation: float, draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Scores (2, draws, m + n), the controlled first."""
    own, other = rng.standard_normal((2, draws, sum(sizes)))
    scores = np.stack([own, correlation * own + math.sqrt(1 - correlation**2) * other])
    scores[:, :, : sizes[0]] += math.sqrt(2) * stats.norm.ppf(areas)[:, None, None]
    return scores


def _paired_p(scores: NDArray[np.float64], m: int) -> NDArray[np.float64]:
    """p of the paired DeLong test of each set: (2, draws, N) -> (draws,)."""
    n = scores.shape[-1] - m
    above, below = placements(np.r_[np.ones(m, dtype=np.int64), np.zeros(n, dtype=np.int64)], scores)
    v10, v01 = (above[0] - above[1]) / (2 * n), (below[0] - below[1]) / (2 * m)
    variance = v10.var(axis=1, ddof=1) / m + v01.var(axis=1, ddof=1) / n
    z = np.divide(v10.mean(axis=1), np.sqrt(variance), out=np.zeros(len(variance)), where=variance > 0)
    p: NDArray[np.float64] = 2 * stats.norm.sf(np.abs(z))
    return p


def _component(areas: tuple[float, float], correlation: float) -> float:
    """Variance over children of Φ(x1) - Φ(x2), x bivariate normal about √2 Φ⁻¹(AUC): S10, and by symmetry S01 too."""
    node, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()
    first = node[:, None]
    second = correlation * first + math.sqrt(1 - correlation**2) * node[None, :]
    shift = math.sqrt(2) * stats.norm.ppf(areas)
    difference = stats.norm.cdf(shift[0] + first) - stats.norm.cdf(shift[1] + second)
    joint = weight[:, None] * weight[None, :]
    mean = float((joint * difference).sum())
    return float((joint * (difference - mean) ** 2).sum())


def _check_area(area: float) -> None:
    if not 0 < area < 1:
        raise InputError(
            f"the AUC is {area}",
            expected="a number between 0 and 1",
            remedy="With an AUC of 0 or 1 there is no variance.",
        )
