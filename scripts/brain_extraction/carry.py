"""One mask on another image's grid, by the place of both in the world: what the headers say, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
Affine = NDArray[np.floating]


def carry_mask(mask: Mask, affine: Affine, *, shape: Sequence[int], onto: Affine) -> Mask:
    """A mask on another grid: trilinear interpolation, at least one half. Outside of its own field of view there is nothing.

    The field ends half a voxel beyond the outermost centres: one that a rounding moved outwards is still seen.

    Args:
        mask: (x, y, z).
        affine: its own, voxel -> RAS+ mm.
        shape: (x', y', z') of the other grid.
        onto: the other grid's affine.

    Returns:
        (x', y', z').
    """
    there = np.linalg.inv(affine) @ onto  # the other grid's voxel -> this one's
    carried = ndimage.affine_transform(
        mask.astype(np.float32), there[:3, :3], there[:3, 3], output_shape=tuple(shape), order=1, mode="grid-constant"
    )
    return np.asarray(carried >= 0.5)


def dice(first: Mask, second: Mask) -> float:
    """2 |A and B| / (|A| + |B|): 1 where the masks are equal, NaN where both are empty."""
    size = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2 * int(np.count_nonzero(first & second)) / size if size else float("nan")


def world_dice(first: Mask, affine: Affine, second: Mask, *, onto: Affine) -> float:
    """Dice of two masks on different grids, on the second one's, where both have a field of view."""
    seen = carry_mask(np.ones_like(first), affine, shape=second.shape, onto=onto)
    return dice(carry_mask(first, affine, shape=second.shape, onto=onto), second & seen)
