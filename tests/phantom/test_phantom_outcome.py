"""The known truth: prevalence, ideal AUC, and latents that follow the outcome as the logistic model says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from scripts.phantom.outcome import (
    COEFFICIENTS,
    PRESETS,
    draw_latents,
    ideal_auc,
    intercept,
    is_uncontrolled,
    preset_named,
    probability_uncontrolled,
)


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    ranks = rankdata(np.concatenate([positive, negative]))
    return float(
        (ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / len(positive) / len(negative)
    )


@pytest.mark.parametrize("name", list(PRESETS))
def test_ideal_auc_and_prevalence_by_monte_carlo(name: str) -> None:
    preset, rng = PRESETS[name], np.random.default_rng(0)
    eta = intercept(preset) + preset.effect * rng.standard_normal((200_000, 5)) @ np.array(COEFFICIENTS)
    sick = rng.random(len(eta)) < 1 / (1 + np.exp(-eta))
    assert sick.mean() == pytest.approx(56 / 95, abs=0.004)  # 3.6 standard errors
    assert auc(eta[sick], eta[~sick]) == pytest.approx(ideal_auc(preset), abs=0.004)


def test_the_presets_have_the_intended_ideal_auc() -> None:
    found = {name: round(ideal_auc(preset), 3) for name, preset in PRESETS.items()}
    assert found == {"paper": 0.847, "easy": 0.940, "null": 0.5}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_95_subjects_hold_exactly_56_uncontrolled_and_19_hold_11(seed: int) -> None:
    outcomes = [is_uncontrolled(index, seed) for index in range(190)]
    assert sum(outcomes[:95]) == 56
    assert sum(outcomes) == 112
    assert sum(outcomes[:19]) == 11
    assert outcomes != sorted(outcomes)


def test_the_conditional_draw_keeps_the_latents_standard_normal_and_the_probability_calibrated() -> None:
    preset, rng = PRESETS["paper"], np.random.default_rng(1)
    outcomes = [is_uncontrolled(index, 0) for index in range(3800)]
    latents = [draw_latents(rng, outcome, preset) for outcome in outcomes]
    values = np.array([list(one.to_dict().values()) for one in latents])
    assert np.abs(values.mean(0)).max() < 0.06  # 3.7 standard errors
    assert np.abs(values.std(0) - 1).max() < 0.05
    p = np.array([probability_uncontrolled(one, preset) for one in latents])
    likely = p > 0.8
    assert np.mean(np.array(outcomes)[likely]) == pytest.approx(p[likely].mean(), abs=0.03)


def test_in_the_null_preset_the_latents_do_not_know_the_outcome() -> None:
    rng = np.random.default_rng(2)
    sums = [
        np.array([sum(draw_latents(rng, outcome, PRESETS["null"]).to_dict().values()) for _ in range(4000)])
        for outcome in (True, False)
    ]
    assert auc(sums[0], sums[1]) == pytest.approx(0.5, abs=0.025)  # 3.9 standard errors


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset 'hard'; expected one of paper, easy, null"):
        preset_named("hard")
