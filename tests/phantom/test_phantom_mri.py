"""The signal equations and what they must give: nulled fluid, bright tubers, a contrast that turns over with age."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scripts.phantom.anatomy import Anatomy
from scripts.phantom.mri import (
    CYST,
    FLAIR,
    FLUID,
    GREY,
    NODULE,
    T2W,
    TUBER,
    WHITE,
    YOUNG_GREY,
    YOUNG_WHITE,
    Sequence,
    at_age,
    head_signal,
    immaturity,
    lesion_at_age,
    signal,
)


def test_the_equations_are_those_of_the_design() -> None:
    plain = replace(T2W, restore=0.0)
    expected = 0.82 * 0.86 * (1 - np.exp(-2590 / 1400)) * np.exp(-93 / 90)
    assert signal(GREY, plain) == pytest.approx(expected)
    expected = 0.77 * abs(1 - 2 * np.exp(-2500 / 1500) + np.exp(-8800 / 1500)) * np.exp(-132 / 124)
    assert signal(TUBER, FLAIR) == pytest.approx(expected)


def test_fluid_is_nulled_in_flair_and_brightest_in_t2w() -> None:
    assert signal(FLUID, FLAIR) < 0.05 * signal(GREY, FLAIR)
    assert 2.0 < signal(FLUID, T2W) / signal(GREY, T2W) < 3.2


def test_tubers_are_bright_in_both_cysts_dark_in_flair_nodules_dark_in_t2w() -> None:
    assert signal(TUBER, FLAIR) > 1.3 * signal(GREY, FLAIR)
    assert signal(TUBER, T2W) > 1.3 * signal(GREY, T2W)
    assert signal(CYST, FLAIR) < signal(WHITE, FLAIR) < signal(TUBER, FLAIR)
    assert signal(CYST, T2W) > signal(TUBER, T2W)
    assert signal(NODULE, T2W) < signal(GREY, T2W)


@pytest.mark.parametrize("sequence", [FLAIR, T2W])
def test_white_and_grey_matter_turn_over_in_the_first_two_years(sequence: Sequence) -> None:
    def contrast(months: float, lag: float) -> float:
        degree = float(immaturity(months, lag))
        return signal(at_age(WHITE, YOUNG_WHITE, degree), sequence) - signal(at_age(GREY, YOUNG_GREY, degree), sequence)

    assert contrast(6, 1.0) > 0  # late myelination: still brighter than the cortex
    assert contrast(24, 1.0) < 0
    assert contrast(6, 0.0) < contrast(6, 1.0)
    assert contrast(120, 0.5) < 0


def test_tubers_stay_brighter_than_young_white_matter() -> None:
    degree = float(immaturity(6, 0.5))
    for sequence in (FLAIR, T2W):
        assert signal(lesion_at_age(TUBER, 6), sequence) > 1.1 * signal(at_age(WHITE, YOUNG_WHITE, degree), sequence)


def test_the_head_holds_the_signals_of_its_tissues(anatomy: Anatomy) -> None:
    t2w, flair = head_signal(anatomy, T2W, 120), head_signal(anatomy, FLAIR, 120)
    pure_white = (anatomy.maps[1] == 255) & (anatomy.voids == 0)
    pure_fluid = (anatomy.maps[3] > 250) & (anatomy.pulsation < 5) & (anatomy.voids == 0)
    assert t2w[pure_white].mean() == pytest.approx(signal(WHITE, T2W), rel=0.02)
    assert t2w[pure_fluid].mean() == pytest.approx(signal(FLUID, T2W), rel=0.03)
    assert flair[pure_fluid].mean() < 0.2 * flair[pure_white].mean()


def test_pulsation_darkens_fluid_in_t2w_and_brightens_it_in_flair(anatomy: Anatomy) -> None:
    where = anatomy.pulsation > 150
    assert head_signal(anatomy, T2W, 120, 1.0)[where].mean() < 0.8 * head_signal(anatomy, T2W, 120)[where].mean()
    assert head_signal(anatomy, FLAIR, 120, 1.0)[where].mean() > head_signal(anatomy, FLAIR, 120)[where].mean()
