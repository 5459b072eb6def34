"""The bands of a ROC curve: against the definition threshold by threshold, in degenerate cases, and their coverage."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from scipy.stats import binomtest, kstwo, norm

from scripts.errors import InputError
from scripts.stats.roc import roc_curve
from scripts.stats.roc_band import roc_band


def cohort(m: int, n: int, *, shift: float = 1.0, seed: int = 0, decimals: int = 1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.r_[np.ones(m, int), np.zeros(n, int)])
    return labels, (shift * labels + generator.normal(size=m + n)).round(decimals)


@pytest.mark.parametrize("decimals", [1, 9])
def test_pointwise_bounds_join_those_of_both_rates_threshold_by_threshold(decimals: int) -> None:
    labels, scores = cohort(8, 11, decimals=decimals)
    band = roc_band(labels, scores, points=21)
    positive, negative = scores[labels == 1], scores[labels == 0]

    def bounds(successes: int, size: int) -> tuple[float, float]:
        found = binomtest(successes, size).proportion_ci(method="wilson")
        return found.low, found.high

    thresholds = [math.inf, *np.unique(scores)]
    false = [int((negative >= t).sum()) for t in thresholds]
    true = [int((positive >= t).sum()) for t in thresholds]
    for f, low, high in list(zip(band.false_positive_rate, band.low, band.high, strict=True))[:-1]:
        here = max(k for k, j in zip(true, false, strict=True) if j / 11 <= f)
        left = max((k / 8 for k, j in zip(true, false, strict=True) if bounds(j, 11)[1] <= f), default=0)
        right = min((k / 8 for k, j in zip(true, false, strict=True) if bounds(j, 11)[0] > f), default=1)
        below, above = bounds(here, 8)
        expected = here / 8 - math.hypot(here / 8 - below, here / 8 - left)
        assert low == pytest.approx(max(0, expected), abs=1e-9)
        assert high == pytest.approx(min(1, here / 8 + math.hypot(above - here / 8, right - here / 8)), abs=1e-9)


def test_simultaneous_bounds_are_the_curve_moved_along_both_axes() -> None:
    labels, scores = cohort(39, 56)
    band, curve = roc_band(labels, scores, simultaneous=True, points=11), roc_curve(labels, scores)
    along, up = kstwo.ppf(math.sqrt(0.95), 56), kstwo.ppf(math.sqrt(0.95), 39)
    points = list(zip(curve.false_positive_rate, curve.true_positive_rate, strict=True))
    for f, low, high in list(zip(band.false_positive_rate, band.low, band.high, strict=True))[:-1]:
        assert low == pytest.approx(max(0, *(true - up for false, true in points if false + along <= f), -1))
        assert high == pytest.approx(min(1, *(true + up for false, true in points if false - along > f), 2))


@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_band_holds_the_curve_and_does_not_depend_on_the_order(simultaneous: bool) -> None:
    for seed in range(10):
        labels, scores = cohort(12, 9, seed=seed)
        band, curve = roc_band(labels, scores, simultaneous=simultaneous), roc_curve(labels, scores)
        low, high = np.array(band.low), np.array(band.high)
        assert (low <= high).all() and low[0] < 1 and low[-1] == high[-1] == 1
        if simultaneous:
            assert (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()
        at = np.searchsorted(curve.false_positive_rate, np.array(band.false_positive_rate) + 1e-12, side="right") - 1
        empirical = np.array(curve.true_positive_rate)[at]
        assert (low <= empirical).all() and (empirical <= high).all()
        assert roc_band(labels[::-1], scores[::-1], simultaneous=simultaneous) == band


@pytest.mark.parametrize("simultaneous", [False, True])
def test_separation_and_equal_scores_have_a_band_of_width(simultaneous: bool) -> None:
    labels = np.array([1] * 8 + [0] * 11)
    for scores in (labels, 1 - labels, np.zeros(19)):
        band = roc_band(labels, scores, simultaneous=simultaneous)
        assert np.subtract(band.high, band.low)[:100].min() > 0.1


def test_simultaneous_is_wider_than_pointwise_where_the_curve_is_away_from_the_corners() -> None:
    labels, scores = cohort(39, 56)
    widths = [
        np.subtract(band.high, band.low)[20:100].mean()
        for band in (roc_band(labels, scores), roc_band(labels, scores, simultaneous=True))
    ]
    assert widths[0] < widths[1]


@pytest.mark.parametrize("simultaneous", [False, True])
def test_a_band_covers_the_true_curve(simultaneous: bool) -> None:
    # Binormal: T(f) = Phi(1 + Phi^-1(f)). 200 cohorts give 0.95 a standard error of 0.015.
    grid = np.linspace(0, 1, 41)
    truth = norm.cdf(1 + norm.ppf(grid))
    inside = []
    for seed in range(200):
        band = roc_band(*cohort(20, 30, seed=seed, decimals=9), simultaneous=simultaneous, points=41)
        inside.append((np.array(band.low) <= truth + 1e-12) & (truth <= np.array(band.high) + 1e-12))
    if simultaneous:
        assert np.mean(np.all(inside, axis=1)) >= 0.95
    else:
        assert np.mean(inside, axis=0).min() >= 0.9 and np.mean(inside) >= 0.95


def test_a_band_is_valid_json_and_refuses_what_is_none() -> None:
    assert len(json.loads(json.dumps(roc_band([1, 0], [0.6, 0.4], points=5).to_dict(), allow_nan=False))["low"]) == 5
    with pytest.raises(InputError, match="all 2 labels are 1"):
        roc_band([1, 1], [0.6, 0.4])
    with pytest.raises(InputError, match="points is 1"):
        roc_band([1, 0], [0.6, 0.4], points=1)
    with pytest.raises(InputError, match="level is 95"):
        roc_band([1, 0], [0.6, 0.4], level=95)
