"""Lesions: counts by the table, sizes and shares monotone in the latents, never where there are none in life."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scripts.phantom.anatomy import Anatomy
from scripts.phantom.lesions import (
    BRAIN,
    CYST_LABEL,
    LINE_LABEL,
    NODULE_LABEL,
    TUBER_LABEL,
    TUBER_SPACING_MM,
    draw_lesions,
    label_volume,
    nodule_count,
    tuber_count,
)
from scripts.phantom.outcome import Latents

MEDIAN = Latents(0.0, 0.0, 0.0, 0.0, 0.0)


def volumes(anatomy: Anatomy, latents: Latents, seed: int = 0) -> np.ndarray:
    """ml by label, the mean of four draws."""
    total = np.zeros(6)
    for draw in range(4):
        lesions = draw_lesions(np.random.default_rng((seed, draw)), latents, anatomy, 1.0)
        total += np.bincount(label_volume(anatomy, lesions).ravel(), minlength=6)
    return total / 4 * anatomy.voxel_mm**3 / 1000


def test_counts_meet_table_1() -> None:
    z = np.random.default_rng(0).standard_normal(4000)
    counts = np.array([tuber_count(value) for value in z])
    assert counts.mean() == pytest.approx(18.4, abs=0.75)  # 4 standard errors
    assert counts.std() == pytest.approx(11.8, abs=0.8)
    assert np.mean([nodule_count(value) for value in z]) == pytest.approx(6, abs=0.16)
    assert tuber_count(-6.0) == 0


def test_what_is_seen_grows_with_each_latent(anatomy: Anatomy) -> None:
    base = volumes(anatomy, MEDIAN)
    both = [TUBER_LABEL, CYST_LABEL]
    assert volumes(anatomy, replace(MEDIAN, tuber_count=1.0))[both].sum() > 1.3 * base[both].sum()
    assert volumes(anatomy, replace(MEDIAN, tuber_size=1.0))[both].sum() > 1.8 * base[both].sum()
    assert volumes(anatomy, replace(MEDIAN, cyst_share=1.5))[CYST_LABEL] > 2 * base[CYST_LABEL]
    assert volumes(anatomy, replace(MEDIAN, nodules=2.0))[NODULE_LABEL] > base[NODULE_LABEL]
    assert base[LINE_LABEL] > 0

    def t2(z: float) -> float:
        lesions = draw_lesions(np.random.default_rng(0), replace(MEDIAN, tuber_contrast=z), anatomy, 1.0)
        return float(np.mean([lesion.tissue.t2 for lesion in lesions if lesion.label == TUBER_LABEL]))

    assert t2(1.0) - t2(-1.0) == pytest.approx(2 * 0.9 * 13)


def test_lesions_lie_in_the_brain_and_tubers_keep_off_cerebellum_stem_and_nuclei(anatomy: Anatomy) -> None:
    many = Latents(2.0, 1.0, 1.0, 0.0, 1.0)
    lesions = draw_lesions(np.random.default_rng(5), many, anatomy, 1.0)
    codes = label_volume(anatomy, lesions)
    assert ((codes > 0) == anatomy.brain).all()
    tubers = np.isin(codes, [TUBER_LABEL, CYST_LABEL])
    assert tubers.sum() > 100
    assert not (tubers & ~anatomy.tuber_region).any()
    assert codes.min() == 0
    assert codes[anatomy.brain].min() == BRAIN


@pytest.mark.parametrize("scale", [0.85, 1.0])
def test_every_tuber_finds_a_place_and_they_keep_their_distance(anatomy: Anatomy, scale: float) -> None:
    latents = replace(MEDIAN, tuber_count=2.3)
    lesions = draw_lesions(np.random.default_rng(6), latents, anatomy, scale)
    tubers = [lesion for lesion in lesions if lesion.label == TUBER_LABEL]
    assert len(tubers) == tuber_count(2.3) > 45
    assert TUBER_SPACING_MM == 11


def test_the_same_stream_gives_the_same_lesions(anatomy: Anatomy) -> None:
    one, other = (draw_lesions(np.random.default_rng(8), MEDIAN, anatomy, 1.0) for _ in range(2))
    assert len(one) == len(other)
    assert all(np.array_equal(a.share, b.share) and a.box == b.box for a, b in zip(one, other, strict=True))
