"""The statistics of a case: each says what its name says, of images whose truth is known, on whatever grid they are stored."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from scripts.errors import InputError
from scripts.likeness.quality import INSIDE, case_statistics, ras_grid

SHAPE = (40, 48, 24)
SPACING, MATRIX = [0.7, 0.8, 6.0], [280, 300, 26]


def ball(seed: int = 0, *, noise: float = 0.02, gain: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """A textured ellipsoid in [0, 1], background 0, with white noise and a linear gain along each axis."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1.2, 1.2, edge) for edge in SHAPE), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 1
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE), 4)
    values = 0.5 + 0.05 * texture / texture.std() + noise * rng.normal(size=SHAPE)
    values = values * (1 + sum(part * axis for part, axis in zip(gain, axes, strict=True)))
    return np.where(inside, np.clip(values, 0.01, 1), 0).astype(np.float32)


def statistics(image: np.ndarray) -> dict[str, float]:
    return case_statistics(image, SPACING, MATRIX)


def test_the_distribution_is_numpys_of_the_brain_alone() -> None:
    image = ball()
    brain = image[image > 0].astype(float)
    found = statistics(image)
    assert found["mean"] == pytest.approx(brain.mean()) and found["sd"] == pytest.approx(brain.std())
    assert [found[f"q{q:02d}"] for q in (5, 25, 50, 75, 95)] == pytest.approx(np.percentile(brain, [5, 25, 50, 75, 95]))
    assert found["brain_share"] == pytest.approx(brain.size / image.size)


def test_the_geometry_is_that_of_the_original_grid() -> None:
    found = statistics(ball())
    assert [found[f"voxel_{axis}_mm"] for axis in "xyz"] == SPACING
    assert [found[f"matrix_{axis}"] for axis in "xyz"] == MATRIX
    assert [found[f"fov_{axis}_mm"] for axis in "xyz"] == pytest.approx([196, 240, 156])
    assert found["brain_grid_ml"] == pytest.approx(found["brain_share"] * 196 * 240 * 156 / 1000)


@pytest.mark.parametrize("sd", [0.01, 0.03, 0.06])
def test_noise_is_the_sd_of_white_noise(sd: float) -> None:
    # 5 %: the texture's own curvature, and what is clipped
    assert statistics(ball(noise=sd))["noise"] == pytest.approx(sd, rel=0.05)


def test_sharpness_falls_by_blur_and_does_not_depend_on_scale() -> None:
    image = ball()
    inside = image > 0
    blurred = np.where(inside, ndimage.gaussian_filter(image, 1), 0).astype(np.float32)
    assert statistics(blurred)["sharpness"] < 0.7 * statistics(image)["sharpness"]
    assert statistics(image / 2)["sharpness"] == pytest.approx(statistics(image)["sharpness"], rel=1e-6)


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("slope", [-0.3, 0.3])
def test_tilt_finds_a_bias_field_and_its_direction(axis: int, slope: float) -> None:
    gain = [0.0, 0.0, 0.0]
    gain[axis] = slope
    found, without = statistics(ball(gain=(gain[0], gain[1], gain[2]))), statistics(ball())
    tilts = [found[f"tilt_{name}"] - without[f"tilt_{name}"] for name in "xyz"]
    # The position's SD in a ball of radius 1 is 5 ** -0.5; 0.01: the texture's own tilt, which the gain scales
    assert tilts[axis] == pytest.approx(slope * 5**-0.5, abs=0.01)
    assert max(abs(tilt) for number, tilt in enumerate(tilts) if number != axis) < 0.01


def test_a_constant_brain_and_a_single_voxel_have_numbers() -> None:
    one = np.zeros(SHAPE, np.float32)
    one[10, 10, 10] = 1
    for image in (np.where(ball() > 0, 1, 0).astype(np.float32), one):
        found = statistics(image)
        assert np.isfinite(list(found.values())).all()
        assert found["sd"] == found["sharpness"] == found["noise"] == 0


def test_without_a_brain_there_are_no_statistics() -> None:
    with pytest.raises(InputError, match="holds no brain"):
        statistics(np.full(SHAPE, INSIDE / 2, np.float32))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SAR", "PIR"])
def test_the_grid_is_told_in_ras_however_it_is_stored(tmp_path: Path, codes: str) -> None:
    image = nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), np.diag([1.0, 2.0, 3.0, 1.0]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    nib.save(image.as_reoriented(turn), tmp_path / "image.nii.gz")
    spacing, matrix = ras_grid(tmp_path / "image.nii.gz")
    assert spacing == pytest.approx([1, 2, 3]) and matrix == [5, 6, 7]


def test_an_oblique_grid_keeps_its_voxels(tmp_path: Path) -> None:
    angle = 0.3
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 7), np.int16), turn @ np.diag([-0.7, 0.7, 6, 1])), tmp_path / "a.nii")
    spacing, matrix = ras_grid(tmp_path / "a.nii")
    assert spacing == pytest.approx([0.7, 0.7, 6], rel=1e-6) and matrix == [5, 6, 7]
