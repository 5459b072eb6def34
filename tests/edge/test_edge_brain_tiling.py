"""Patches, their weights and their sums against nnU-Net's formulas, written out plainly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise, product

import numpy as np
import pytest
from etscnet_edge.brain_extraction.tiling import importance, mirrored, padding, slide, steps
from scipy import ndimage

Array = np.ndarray


def test_steps_are_nnunets() -> None:
    assert steps((110, 64, 65), (64, 64, 64), 0.5) == [[0, 23, 46], [0], [0, 1]]  # its own example first
    for shape in ((144, 230, 208), (112, 160, 128), (300, 161, 400)):
        for starts, edge, size in zip(steps(shape, (112, 160, 128), 0.5), shape, (112, 160, 128), strict=True):
            assert starts[0] == 0 and starts[-1] == edge - size
            assert all(0 < later - sooner <= size / 2 + 1 for sooner, later in pairwise(starts))
            count = int(np.ceil((edge - size) / (size * 0.5))) + 1
            assert starts == [int(np.round((edge - size) / max(count - 1, 1) * number)) for number in range(count)]


@pytest.mark.parametrize("patch", [(48, 56, 48), (7, 8, 9), (32, 16, 64)])
def test_the_weights_are_scipys_gaussian(patch: tuple[int, int, int]) -> None:
    point = np.zeros(patch)
    point[tuple(size // 2 for size in patch)] = 1
    expected = ndimage.gaussian_filter(point, [size / 8 for size in patch], 0, mode="constant", cval=0)
    expected = (expected / (expected.max() / 10)).astype(np.float16)
    expected[expected == 0] = expected[expected != 0].min()
    found = importance(patch, sigma=0.125, peak=10)
    np.testing.assert_array_equal(found, expected.astype(np.float32))
    assert found.max() == 10 and found.min() > 0


def test_odd_padding_goes_behind() -> None:
    assert padding((3, 34, 55), (3, 96, 50)) == [(0, 0), (31, 31), (0, 0)]
    assert padding((33, 33, 33), (34, 64, 96)) == [(0, 1), (15, 16), (31, 32)]


def two_classes(patch: Array) -> Array:
    """(2, a, b, c) logits that depend on the whole patch, as a network's do."""
    return np.stack([patch**2 - patch.mean(), np.roll(patch, 1, 0) + patch.std()])


def naively(volume: Array, patch: tuple[int, int, int], weights: Array) -> Array:
    """nnU-Net's predictor with all logits in float64: pad, sum, divide, cut."""
    before = [max(0, size - edge) // 2 for edge, size in zip(volume.shape, patch, strict=True)]
    shape = [max(edge, size) for edge, size in zip(volume.shape, patch, strict=True)]
    padded = np.zeros(shape, dtype=np.float32)
    inside = tuple(slice(start, start + edge) for start, edge in zip(before, volume.shape, strict=True))
    padded[inside] = volume
    logits, sums = np.zeros((2, *shape)), np.zeros(shape)
    for corner in product(*steps(shape, patch, 0.5)):
        here = tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
        logits[(slice(None), *here)] += two_classes(padded[here]) * weights
        sums[here] += weights
    return (logits / sums)[(slice(None), *inside)]


@pytest.mark.parametrize("shape", [(20, 23, 31), (8, 10, 12), (5, 30, 12), (3, 3, 3)])
def test_the_sum_is_that_of_a_plain_loop(shape: tuple[int, int, int]) -> None:
    patch = (8, 10, 12)
    volume = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    weights = importance(patch, sigma=0.125, peak=10)

    def difference(piece: Array) -> Array:
        logits = two_classes(piece)
        apart: Array = logits[1] - logits[0]
        return apart

    found = slide(volume, difference, weights=weights, step=0.5)
    expected = naively(volume, patch, weights)
    np.testing.assert_allclose(found, expected[1] - expected[0], atol=2e-5)  # float32 sums of up to 27 patches
    clear = np.abs(expected[1] - expected[0]) > 1e-4
    np.testing.assert_array_equal((found > 0)[clear], (expected.argmax(0) == 1)[clear])


def test_mirrored_patches_are_averaged() -> None:
    patch = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
    run: Callable[[Array], Array] = lambda piece: np.cumsum(np.cumsum(piece, 0), 2)  # noqa: E731 it knows directions
    expected = (
        run(patch)
        + np.flip(run(np.flip(patch, 0)), 0)
        + np.flip(run(np.flip(patch, 2)), 2)
        + np.flip(run(np.flip(patch, (0, 2))), (0, 2))
    ) / 4
    np.testing.assert_allclose(mirrored(run, [0, 2])(patch), expected, atol=1e-5)
    np.testing.assert_array_equal(mirrored(run, [])(patch), run(patch))
