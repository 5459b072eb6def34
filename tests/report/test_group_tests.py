"""Tests of two groups: against SciPy, the definitions, and all permutations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from scripts.errors import InputError
from scripts.report.group_tests import (
    CHI_SQUARE,
    FISHER,
    MANN_WHITNEY,
    NOT_TESTED,
    SAMPLED_FISHER,
    GroupTest,
    chi_square,
    cohens_h,
    compare_counts,
    compare_values,
    fisher,
    linear_model_p,
    superiority,
)


def fisher_by_permutation(counts: list[list[int]]) -> float:
    """Every way to choose the first group's children: the share whose table is no more probable than the observed."""
    totals, n = [sum(pair) for pair in zip(*counts, strict=True)], sum(counts[0])
    children = [level for level, total in enumerate(totals) for _ in range(total)]

    def weight(first: tuple[int, ...]) -> int:
        return math.prod(math.comb(total, first.count(level)) for level, total in enumerate(totals))

    observed = math.prod(math.comb(total, k) for total, k in zip(totals, counts[0], strict=True))
    ways = list(itertools.combinations(range(len(children)), n))
    extreme = sum(weight(tuple(children[i] for i in way)) <= observed for way in ways)
    return extreme / len(ways)


def test_mann_whitney_is_scipys_and_leaves_out_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 9, 30).astype(float), rng.integers(2, 11, 40).astype(float)
        expected = stats.mannwhitneyu(a, b, method="asymptotic", use_continuity=True).pvalue
        found = compare_values(np.r_[a, np.nan], np.r_[np.nan, b])
        assert found.name == MANN_WHITNEY and found.p == pytest.approx(expected, rel=1e-12)


def test_mann_whitney_of_few_values_is_exact() -> None:
    a, b = [1.0, 2.0, 3.5], [4.0, 5.0, 6.0, 7.0]
    # The most extreme of 35 orders, either way round.
    assert compare_values(a, b).p == pytest.approx(2 / math.comb(7, 3), rel=1e-12)


def test_superiority_counts_pairs() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 5, 9), rng.integers(0, 5, 7)
    pairs = [(x > y) + (x == y) / 2 for x in a for y in b]
    assert superiority(a, b) == pytest.approx(np.mean(pairs), abs=1e-15)


def test_chi_square_has_no_continuity_correction_and_fisher_is_asked_for_by_cochrans_rule() -> None:
    rng = np.random.default_rng(2)
    names = set()
    for _ in range(200):
        counts = rng.integers(0, 14, size=(2, rng.integers(2, 5)))
        used = counts[:, counts.sum(axis=0) > 0]
        if used.shape[1] < 2 or (used.sum(axis=1) == 0).any():
            continue
        expected = used.sum(axis=1, keepdims=True) * used.sum(axis=0) / used.sum()
        found = compare_counts(counts)
        names.add(found.name)
        if (expected < 1).any() or (expected < 5).sum() * 5 > expected.size:
            assert found.name == FISHER
        else:
            statistic = ((used - expected) ** 2 / expected).sum()
            assert found.name == CHI_SQUARE
            assert found.p == pytest.approx(stats.chi2.sf(statistic, used.shape[1] - 1), rel=1e-9)
    assert names == {CHI_SQUARE, FISHER}


def test_fisher_of_two_levels_is_scipys() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        counts = rng.integers(0, 12, size=(2, 2)) + np.eye(2, dtype=int)
        assert fisher(counts).p == pytest.approx(stats.fisher_exact(counts).pvalue, rel=1e-9)


@pytest.mark.parametrize(
    "counts", [[[3, 1, 2], [0, 4, 2]], [[2, 2, 0, 1], [1, 0, 4, 2]], [[0, 5, 1], [6, 1, 1]], [[1, 1, 1], [1, 1, 1]]]
)
def test_fisher_of_more_levels_counts_all_permutations(counts: list[list[int]]) -> None:
    assert fisher(counts).p == pytest.approx(fisher_by_permutation(counts), rel=1e-9)
    assert fisher(counts[::-1]).p == pytest.approx(fisher(counts).p, rel=1e-9)
    assert fisher(np.array(counts)[:, ::-1]).p == pytest.approx(fisher(counts).p, rel=1e-9)


def test_fisher_of_the_papers_genes_is_what_sampling_says() -> None:
    counts = [[5, 10, 24], [3, 7, 46]]
    method = stats.MonteCarloMethod(n_resamples=50_000, rng=np.random.default_rng(1))
    sampled = stats.fisher_exact(counts, method=method).pvalue
    found = fisher(counts)
    assert found.name == FISHER and found.p is not None
    # Four standard errors of the sampled share.
    assert found.p == pytest.approx(sampled, abs=4 * math.sqrt(sampled * (1 - sampled) / 50_000))


def test_fisher_of_too_many_tables_is_sampled_and_says_so() -> None:
    counts = np.array([[60, 55, 70, 50, 65], [58, 60, 62, 57, 61]])
    found = fisher(counts)
    assert found.name == SAMPLED_FISHER and found.p is not None
    assert found.p == pytest.approx(chi_square(counts).p, abs=0.02)  # large counts: both are near the same
    assert fisher(counts[:, ::-1]) == found


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        (compare_counts([[3, 4], [0, 0]]), "a group has no value"),
        (compare_counts([[3, 0], [5, 0]]), "all values are equal"),
        (compare_values([], [1.0]), "a group has no value"),
        (compare_values([np.nan], [1.0, 2.0]), "a group has no value"),
        (compare_values([2.0, 2.0], [2.0]), "all values are equal"),
    ],
)
def test_what_cannot_be_tested_has_no_p_and_a_reason(test: GroupTest, reason: str) -> None:
    assert (test.name, test.p, test.reason) == (NOT_TESTED, None, reason)


@pytest.mark.parametrize("counts", [[[1, 2]], [[1, -2], [3, 4]], [[1.5, 2], [3, 4]], [[], []]])
def test_what_are_no_counts_is_refused(counts: list[list[float]]) -> None:
    with pytest.raises(InputError, match="counts are"):
        compare_counts(counts)


def test_cohens_h_is_the_difference_of_arcsines() -> None:
    assert cohens_h(4 / 39, 30 / 56) == pytest.approx(
        2 * math.asin(math.sqrt(4 / 39)) - 2 * math.asin(math.sqrt(30 / 56)), rel=1e-12
    )
    assert cohens_h(0, 1) == pytest.approx(-math.pi)


def test_linear_model_of_two_levels_is_students_t() -> None:
    a, b = np.repeat([1, 0], [24, 15]), np.repeat([1, 0], [30, 26])
    assert linear_model_p([[24, 15], [30, 26]]) == pytest.approx(stats.ttest_ind(a, b).pvalue, rel=1e-9)
