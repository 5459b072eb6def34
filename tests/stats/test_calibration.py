"""Calibration against statsmodels' GLM and its likelihood; separation, equal scores, scores of 0 and 1; the binned curve."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.metrics import brier_score_loss

from scripts.errors import InputError
from scripts.stats.calibration import calibration, calibration_curve
from scripts.stats.decisions import wilson

Cohort = tuple[NDArray[np.int64], NDArray[np.float64]]


def cohort(n: int, *, slope: float = 1.0, intercept: float = 0.0, seed: int = 0, decimals: int = 6) -> Cohort:
    """Scores whose recalibration has this intercept and slope."""
    generator = np.random.default_rng(seed)
    scores = expit(generator.normal(size=n) * 1.3).round(decimals).clip(0.01, 0.99)
    return (generator.random(n) < expit(intercept + slope * logit(scores))).astype(int), scores


COHORTS = [
    cohort(19, seed=3),
    cohort(95),
    cohort(95, decimals=1),
    cohort(300, slope=0.4, intercept=-1),
    cohort(60, slope=-0.7, seed=2),
    cohort(1000, slope=3, seed=1),
]


def likelihood_with(labels: NDArray[np.int64], offset: NDArray[np.float64], *, free: bool) -> float:
    """The highest log-likelihood with this offset, with an intercept to choose or without any."""
    if not free:
        return float(np.log(expit(np.where(labels == 1, offset, -offset))).sum())
    model = sm.GLM(labels, np.ones((labels.size, 1)), family=sm.families.Binomial(), offset=offset)
    return float(model.fit(tol=1e-12).llf)


@pytest.mark.parametrize(("labels", "scores"), COHORTS)
def test_estimates_are_those_of_statsmodels(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    found, x = calibration(labels, scores), logit(scores)
    binomial = sm.families.Binomial()
    both = sm.GLM(labels, sm.add_constant(x), family=binomial).fit(tol=1e-13)
    large = sm.GLM(labels, np.ones((labels.size, 1)), family=binomial, offset=x).fit(tol=1e-13)
    assert (found.slope_intercept, found.slope) == pytest.approx((*both.params,), abs=1e-7)
    assert found.intercept == pytest.approx(large.params[0], abs=1e-7)


@pytest.mark.parametrize(("labels", "scores"), COHORTS)
def test_ends_of_the_intervals_lose_what_the_level_says(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> None:
    found, x = calibration(labels, scores), logit(scores)
    half = 1.959963984540054**2 / 2
    best = likelihood_with(labels, found.intercept + x, free=False)
    for end in found.intercept_interval:
        assert best - likelihood_with(labels, end + x, free=False) == pytest.approx(half, abs=1e-7)
    assert found.slope is not None and found.slope_interval is not None
    best = likelihood_with(labels, found.slope * x, free=True)
    for end in found.slope_interval:
        assert best - likelihood_with(labels, end * x, free=True) == pytest.approx(half, abs=1e-7)
    assert found.slope_interval[0] < found.slope < found.slope_interval[1]
    assert found.intercept_interval[0] < found.intercept < found.intercept_interval[1]


def test_many_cases_give_back_what_they_were_made_with() -> None:
    found = calibration(*cohort(20_000, slope=0.5, intercept=0.7))
    assert found.slope == pytest.approx(0.5, abs=0.06)  # standard errors 0.014 and 0.017
    assert found.slope_intercept == pytest.approx(0.7, abs=0.07)
    perfect = calibration(*cohort(20_000))
    assert (perfect.intercept, perfect.slope) == pytest.approx((0, 1), abs=0.08)
    assert abs(perfect.spiegelhalter_z or 9) < 4 < abs(found.spiegelhalter_z or 0)


def test_intervals_cover_the_truth_with_few_cases() -> None:
    inside = []
    for seed in range(300):
        labels, scores = cohort(60, seed=seed)
        found = calibration(labels, scores)
        low, high = found.slope_interval or (math.nan, math.nan)
        inside.append((found.intercept_interval[0] < 0 < found.intercept_interval[1], low < 1 < high))
    # The standard error of 0.95 is 0.013.
    assert np.mean(inside, axis=0) == pytest.approx([0.95, 0.95], abs=0.04)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        ([1, 1, 0, 0], [0.9, 0.8, 0.3, 0.1]),
        ([1, 1, 0, 0], [0.1, 0.2, 0.7, 0.8]),
        ([1, 1, 0, 0], [0.9, 0.5, 0.5, 0.1]),  # quasi-complete: they meet in one score
        ([1, 0], [0.6, 0.4]),
    ],
)
def test_separation_has_no_slope_but_an_intercept(labels: list[int], scores: list[float]) -> None:
    found = calibration(labels, scores)
    assert (found.slope, found.slope_interval, found.slope_intercept) == (None, None, None)
    assert found.reason is not None and "separate the outcomes" in found.reason
    assert expit(found.intercept + logit(np.array(scores))).sum() == pytest.approx(sum(labels))
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["slope_interval"] is None


def test_equal_scores_have_no_slope_and_the_prevalence_as_intercept() -> None:
    found = calibration([1, 0, 0, 0], [0.5] * 4)
    assert found.intercept == pytest.approx(math.log(1 / 3))
    assert (found.slope, found.spiegelhalter_z, found.spiegelhalter_p) == (None, None, None)
    assert found.reason == "all scores are equal: any slope fits"


def test_scores_of_0_and_1_are_moved_and_counted() -> None:
    labels, scores = cohort(50)
    scores[:2] = (0.0, 1.0)
    found = calibration(labels, scores)
    assert found.clipped == 2
    moved = calibration(labels, scores.clip(5e-7, 1 - 5e-7))
    assert (moved.clipped, moved.slope, moved.intercept) == (0, found.slope, found.intercept)
    # A certain error: no scores could be worse calibrated, and the p says so.
    assert (calibration([1, 1, 0], [0.6, 0.0, 0.4]).spiegelhalter_p or 1) < 1e-8


def test_brier_is_scikit_learns_and_scaled_by_the_prevalence() -> None:
    labels, scores = cohort(95)
    found = calibration(labels, scores)
    assert found.brier == pytest.approx(brier_score_loss(labels, scores))
    p = labels.mean()
    assert found.scaled_brier == pytest.approx(1 - found.brier / brier_score_loss(labels, np.full(95, p)))
    assert found.mean_score == pytest.approx(scores.mean())
    assert calibration(labels, labels).scaled_brier == 1


def test_spiegelhalter_by_hand() -> None:
    # (1 - 0.8)(-0.6) + (1 - 0.3)(0.4) + (0 - 0.3)(0.4) over the root of 0.36 x 0.16 + 2 x 0.16 x 0.21
    found = calibration([1, 1, 0], [0.8, 0.3, 0.3])
    assert found.spiegelhalter_z == pytest.approx(0.04 / math.sqrt(0.0576 + 0.0672))


def test_calibration_does_not_depend_on_the_order_of_the_cases() -> None:
    labels, scores = cohort(95, decimals=2)
    order = np.random.default_rng(0).permutation(95)
    assert calibration(labels[order], scores[order]) == calibration(labels, scores)
    assert calibration_curve(labels[order], scores[order]) == calibration_curve(labels, scores)


def test_the_curve_is_binned_by_number_and_never_parts_a_score() -> None:
    labels, scores = cohort(100)
    curve = calibration_curve(labels, scores)
    assert [part.n for part in curve] == [10] * 10
    by_score = labels[np.argsort(scores)].reshape(10, 10)
    assert [part.positives for part in curve] == by_score.sum(axis=1).tolist()
    assert [part.mean_score for part in curve] == pytest.approx(np.sort(scores).reshape(10, 10).mean(axis=1).tolist())
    assert curve[3].interval == wilson(curve[3].positives, 10) and curve[3].observed == curve[3].positives / 10
    tied = calibration_curve([1, 0, 1, 0, 1, 1], [0.2, 0.2, 0.2, 0.2, 0.7, 0.8], bins=3)
    assert [(part.n, part.lowest, part.highest) for part in tied] == [(4, 0.2, 0.2), (2, 0.7, 0.8)]
    assert [part.n for part in calibration_curve([1, 0], [0.5, 0.5])] == [2]
    assert json.loads(json.dumps(tied[0].to_dict()))["interval"] == list(wilson(2, 4))


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 0], [1.2, 0.4], r"1\.2 at index"),
        ([1, 1], [0.6, 0.4], "all 2 labels are 1"),
        ([1, 0], [0.6, math.nan], "scores hold nan"),
    ],
)
def test_what_is_no_probability_is_refused(labels: list[int], scores: list[float], message: str) -> None:
    for function in (calibration, calibration_curve):
        with pytest.raises(InputError, match=message):
            function(labels, scores)
    with pytest.raises(InputError, match="bins is 0"):
        calibration_curve([1, 0], [0.6, 0.4], bins=0)
