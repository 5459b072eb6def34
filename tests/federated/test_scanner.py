"""Other scanners' looks: geometry, contrast, shading and noise of a synthetic image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from federated.scanner import Scanner, resampled, rescan

SAME = Scanner((0, 0, 0), gamma=1.0, shading=0.0, noise=0.0)


@pytest.fixture
def ball() -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """A bright ball in a field of view of 80 x 96 x 60 mm, oblique."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in (40, 48, 10)), indexing="ij")
    image = np.where(x**2 + y**2 + z**2 < 0.6, 200 + 100 * x, 0).astype(np.uint16)
    angle = 0.2
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-2.0, -2.0, 6.0])
    affine[:3, 3] = [30, 40, -20]
    return image, affine


def test_the_same_scanner_changes_nothing(ball: tuple[NDArray[np.uint16], NDArray[np.float64]]) -> None:
    image, affine = ball
    seen, grid = rescan(image, affine, SAME, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(seen, image)
    np.testing.assert_allclose(grid, affine)


def test_another_voxel_size_keeps_the_place_in_space(ball: tuple[NDArray[np.uint16], NDArray[np.float64]]) -> None:
    image, affine = ball
    values, grid = resampled(image.astype(np.float64), affine, (3.0, 1.5, 5.0))
    np.testing.assert_allclose(np.linalg.norm(grid[:3, :3], axis=0), [3.0, 1.5, 5.0])
    assert values.shape == (27, 64, 12)
    centres = [a @ np.append((np.array(s) - 1) / 2, 1) for a, s in ((affine, image.shape), (grid, values.shape))]
    np.testing.assert_allclose(centres[0], centres[1], atol=1e-9)

    def centroid(data: NDArray[np.float64], where: NDArray[np.float64]) -> NDArray[np.float64]:
        indices = np.argwhere(data > 50)
        middle: NDArray[np.float64] = (where[:3, :3] @ indices.T).mean(axis=1) + where[:3, 3]
        return middle

    apart = centroid(values, grid) - centroid(image.astype(np.float64), affine)
    assert np.linalg.norm(apart) < 1.0  # mm, of a ball of 60 mm: half a voxel of 2 mm


def test_labels_stay_labels(ball: tuple[NDArray[np.uint16], NDArray[np.float64]]) -> None:
    image, affine = ball
    mask, grid = resampled((image > 0).astype(np.uint8), affine, (3.0, 3.0, 2.0), labels=True)
    assert set(np.unique(mask)) == {0, 1}
    volumes = [(data > 0).sum() * abs(np.linalg.det(where[:3, :3])) for data, where in ((image, affine), (mask, grid))]
    assert volumes[1] == pytest.approx(volumes[0], rel=0.05)


def test_gamma_changes_contrast_shading_is_smooth_and_noise_fills_the_background(
    ball: tuple[NDArray[np.uint16], NDArray[np.float64]],
) -> None:
    image, affine = ball
    inside = image > 0

    def ratio(scanner: Scanner) -> float:
        seen, _ = rescan(image, affine, scanner, rng=np.random.default_rng(1))
        low, high = np.percentile(seen[inside], (5, 95))
        return float(high / low)

    assert ratio(Scanner((0, 0, 0), 2.0, 0.0, 0.0)) == pytest.approx(ratio(SAME) ** 2, rel=0.02)
    shaded, _ = rescan(image, affine, Scanner((0, 0, 0), 1.0, 0.4, 0.0), rng=np.random.default_rng(1))
    field = shaded[inside] / image[inside]
    assert np.exp(-0.41) <= field.min() < 0.9 and 1.1 < field.max() <= np.exp(0.41)
    noisy, _ = rescan(image, affine, Scanner((0, 0, 0), 1.0, 0.0, 0.05), rng=np.random.default_rng(1))
    unit = np.percentile(image[inside], 99)
    # Rayleigh: the mean of a background without signal is sd * sqrt(pi / 2)
    assert noisy[~inside].mean() == pytest.approx(0.05 * unit * np.sqrt(np.pi / 2), rel=0.03)


def test_the_seed_decides(ball: tuple[NDArray[np.uint16], NDArray[np.float64]]) -> None:
    image, affine = ball
    scanner = Scanner((0, 0, 0), 1.2, 0.3, 0.05)
    one, other, third = (rescan(image, affine, scanner, rng=np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert (one == other).all() and not (one == third).all()
