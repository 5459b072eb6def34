"""Tests between independent groups: by hand, against other formulas, and how often they reject where nothing differs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.special import logit

from scripts.report.interaction import (
    auc_interaction,
    calibration_slope,
    no_slope,
    rate_interaction,
    slope_interaction,
)
from scripts.stats.roc import auc, delong_variance

Cohort = tuple[NDArray[np.int64], NDArray[np.float64], dict[str, NDArray[np.bool_]]]


def cohort(sizes: list[tuple[int, int]], *, seed: int = 0, shift: float = 1.2, decimals: int = 6) -> Cohort:
    """Labels, scores and groups "0", "1", ... of (controlled, uncontrolled) children."""
    generator = np.random.default_rng(seed)
    labels = np.concatenate([np.r_[np.ones(m, int), np.zeros(n, int)] for m, n in sizes])
    of = np.repeat(np.arange(len(sizes)), [m + n for m, n in sizes])
    scores = 1 / (1 + np.exp(-generator.normal(shift * labels - shift / 2)))
    return labels, scores.round(decimals), {str(number): of == number for number in range(len(sizes))}


def test_two_aucs_give_the_z_of_their_logits() -> None:
    y, s, groups = cohort([(12, 15), (9, 20)])
    areas = [auc(y[mask], s[mask]) for mask in groups.values()]
    variances = [
        delong_variance(y[mask], s[mask]) / (a * (1 - a)) ** 2 for mask, a in zip(groups.values(), areas, strict=True)
    ]
    z = (math.log(areas[0] / (1 - areas[0])) - math.log(areas[1] / (1 - areas[1]))) / math.sqrt(sum(variances))
    found = auc_interaction(y, s, groups)
    assert found.statistic == pytest.approx(z, abs=1e-12) and found.df is None
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)), abs=1e-12)


def test_three_aucs_give_walds_chi_square_of_the_contrasts() -> None:
    y, s, groups = cohort([(12, 15), (9, 20), (14, 8)], seed=2)
    areas = np.array([auc(y[mask], s[mask]) for mask in groups.values()])
    values = np.log(areas / (1 - areas))
    covariance = np.diag([delong_variance(y[mask], s[mask]) for mask in groups.values()] / (areas * (1 - areas)) ** 2)
    contrast = np.array([[1, -1, 0], [0, 1, -1]])
    difference = contrast @ values
    wald = difference @ np.linalg.solve(contrast @ covariance @ contrast.T, difference)
    found = auc_interaction(y, s, groups)
    assert found.statistic == pytest.approx(wald, abs=1e-10) and found.df == 2
    assert found.p == pytest.approx(stats.chi2.sf(wald, 2), abs=1e-12)


def test_level_without_a_class_is_left_out_and_the_others_stay_right() -> None:
    y, s, groups = cohort([(12, 15), (9, 20), (0, 8), (1, 6), (5, 5), (4, 4), (0, 0)])
    s[groups["4"]] = np.where(y[groups["4"]] == 1, 0.9, 0.1)
    s[groups["5"]] = 0.5
    found = auc_interaction(y, s, groups)
    assert dict(found.left_out) == {
        "2": "no controlled child",
        "3": "one controlled child gives no variance",
        "4": "the classes are separated: no variance",
        "5": "all scores are equal",
        "6": "no child",
    }
    alone = auc_interaction(y, s, {level: groups[level] for level in ("0", "1")})
    assert found.tested == ("0", "1") and (found.statistic, found.p) == (alone.statistic, alone.p)


def test_one_level_that_can_be_tested_is_no_test() -> None:
    y, s, groups = cohort([(12, 15), (0, 8)])
    for found in (
        auc_interaction(y, s, groups),
        slope_interaction(y, s, groups),
        rate_interaction(y, (s > 0.5).astype(int), groups, of=1),
    ):
        assert found.p is None and found.statistic is None and found.tested == ("0",)
        assert found.left_out["1"] == "no controlled child"


def test_decisions_are_compared_by_fishers_exact_test() -> None:
    y, s, groups = cohort([(12, 15), (9, 20)], seed=1)
    called = (s >= 0.5).astype(int)
    for label in (0, 1):
        table = [[int((called[mask & (y == label)] == k).sum()) for mask in groups.values()] for k in (1, 0)]
        expected = stats.fisher_exact(table).pvalue
        assert rate_interaction(y, called, groups, of=label).p == pytest.approx(expected, rel=1e-9)


def test_decisions_that_are_all_alike_differ_in_no_level() -> None:
    y, _, groups = cohort([(12, 15), (9, 20)])
    assert rate_interaction(y, np.ones_like(y), groups, of=1).p == 1.0
    assert rate_interaction(y, np.zeros_like(y), groups, of=0).p == 1.0


def test_slopes_are_compared_by_the_likelihoods_of_the_levels() -> None:
    # With an intercept and a slope a level, the likelihood is the product of the levels' own.
    y, s, groups = cohort([(20, 25), (19, 21), (16, 14)], seed=3)
    found = slope_interaction(y, s, groups)

    def loss(slope: float) -> float:
        """-log likelihood with a common slope, each level's intercept the best one by bisection."""
        total = 0.0
        for mask in groups.values():
            x, labels = slope * logit(s[mask]), y[mask]
            low, high = -30.0, 30.0
            for _ in range(80):
                middle = (low + high) / 2
                low, high = (middle, high) if (1 / (1 + np.exp(-x - middle))).sum() < labels.sum() else (low, middle)
            total += float((np.log1p(np.exp(x + low)) - labels * (x + low)).sum())
        return total

    grid = np.linspace(-1, 4, 201)
    centre = grid[int(np.argmin([loss(value) for value in grid]))]
    common = min(loss(value) for value in np.linspace(centre - 0.03, centre + 0.03, 121))
    own = 0.0
    for mask in groups.values():
        slope = calibration_slope(y[mask], s[mask])
        assert not isinstance(slope, str)
        alone = {"": mask}
        own += _loss_of(y, s, alone, slope[0])
    # The grid's steps of 0.0005 leave less than 1e-5 of the likelihood.
    assert found.statistic == pytest.approx(2 * (common - own), abs=1e-4) and found.df == 2


