"""Temperature scaling: the best T, its interval, and what is said where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import special

from scripts.errors import InputError
from scripts.stats.temperature import EDGE, calibrated, fit_temperature, temperature_of


def drawn(n: int, temperature: float, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that would be probabilities if their logits were divided by the temperature."""
    rng = np.random.default_rng(seed)
    probabilities = special.expit(rng.normal(0, 1.5, n))
    labels = (rng.random(n) < probabilities).astype(int)
    return labels, special.expit(special.logit(probabilities) * temperature)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_many_cases_is_the_true_one(temperature: float) -> None:
    found = fit_temperature(*drawn(20_000, temperature))
    assert found.temperature == pytest.approx(temperature, rel=0.05)  # 5 %: two standard errors of 20,000 cases
    assert found.interval is not None and found.interval[1] is not None
    assert found.interval[0] < temperature < found.interval[1]


@pytest.mark.parametrize("seed", range(20))
def test_it_is_the_logistic_regression_of_one_slope(seed: int) -> None:
    labels, scores = drawn(60, 2.0, seed=seed)
    fit = sm.Logit(labels, special.logit(scores)).fit(disp=False, tol=1e-12)
    found = fit_temperature(labels, scores)
    assert found.temperature == pytest.approx(1 / fit.params[0], rel=1e-6)
    assert found.log_loss[1] == pytest.approx(-fit.llf / 60, rel=1e-9)
    assert found.log_loss[1] is not None and found.log_loss[1] <= found.log_loss[0]


def test_the_interval_covers() -> None:
    covered = 0
    for seed in range(300):
        interval = fit_temperature(*drawn(60, 2.0, seed=seed)).interval
        assert interval is not None
        covered += interval[0] <= 2.0 <= (math.inf if interval[1] is None else interval[1])
    assert 0.92 <= covered / 300 <= 0.98  # 0.95 within two and a half standard errors of 300 draws


def test_at_the_ends_of_the_interval_the_likelihood_has_fallen_by_half_of_chi_square() -> None:
    labels, scores = drawn(60, 2.0)
    found = fit_temperature(labels, scores)

    def loss(temperature: float | None) -> float:
        p = calibrated(scores, temperature or math.nan)
        return float(-np.log(np.where(labels == 1, p, 1 - p)).sum())

    assert found.interval is not None
    for end in found.interval:
        assert loss(end) - loss(found.temperature) == pytest.approx(3.841458821 / 2, rel=1e-6)


def test_the_order_of_the_cases_does_not_matter() -> None:
    labels, scores = drawn(95, 2.0)
    turn = np.random.default_rng(1).permutation(95)
    assert fit_temperature(labels, scores) == fit_temperature(labels[turn], scores[turn])


def test_few_cases_may_leave_the_interval_open_above() -> None:
    found = fit_temperature([0, 1, 0, 1, 1, 0], [0.2, 0.4, 0.6, 0.7, 0.8, 0.3])
    assert found.temperature is not None and found.interval is not None
    assert found.interval[0] < found.temperature and found.interval[1] is None


@pytest.mark.parametrize(
    ("labels", "scores", "reason"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], "separates the outcomes of all 4"),
        ([0, 1, 0, 1], [0.7] * 4, "all 4 validation scores are equal"),
        ([0, 1, 0, 1], [0.5] * 4, "all 4 validation scores are equal"),
        ([1, 1, 0, 0], [0.1, 0.2, 0.8, 0.9], "above 20"),
        ([0] * 99 + [1] * 100, [0.49] * 98 + [0.5001] + [0.51] * 100, "below 0.05"),
    ],
)
def test_without_a_right_number_there_is_none_but_a_reason(labels: list[int], scores: list[float], reason: str) -> None:
    found = fit_temperature(labels, scores)
    assert found.temperature is None and found.interval is None and reason in found.reason
    assert temperature_of({"temperature": found.to_dict()}) == (None, f"no temperature: {found.reason}")


def test_separation_elsewhere_than_at_one_half_has_a_temperature() -> None:
    found = fit_temperature([0, 0, 1, 1], [0.6, 0.65, 0.8, 0.9])
    assert found.temperature is not None and found.reason == ""


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([0, 1], [0.2, math.nan]), ([1, 1], [0.2, 0.3]), ([0, 1], [0.2, 1.5]), ([], []), ([0, 1, 2], [0.1, 0.2, 0.3])],
)
def test_what_can_not_be_fitted_is_refused(labels: list[int], scores: list[float]) -> None:
    with pytest.raises(InputError):
        fit_temperature(labels, scores)


def test_a_calibrated_score_keeps_the_ranking_and_the_middle() -> None:
    scores = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    warmer = calibrated(scores, 2.0)
    assert warmer[2] == 0.5 and (np.diff(warmer) > 0).all()
    assert warmer[1] == pytest.approx(1 / (1 + 9**0.5))  # odds 1:9 to the power 1/2
    assert warmer[0] == pytest.approx(EDGE**0.5, rel=1e-3)  # 0 has no logit
    assert calibrated(scores[1:4], 1.0) == pytest.approx(scores[1:4])


@pytest.mark.parametrize(
    ("score", "temperature"), [(0.5, 0.0), (0.5, -1.0), (0.5, math.nan), (1.2, 1.0), (math.nan, 1.0)]
)
def test_no_probability_from_what_is_none(score: float, temperature: float) -> None:
    with pytest.raises(InputError):
        calibrated(score, temperature)


def test_what_model_json_says() -> None:
    assert temperature_of({"temperature": {"temperature": 1.5}}) == (1.5, "")
    value, reason = temperature_of({})
    assert value is None and "model.json holds none" in reason
    for wrong in (0, -1.0, "1", True, math.inf):
        with pytest.raises(InputError, match="temperature"):
            temperature_of({"temperature": {"temperature": wrong}})
