"""BCa: against SciPy and a slow implementation by the definition; order, seeds, and what has no interval."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import roc_auc_score

from scripts.errors import InputError
from scripts.stats.bootstrap import Statistic, auc_bca, bca, weighted_auc, weighted_auc_difference, weighted_mean
from scripts.stats.roc import auc, auc_interval


def cohort(
    m: int, n: int, *, shift: float = 1.0, seed: int = 0, decimals: int = 2
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.r_[np.ones(m, int), np.zeros(n, int)])
    return labels, (shift * labels + generator.normal(size=m + n)).round(decimals)


def mann_whitney(positive: NDArray[np.float64], negative: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """AUC of two samples along the last axis, over all pairs."""
    pairs = np.sign(positive[..., :, None] - negative[..., None, :])  # (..., m, n)
    areas: NDArray[np.float64] = (pairs.mean(axis=(-2, -1)) + 1) / 2
    return areas


def test_weighted_auc_is_that_of_the_repeated_cases() -> None:
    generator = np.random.default_rng(0)
    for decimals in (0, 1, 9):
        labels, scores = cohort(12, 17, decimals=decimals)
        weights = generator.integers(0, 4, size=(5, labels.size)).astype(float)
        expected = [roc_auc_score(labels.repeat(w), scores.repeat(w)) for w in weights.astype(int)]
        assert weighted_auc(weights, labels, scores[:, None]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("m", "n", "decimals"), [(8, 11, 9), (39, 56, 1), (5, 40, 0)])
def test_bca_is_scipys(m: int, n: int, decimals: int) -> None:
    labels, scores = cohort(m, n, decimals=decimals)
    found = auc_bca(labels, scores, resamples=20_000)
    expected = stats.bootstrap(
        (scores[labels == 1], scores[labels == 0]),
        mann_whitney,
        method="BCa",
        n_resamples=20_000,
        vectorized=True,
        batch=500,
        rng=np.random.default_rng(1),
    )
    # An end has a standard error near 0.002 from 20,000 resamples, for either.
    assert found.interval == pytest.approx((*expected.confidence_interval,), abs=0.01)
    assert found.estimate == auc(labels, scores)


def test_bca_is_that_of_a_slow_implementation_on_the_same_resamples() -> None:
    labels, scores = cohort(9, 13)
    kept: list[NDArray[np.float64]] = []

    def statistic(weights: NDArray[np.float64], y: NDArray[np.int64], values: NDArray[np.float64]) -> np.ndarray:
        kept.append(weights)
        return np.array([roc_auc_score(y, values[:, 0], sample_weight=w) for w in weights])

    found = bca(labels, scores, statistic=statistic, resamples=200)
    drawn = kept[1].astype(int)
    assert drawn.shape == (200, 22) and (drawn[:, :13].sum(1) == 13).all() and (drawn[:, 13:].sum(1) == 9).all()
    y, s = np.repeat([0, 1], [13, 9]), np.r_[np.sort(scores[labels == 0]), np.sort(scores[labels == 1])]
    resampled = np.array([roc_auc_score(y.repeat(w), s.repeat(w)) for w in drawn])
    estimate = roc_auc_score(y, s)
    z0 = stats.norm.ppf(np.mean([0.5 * (t < estimate - 1e-12) + 0.5 * (t <= estimate + 1e-12) for t in resampled]))
    numerator = denominator = 0.0
    for label, size in ((0, 13), (1, 9)):
        out = [roc_auc_score(np.delete(y, i), np.delete(s, i)) for i in np.flatnonzero(y == label)]
        influence = [(size - 1) * (np.mean(out) - value) for value in out]
        numerator += sum(u**3 for u in influence) / size**3
        denominator += sum(u**2 for u in influence) / size**2
    a = numerator / (6 * denominator**1.5)
    ends = [stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))) for z in stats.norm.ppf([0.025, 0.975])]
    assert (found.bias, found.acceleration) == pytest.approx((z0, a), abs=1e-9)
    assert found.interval == pytest.approx(tuple(np.quantile(resampled, ends)), abs=1e-9)


def test_bca_of_a_mean_within_two_classes_is_scipys() -> None:
    labels, scores = cohort(30, 40)
    squared = scores**2
    found = bca(labels, squared, statistic=weighted_mean, resamples=20_000)
    expected = stats.bootstrap(
        (squared[labels == 1], squared[labels == 0]),
        lambda x, y, axis: (x.sum(axis) + y.sum(axis)) / 70,
        method="BCa",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    assert found.interval == pytest.approx((*expected.confidence_interval,), abs=0.05 * found.estimate)


def test_bca_does_not_depend_on_the_order_of_the_cases_but_on_the_seed() -> None:
    generator = np.random.default_rng(0)
    labels, scores = cohort(39, 56)
    values = np.c_[scores, scores.round(0), generator.normal(size=95)]
    order = generator.permutation(95)
    for statistic in (weighted_auc, weighted_auc_difference, weighted_mean):
        found = bca(labels, values, statistic=statistic)
        assert bca(labels[order], values[order], statistic=statistic) == found
        assert bca(labels, values, statistic=statistic, seed=1).interval != found.interval


def test_blocks_do_not_change_what_is_drawn_into_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, scores = cohort(20, 30)
    whole = auc_bca(labels, scores, resamples=4000)
    monkeypatch.setattr("scripts.stats.bootstrap._BLOCK", 777)
    parts = auc_bca(labels, scores, resamples=4000)
    assert parts.acceleration == pytest.approx(whole.acceleration, abs=1e-12)  # the jackknife is not random
    assert parts.interval == pytest.approx(whole.interval, abs=0.02)


def test_the_difference_of_a_model_to_itself_has_no_interval() -> None:
    labels, scores = cohort(20, 30)
    found = bca(labels, np.c_[scores, scores], statistic=weighted_auc_difference)
    assert (found.estimate, found.interval, found.reason) == (0.0, None, "all resamples give the same value")


def test_the_interval_lies_in_0_to_1_holds_the_auc_and_is_near_delongs() -> None:
    for seed in range(5):
        labels, scores = cohort(39, 56, seed=seed)
        found, delong = auc_bca(labels, scores), auc_interval(labels, scores)
        assert found.interval is not None
        assert 0 <= found.interval[0] < found.estimate < found.interval[1] <= 1
        assert found.interval == pytest.approx(delong, abs=0.04)


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([1, 1, 1, 0, 0], [0.9, 0.8, 0.7, 0.2, 0.1], "all resamples give the same value"),
        ([1, 1, 1, 0, 0], [0.1, 0.2, 0.3, 0.8, 0.9], "all resamples give the same value"),
        ([1, 1, 1, 0, 0], [0.5] * 5, "all resamples give the same value"),
        ([1, 0, 0, 0], [0.5, 0.2, 0.6, 0.1], "1 controlled, 3 uncontrolled: a class of one case never varies"),
    ],
    ids=["separation", "reversed", "equal scores", "one controlled"],
)
def test_what_has_no_interval_says_why(labels: list[int], scores: list[float], reason: str) -> None:
    found = auc_bca(labels, scores)
    assert found.interval is None and found.reason == reason
    assert found.estimate == auc(labels, scores)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["interval"] is None


def test_a_statistic_that_some_resamples_do_not_define_has_no_interval() -> None:
    def ppv(weights: np.ndarray, labels: np.ndarray, decisions: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            found: np.ndarray = weights @ (labels * decisions[:, 0]) / (weights @ decisions[:, 0])
        return found

    statistic: Statistic = ppv
    found = bca([1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0], statistic=statistic)
    assert found.interval is None
    assert found.reason is not None and found.reason.endswith("of 2000 resamples do not define the statistic")


@pytest.mark.parametrize(
    ("scores", "resamples", "level", "message"),
    [
        ([0.5, math.nan, 0.2, 0.1], 2000, 0.95, "scores hold nan"),
        ([0.5, 0.4, 0.2], 2000, 0.95, r"scores \(3,\)"),
        ([0.5, 0.4, 0.2, 0.3], 99, 0.95, "resamples is 99"),
        ([0.5, 0.4, 0.2, 0.3], 2000, 95, "level is 95"),
    ],
)
def test_what_cannot_be_resampled_is_refused(scores: list[float], resamples: int, level: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        auc_bca([1, 1, 0, 0], scores, resamples=resamples, level=level)


def test_a_thousand_cases_take_less_than_a_few_seconds() -> None:
    labels, scores = cohort(410, 590, decimals=6)
    start = time.perf_counter()
    auc_bca(labels, scores)
    assert time.perf_counter() - start < 5  # 0.2 s on two slow cores


@pytest.mark.parametrize("values", [np.zeros((2, 0)), np.zeros((2, 1, 1)), np.float64(1)])
def test_values_are_a_row_a_case(values: np.ndarray) -> None:
    with pytest.raises(InputError, match="values have shape"):
        bca([1, 0], values, statistic=weighted_mean)