def _loss_of(y: NDArray[np.int64], s: NDArray[np.float64], groups: dict[str, NDArray[np.bool_]], slope: float) -> float:
    mask = groups[""]
    x, labels = slope * logit(s[mask]), y[mask]
    low, high = -30.0, 30.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-x - middle))).sum() < labels.sum() else (low, middle)
    return float((np.log1p(np.exp(x + low)) - labels * (x + low)).sum())


def test_slope_of_scores_that_are_right_is_one_and_of_extreme_scores_less() -> None:
    generator = np.random.default_rng(0)
    s = generator.uniform(0.05, 0.95, 20_000)
    y = (generator.random(20_000) < s).astype(int)
    right = calibration_slope(y, s)
    extreme = calibration_slope(y, 1 / (1 + np.exp(-2 * logit(s))))
    assert not isinstance(right, str) and not isinstance(extreme, str)
    assert right[0] == pytest.approx(1, abs=0.06) and right[1][0] < 1 < right[1][1]  # standard error 0.02
    assert extreme[0] == pytest.approx(right[0] / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([1] * 6, [0.5] * 6, "no uncontrolled child"),
        ([], [], "no child"),
        ([1] * 4 + [0] * 9, [0.5] * 13, "4 in a class, under 5"),
        ([1] * 5 + [0] * 5, [0.5] * 10, "all scores are equal"),
        ([1] * 5 + [0] * 5, [0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1], "the classes are separated"),
        ([1] * 5 + [0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0], "the classes are separated"),
    ],
)
def test_there_is_no_slope_where_the_regression_has_none(labels: list[int], scores: list[float], reason: str) -> None:
    y, s = np.array(labels, dtype=np.int64), np.array(scores)
    assert no_slope(y, s) == reason and calibration_slope(y, s) == reason


def test_scores_of_0_and_1_have_a_slope() -> None:
    y, s, _ = cohort([(20, 20)])
    s[[0, 20]] = 1.0, 0.0
    found = calibration_slope(y, s)
    assert not isinstance(found, str) and math.isfinite(found[0])


def test_results_do_not_depend_on_the_order_of_the_children() -> None:
    y, s, groups = cohort([(12, 15), (9, 20), (14, 8)], decimals=1)
    order = np.random.default_rng(1).permutation(y.size)
    turned = {level: mask[order] for level, mask in groups.items()}
    called = (s >= 0.5).astype(int)
    assert auc_interaction(y, s, groups) == auc_interaction(y[order], s[order], turned)
    assert slope_interaction(y, s, groups) == slope_interaction(y[order], s[order], turned)
    assert rate_interaction(y, called, groups, of=0) == rate_interaction(y[order], called[order], turned, of=0)


@pytest.mark.parametrize("sizes", [[(15, 25), (20, 20)], [(10, 15), (15, 20), (14, 21)]])
def test_tests_reject_about_as_often_as_they_say_where_nothing_differs(sizes: list[tuple[int, int]]) -> None:
    found = {"auc": 0, "sensitivity": 0, "slope": 0}
    for seed in range(150):
        y, s, groups = cohort(sizes, seed=seed)
        p = {
            "auc": auc_interaction(y, s, groups).p,
            "sensitivity": rate_interaction(y, (s >= 0.5).astype(int), groups, of=1).p,
            "slope": slope_interaction(y, s, groups).p,
        }
        for name, value in p.items():
            found[name] += value is not None and value < 0.05
    # 5 % of 150 are 7.5 with a standard deviation of 2.7. Fisher's test is conservative in groups of this size.
    assert 1 <= found["auc"] <= 18 and 1 <= found["slope"] <= 20 and found["sensitivity"] <= 15


def test_tests_find_a_difference_that_is_there() -> None:
    y, s, groups = cohort([(60, 80), (60, 80)], shift=0)
    s = np.where(groups["1"] & (y == 1), np.clip(s + 0.3, 0, 1), s)
    for found in (auc_interaction(y, s, groups), slope_interaction(y, s, groups)):
        assert found.p is not None and found.p < 1e-3
    called = rate_interaction(y, (s >= 0.5).astype(int), groups, of=1)
    assert called.p is not None and called.p < 1e-3
