"""What geometry must hold for any grid: reading, turning, carrying a mask, resizing."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from etscnet_edge.nifti import read_volume
from etscnet_edge.preprocess import resized, scaled
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.brain_extraction.carry import carry_mask, dice, world_dice
from scripts.brain_extraction.skull import skull_share
from scripts.likeness.quality import ras_grid
from tests.brain_extraction.heads import head

LIMITS = {"max_voxels": 10**6, "min_squareness": 0.7}
AXES = st.permutations(range(3)).flatmap(
    lambda order: st.tuples(*[st.sampled_from(["RL", "AP", "SI"][axis]) for axis in order]).map("".join)
)
SHAPE = st.tuples(*[st.integers(2, 9)] * 3)
SPACING = st.tuples(*[st.sampled_from([0.5, 0.9, 1.0, 2.0, 5.0])] * 3)


def grid(spacing: tuple[float, ...], origin: tuple[float, ...] = (0, 0, 0)) -> np.ndarray:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = origin
    return affine


def turned(image: nib.Nifti1Image, axes: str) -> nib.Nifti1Image:
    """The same image, its axes stored in another order and direction."""
    now, then = nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    made: nib.Nifti1Image = image.as_reoriented(nib.orientations.ornt_transform(now, then))
    return made


@given(SHAPE, SPACING, AXES, st.integers(0, 1000))
@settings(max_examples=30)
def test_the_same_image_is_read_however_its_axes_are_stored(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], axes: str, seed: int
) -> None:
    values = np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)
    image = nib.Nifti1Image(values, grid(spacing, (-7.0, 3.0, 11.0)))
    with tempfile.TemporaryDirectory() as folder:
        nib.save(turned(image, axes), Path(folder) / "image.nii.gz")
        volume = read_volume(Path(folder) / "image.nii.gz", orientation="RAS", limits=LIMITS)
        np.testing.assert_array_equal(volume.values(), values)
        np.testing.assert_allclose(volume.affine, image.affine, atol=1e-4)
        found_spacing, matrix = ras_grid(Path(folder) / "image.nii.gz")
    assert matrix == list(shape)
    np.testing.assert_allclose(found_spacing, spacing, atol=1e-5)


@given(SHAPE, SHAPE, st.integers(0, 1000))
def test_a_resize_is_torchs(shape: tuple[int, int, int], size: tuple[int, int, int], seed: int) -> None:
    values = np.random.default_rng(seed).random(shape, dtype=np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values)[None, None], size=size, mode="trilinear", align_corners=False
    )[0, 0].numpy()
    found = resized(values, size)
    np.testing.assert_allclose(found, expected, atol=1e-5)  # float32, in another order of the axes
    assert found.min() >= values.min() - 1e-6 and found.max() <= values.max() + 1e-6
    np.testing.assert_allclose(resized(values[::-1, :, ::-1], size), found[::-1, :, ::-1], atol=1e-5)
    np.testing.assert_array_equal(resized(values, shape), values)


@given(SHAPE, st.integers(0, 1000), st.floats(0.1, 1000), st.floats(-100, 100))
def test_scaling_forgets_gain_and_offset(shape: tuple[int, int, int], seed: int, gain: float, offset: float) -> None:
    values = np.random.default_rng(seed).integers(0, 1000, shape).astype(np.float32)
    values.flat[0], values.flat[-1] = -1, 1000  # some contrast
    once = scaled(values)
    assert once.min() == 0 and once.max() == 1
    np.testing.assert_allclose(scaled(values * np.float32(gain) + np.float32(offset)), once, atol=1e-3)


@given(SHAPE, SPACING, AXES, st.integers(0, 1000))
def test_a_mask_is_carried_to_a_turned_grid_without_loss(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], axes: str, seed: int
) -> None:
    mask = np.random.default_rng(seed).random(shape) < 0.5
    image = nib.Nifti1Image(mask.astype(np.uint8), grid(spacing, (5.0, -2.0, 8.0)))
    other = turned(image, axes)
    carried = carry_mask(mask, image.affine, shape=other.shape, onto=other.affine)
    np.testing.assert_array_equal(carried, np.asarray(other.dataobj) > 0)
    if mask.any():
        assert world_dice(mask, image.affine, carried, onto=other.affine) == 1.0


@given(SHAPE, SPACING, st.tuples(*[st.integers(-3, 3)] * 3), st.integers(0, 1000))
def test_moving_both_images_in_the_world_changes_no_overlap(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], shift: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random(shape) < 0.5, rng.random(shape) < 0.5
    affine, onto = grid(spacing), grid(spacing, tuple(np.multiply(shift, spacing)))
    moved = np.eye(4)
    moved[:3, :3] = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    moved[:3, 3] = rng.uniform(-100, 100, 3)
    there = world_dice(one, affine, other, onto=onto)
    elsewhere = world_dice(one, moved @ affine, other, onto=moved @ onto)
    assert elsewhere == pytest.approx(there, abs=1e-9, nan_ok=True)
    assert dice(one, other) == pytest.approx(dice(other, one), nan_ok=True)


@given(AXES, st.sampled_from([0.62, 0.8, 1.0]), st.booleans(), st.integers(0, 20))
@settings(max_examples=15)
def test_a_skull_is_found_or_not_however_the_axes_are_stored(axes: str, size: float, skull: bool, seed: int) -> None:
    image, _ = head(size=size, spacing=(3.0, 3.0, 5.0), skull=skull, seed=seed)
    share = skull_share(image.get_fdata(dtype=np.float32), image.affine)
    other = turned(image, axes)
    assert skull_share(other.get_fdata(dtype=np.float32), other.affine) == share
    assert (share > 0.4) is skull
