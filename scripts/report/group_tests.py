"""Two groups compared in one variable: which test is asked for, its p, and the size of the difference.

Sources: Mann HB, Whitney DR, Ann Math Stat 1947;18:50; Pearson K, Philos Mag 1900;50:157; Cochran WG, Biometrics
1954;10:417 (when the chi-square approximation holds); Freeman GH, Halton JH, Biometrika 1951;38:141 (Fisher's exact test of
more than two levels); Cohen J, Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 6 (h).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import gammaln
from statsmodels.stats.proportion import proportion_effectsize

from scripts.errors import InputError

MANN_WHITNEY = "Mann-Whitney U"
CHI_SQUARE = "Pearson chi-square"
FISHER = "Fisher exact"
SAMPLED_FISHER = "Fisher exact (100,000 sampled tables)"
NOT_TESTED = "not tested"
_MOST = 2_000_000  # tables that are counted one by one
_SAMPLES = 100_000


@dataclass(frozen=True)
class GroupTest:
    """The test that was used and its two-sided p; None where none can be made."""

    name: str
    p: float | None
    reason: str = ""  # why none can be made


def compare_values(first: ArrayLike, second: ArrayLike) -> GroupTest:
    """Mann-Whitney U of two groups' values: exact for up to 8 in a group and no ties, else normal, with corrections for
    ties and continuity.

    Checked against the definition of U over all pairs and its permutations.

    Args:
        first, second: (n,) and (m,) values; NaN is a value that is not known and left out.
    """
    a, b = _known(first), _known(second)
    if not a.size or not b.size:
        return GroupTest(NOT_TESTED, None, "a group has no value")
    if np.ptp(np.r_[a, b]) == 0:
        return GroupTest(NOT_TESTED, None, "all values are equal")
    return GroupTest(MANN_WHITNEY, float(stats.mannwhitneyu(a, b, method="auto").pvalue))


def superiority(first: ArrayLike, second: ArrayLike) -> float | None:
    """P(value of the first group > of the second) + P(equal) / 2, which is U / (n m): 0.5 where they do not differ.

    The values are (n,) and (m,); those that are NaN are left out, and None is the answer where no others are in a group.
    """
    a, b = _known(first), _known(second)
    if not a.size or not b.size:
        return None
    return float(stats.mannwhitneyu(a, b, method="asymptotic").statistic) / (a.size * b.size)


def compare_counts(counts: ArrayLike) -> GroupTest:
    """Pearson's chi-square without continuity correction, or Fisher's exact test where the counts ask for it.

    They do by Cochran's rule: an expected count below 1, or more than a fifth of them below 5. Levels that occur in
    neither group are left out.

    Args:
        counts: (2, K) whole numbers: groups, levels.

    Raises:
        InputError: another shape, or no counts.
    """
    table = _counts(counts)
    table = table[:, table.sum(axis=0) > 0]
    if (table.sum(axis=1) == 0).any():
        return GroupTest(NOT_TESTED, None, "a group has no value")
    if table.shape[1] < 2:
        return GroupTest(NOT_TESTED, None, "all values are equal")
    expected = stats.contingency.expected_freq(table)
    if expected.min() < 1 or (expected < 5).mean() > 0.2:
        return fisher(table)
    return chi_square(table)


def chi_square(counts: ArrayLike) -> GroupTest:
    """Pearson's chi-square without continuity correction, whatever the expected counts are.

    Args:
        counts: (2, K) whole numbers, K 2 or more, every margin above 0.
    """
    return GroupTest(CHI_SQUARE, float(stats.chi2_contingency(_counts(counts), correction=False).pvalue))


def fisher(counts: ArrayLike) -> GroupTest:
    """Fisher's exact test of two groups and K levels: P(tables of the same margins no more probable than this one).

    All tables are counted; where there are more than 2 million of them, 100,000 are sampled (seeded). Checked against
    scipy.stats.fisher_exact for two levels and against all permutations for more.

    Args:
        counts: (2, K) whole numbers, K 2 or more, every margin above 0.
    """
    table = _counts(counts)
    totals = np.sort(table.sum(axis=0))
    n = int(table[0].sum())
    # The first group's counts in all levels but the largest say the whole table.
    ways = [np.arange(min(int(total), n) + 1) for total in totals[:-1]]
    if math.prod(way.size for way in ways) > _MOST:
        method = stats.MonteCarloMethod(n_resamples=_SAMPLES, rng=np.random.default_rng(0))
        ordered = table[:, np.lexsort(table)]  # the order of the levels must not matter
        return GroupTest(SAMPLED_FISHER, float(stats.fisher_exact(ordered, method=method).pvalue))
    log_weight, left = np.zeros(1), np.full(1, n)  # of the tables so far; what is left for the levels to come
    for total, way in zip(totals[:-1], ways, strict=True):
        log_weight = (log_weight[:, None] + _log_choose(total, way)).ravel()
        left = (left[:, None] - way).ravel()
        possible = left >= 0
        log_weight, left = log_weight[possible], left[possible]
    possible = left <= totals[-1]
    log_weight = log_weight[possible] + _log_choose(totals[-1], left[possible])
    observed = float(_log_choose(table.sum(axis=0), table[0]).sum())
    weight = np.exp(log_weight - log_weight.max())
    # The tolerance of R's fisher.test: what is equally probable must not be told apart by rounding.
    extreme = log_weight <= observed + 1e-7
    return GroupTest(FISHER, min(1.0, float(weight[extreme].sum() / weight.sum())))


def cohens_h(first: float, second: float) -> float:
    """Cohen's h of two proportions, 2 asin √p1 - 2 asin √p2 (statsmodels): 0.2 small, 0.5 medium, 0.8 large."""
    return float(proportion_effectsize(first, second))


def linear_model_p(counts: ArrayLike) -> float:
    """p of one-way analysis of variance of group on level; for two levels that of Student's t test.

    Counts are (2, L): the groups by the levels. No test for counts; it is here because it, and not chi-square, gives the p that
    Table 1 of Zhao et al. prints.
    """
    table = _counts(counts)
    groups = [np.repeat([1.0, 0.0], column) for column in table.T]
    return float(stats.f_oneway(*groups).pvalue)


def _log_choose(n: ArrayLike, k: ArrayLike) -> NDArray[np.float64]:
    n, k = np.asarray(n, dtype=np.float64), np.asarray(k, dtype=np.float64)
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _known(values: ArrayLike) -> NDArray[np.float64]:
    numbers = np.asarray(values, dtype=np.float64)
    return numbers[~np.isnan(numbers)]


def _counts(counts: ArrayLike) -> NDArray[np.int64]:
    table = np.asarray(counts)
    if (
        table.ndim != 2
        or table.shape[0] != 2
        or not table.shape[1]
        or (table < 0).any()
        or (table != table.round()).any()
    ):
        raise InputError(
            f"counts are {table.tolist()}",
            expected="two rows (groups) of whole numbers, one a level",
            remedy="Count the children of each group by level.",
        )
    return table.astype(np.int64)
