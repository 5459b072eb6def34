"""What the quality gate measures and refuses."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.brain_extraction.carry import carry_mask, dice, world_dice
from scripts.brain_extraction.norms import age_months, plausible_ml
from scripts.brain_extraction.quality import judge_mask, judge_study
from scripts.errors import InputError
from tests.brain_extraction.heads import head, write_heads


def brain(**options: object) -> tuple[np.ndarray, np.ndarray]:
    image, mask = head(**options)  # type: ignore[arg-type]
    return mask, image.affine


def test_a_brain_passes_and_is_measured() -> None:
    mask, affine = brain()
    judged = judge_mask(mask, affine, age_months=72)
    assert judged and judged.faults == ()
    # 4/3 pi a b c of the half axes; 1 %: the voxels of the surface
    assert judged.volume_ml == pytest.approx(4 / 3 * np.pi * 64 * 80 * 60 / 1000, rel=0.01)
    assert judged.pieces == 1 and judged.largest_share == 1.0 and set(judged.border_share.values()) == {0.0}


@pytest.mark.parametrize(("months", "passes"), [(None, True), (72, True), (2, False)])
def test_the_volume_must_be_one_of_the_childs_age(months: float | None, passes: bool) -> None:
    judged = judge_mask(*brain(), age_months=months)  # 1286 ml
    assert bool(judged) is passes
    assert passes or ("1286 ml" in judged.faults[0] and "at 2 months" in judged.faults[0])


def test_half_a_brain_is_too_small_at_six_years_though_not_at_any_age() -> None:
    mask, affine = brain()
    mask[:, : mask.shape[1] // 2] = False
    assert judge_mask(mask, affine)
    assert not judge_mask(mask, affine, age_months=72)


def test_the_range_grows_with_age_and_never_leaves_that_of_any_age() -> None:
    ranges = [plausible_ml(months) for months in range(0, 217, 6)]
    for (low, high), (next_low, next_high) in pairwise(ranges):
        assert low <= next_low and high <= next_high
    assert all(250 <= low < high <= 2200 for low, high in ranges)


def test_pieces_and_the_borders_are_named() -> None:
    mask, affine = brain()
    pieces = mask.copy()
    pieces[:, pieces.shape[1] // 2 - 3 : pieces.shape[1] // 2 + 3] = False
    assert "in 2 pieces, the largest of which holds" in judge_mask(pieces, affine).faults[0]
    for side, cut in (("top", np.s_[:, :, : mask.shape[2] // 2]), ("left", np.s_[mask.shape[0] // 2 :])):
        (fault,) = judge_mask(mask[cut], affine).faults
        assert f"touches the {side} of the field of view with" in fault
    below = mask[:, :, 8:]  # a brain stem that goes on is no fault
    assert judge_mask(below, affine) and judge_mask(below, affine).border_share["bottom"] > 0


def test_sides_are_the_childs_whatever_the_files_axes() -> None:
    mask, affine = brain()
    half = nib.Nifti1Image(mask[mask.shape[0] // 2 :].astype(np.uint8), affine)
    turned = half.as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    (fault,) = judge_mask(np.asarray(turned.dataobj) > 0, turned.affine).faults
    assert "touches the left" in fault


def test_an_empty_mask_is_one_fault_and_compared_with_nothing() -> None:
    mask, affine = brain()
    judged = judge_study({"flair": (np.zeros_like(mask), affine), "t2w": (mask, affine)})
    assert len(judged.faults) == 1 and judged.faults[0].startswith("flair: the mask holds 0 ml")
    assert judged.overlap == {}


@pytest.mark.parametrize(("shift", "passes"), [(0.0, True), (8.0, True), (40.0, False)])
def test_masks_must_overlap_in_the_world_not_in_the_array(shift: float, passes: bool) -> None:
    one, other = brain(), brain(spacing=(1.7, 2.2, 3.0), offset=(0.0, shift, 0.0))
    judged = judge_study({"flair": one, "t2w": other})
    assert bool(judged) is passes
    assert passes or "overlap by a Dice of" in judged.faults[0]
    if shift == 0:
        assert judged.overlap["flair-t2w"] > 0.95  # voxels of 4 mm cut the surface otherwise than those of 3 mm


def test_a_carried_mask_lies_where_it_lay_in_the_world() -> None:
    mask, affine = brain(spacing=(2.0, 2.0, 2.0), offset=(5.0, -3.0, 8.0))
    other, onto = brain(spacing=(3.0, 1.5, 4.0), offset=(5.0, -3.0, 8.0))
    angle = 0.3
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight = carry_mask(mask, affine, shape=other.shape, onto=onto)
    assert dice(straight, other) > 0.97
    # Both turned in the world alike: nothing changes. One alone: the masks part.
    assert np.array_equal(carry_mask(mask, turned @ affine, shape=other.shape, onto=turned @ onto), straight)
    assert dice(carry_mask(mask, turned @ affine, shape=other.shape, onto=onto), other) < 0.96
    half = mask[: mask.shape[0] // 2]
    assert world_dice(half, affine, other, onto=onto) > 0.97, (
        "where the other has no field of view, nothing is compared"
    )


def test_the_age_comes_from_the_folders_participants(tmp_path: Path) -> None:
    write_heads(tmp_path, 1)
    file = tmp_path / "sub-01" / "anat" / "sub-01_FLAIR.nii.gz"
    assert age_months(file) == 72
    assert age_months(tmp_path / "elsewhere.nii.gz") is None
    for text, months in (("n/a", None), ("30.5", 30.5)):
        (tmp_path / "participants.tsv").write_text(f"participant_id\tage_mri_months\nsub-01\t{text}\n")
        assert age_months(file) == months
    (tmp_path / "participants.tsv").write_text("participant_id\tage_mri_months\nsub-01\ttwo\n")
    with pytest.raises(InputError, match="age_mri_months 'two'"):
        age_months(file)


def test_a_mask_on_the_fields_last_plane_is_carried_though_a_rounding_puts_it_outside() -> None:
    mask = np.zeros((2, 6, 2), bool)
    mask[:, 5] = True
    affine = np.diag([1.0, 5.0, 1.0, 1.0])
    affine[1, 3] = -2.0
    turned = affine @ np.array([[1, 0, 0, 0], [0, -1, 0, 5 + 1e-12], [0, 0, 1, 0], [0, 0, 0, 1]])
    np.testing.assert_array_equal(carry_mask(mask, affine, shape=mask.shape, onto=turned), mask[:, ::-1])


@pytest.mark.parametrize(("shift", "planes"), [(0.45, [2]), (0.5, [2, 3]), (0.55, [3])])
def test_a_voxel_belongs_to_a_carried_mask_if_half_of_it_does(shift: float, planes: list[int]) -> None:
    mask = np.zeros((6, 3, 3), bool)
    mask[2] = True
    moved = np.eye(4)
    moved[0, 3] = -shift  # voxel i of the other grid lies at i - shift of this one's
    carried = carry_mask(mask, np.eye(4), shape=mask.shape, onto=moved)
    assert (
        np.flatnonzero(carried.all(axis=(1, 2))).tolist() == np.flatnonzero(carried.any(axis=(1, 2))).tolist() == planes
    )
