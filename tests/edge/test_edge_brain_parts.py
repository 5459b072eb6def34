"""Connected parts and holes against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from etscnet_edge.brain_extraction.parts import filled, parts
from scipy import ndimage


@pytest.mark.parametrize("shape", [(5, 6, 7), (30, 20, 25), (1, 9, 4), (9, 1, 4), (9, 4, 1)])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.3, 0.5, 0.9, 1.0])
def test_parts_are_scipys(shape: tuple[int, int, int], share: float) -> None:
    mask = np.random.default_rng(0).random(shape) < share
    labels, voxels = parts(mask)
    expected, count = ndimage.label(mask)
    assert len(voxels) == count and (np.diff(voxels) <= 0).all()
    np.testing.assert_array_equal(np.bincount(labels.ravel(), minlength=count + 1)[1:], voxels)
    np.testing.assert_array_equal(labels > 0, mask)
    pairs = np.unique(np.stack([labels[mask], expected[mask]]), axis=1)
    assert pairs.shape[1] == count  # each of ours is one of scipy's


def test_long_ways_are_one_part() -> None:
    snake = np.zeros((9, 9, 9), dtype=bool)
    snake[::2, :, 4] = True
    snake[1::4, -1, 4] = snake[3::4, 0, 4] = True
    assert len(parts(snake)[1]) == 1
    snake[1, -1, 4] = False
    assert len(parts(snake)[1]) == 2


@pytest.mark.parametrize("share", [0.3, 0.6, 0.75, 0.9])
def test_holes_are_scipys(share: float) -> None:
    mask = np.random.default_rng(0).random((20, 24, 18)) < share
    np.testing.assert_array_equal(filled(mask), ndimage.binary_fill_holes(mask))


def test_an_axis_may_lie_in_any_order_of_memory() -> None:
    mask = np.random.default_rng(0).random((12, 10, 8)) < 0.4
    turned = np.asfortranarray(mask[::-1])
    np.testing.assert_array_equal(parts(turned)[1], parts(mask)[1])
