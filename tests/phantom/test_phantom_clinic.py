"""Clinical variables meet Table 1; in the null preset none of them knows the outcome."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from scripts.phantom.clinic import CONTROLLED, EEG_REGIONS, UNCONTROLLED, Clinical, draw_clinical, ideal_auc_with_age
from scripts.phantom.outcome import PRESETS, ideal_auc

DRAWS = 6000


@cache
def drawn(uncontrolled: bool, preset: str = "paper") -> list[Clinical]:
    rng = np.random.default_rng(int(uncontrolled))
    return [draw_clinical(rng, uncontrolled, PRESETS[preset]) for _ in range(DRAWS)]


@pytest.mark.parametrize("uncontrolled", [False, True])
def test_table_1_is_met(uncontrolled: bool) -> None:
    group, people = (UNCONTROLLED if uncontrolled else CONTROLLED), drawn(uncontrolled)
    share = {
        "male": (np.mean([p.sex == "M" for p in people]), group.male),
        "spasms": (np.mean([p.infantile_spasms for p in people]), group.infantile_spasms),
        "medications": (np.mean([p.three_or_more_medications for p in people]), group.three_or_more_medications),
        **{
            name: (np.mean([p.gene == name for p in people]), expected)
            for name, expected in zip(("negative", "TSC1", "TSC2"), group.gene, strict=True)
        },
        **{region: (np.mean([p.eeg[i] for p in people]), group.eeg[i]) for i, region in enumerate(EEG_REGIONS)},
    }
    for name, (found, expected) in share.items():
        assert found == pytest.approx(expected, abs=0.026), name  # 4 standard errors at a share of one half
    ages = np.array([p.age_mri_months for p in people])
    onsets = np.array([p.age_onset_months for p in people])
    assert ages.mean() == pytest.approx(group.age_mri_mean, rel=0.04)
    assert onsets.mean() == pytest.approx(group.age_onset_mean, rel=0.06)
    assert ages.min() >= group.age_mri_range[0]
    assert ages.max() <= group.age_mri_range[1]
    assert onsets.min() >= group.age_onset_range[0]
    assert onsets.max() <= group.age_onset_range[1]
    assert (onsets <= ages).all()


def test_the_age_alone_reaches_an_auc_near_0_69() -> None:
    old, young = (np.array([p.age_mri_months for p in drawn(outcome)]) for outcome in (False, True))
    assert np.mean(old[:, None] > young[None, :]) == pytest.approx(0.69, abs=0.02)


def test_the_ceiling_from_images_lies_above_the_latents_alone() -> None:
    assert ideal_auc_with_age(PRESETS["paper"]) == pytest.approx(0.873, abs=0.001)
    assert ideal_auc_with_age(PRESETS["easy"]) > ideal_auc(PRESETS["easy"])
    assert ideal_auc_with_age(PRESETS["null"]) == 0.5


def test_in_the_null_preset_no_variable_depends_on_the_outcome() -> None:
    one, other = drawn(True, "null"), drawn(False, "null")
    ages = [np.array([p.age_mri_months for p in people]) for people in (one, other)]
    assert np.mean(ages[0][:, None] > ages[1][None, :]) == pytest.approx(0.5, abs=0.021)  # 4 standard errors
    spasms = [np.mean([p.infantile_spasms for p in people]) for people in (one, other)]
    assert spasms[0] == pytest.approx(spasms[1], abs=0.035)
