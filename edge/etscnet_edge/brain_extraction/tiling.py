"""A volume in overlapping patches: where they lie, how their logits are weighted and summed.

Source: nnunetv2 2.8.1, inference/sliding_window_prediction.py and predict_from_raw_data.py. nnU-Net sums in float16, here it is
float32; and of two classes' logits only the difference is kept, whose sign is the class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
TRUNCATE = 4.0  # sigmas: where scipy's Gaussian filter ends


def steps(shape: Sequence[int], patch: Sequence[int], step: float) -> list[list[int]]:
    """Where patches begin along each axis: at most `step` patches apart, evenly, the last one at the end.

    Args:
        shape: of the volume, at least the patch's.
        patch: its shape.
        step: of a patch, 0 to 1.
    """
    starts = []
    for edge, size in zip(shape, patch, strict=True):
        count = math.ceil((edge - size) / (size * step)) + 1
        apart = (edge - size) / (count - 1) if count > 1 else 0.0
        starts.append([int(np.round(apart * number)) for number in range(count)])
    return starts


def importance(patch: Sequence[int], *, sigma: float, peak: float) -> Array:
    """The weight of each voxel of a patch: a Gaussian about its middle, rounded to float16 as nnU-Net's, never 0.

    Args:
        patch: its shape.
        sigma: by the patch's edge.
        peak: the largest weight.
    """
    weights = np.ones((1, 1, 1))
    for axis, size in enumerate(patch):
        reach = int(TRUNCATE * size * sigma + 0.5)
        distance = np.arange(size) - size // 2
        line = np.exp(-0.5 / (size * sigma) ** 2 * distance**2) * (np.abs(distance) <= reach)
        weights = weights * line.reshape([-1 if number == axis else 1 for number in range(3)])
    rounded = (weights / weights.max() * peak).astype(np.float16)
    rounded[rounded == 0] = rounded[rounded > 0].min()
    importances: Array = rounded.astype(np.float32)
    return importances


def padding(shape: Sequence[int], patch: Sequence[int]) -> list[tuple[int, int]]:
    """Voxels before and after each axis that make it as long as the patch, one more after than before where they are odd."""
    missing = [max(0, size - edge) for edge, size in zip(shape, patch, strict=True)]
    return [(width // 2, width - width // 2) for width in missing]


def mirrored(run: Callable[[Array], Array], axes: Sequence[int]) -> Callable[[Array], Array]:
    """The mean over the patch as it is and mirrored along every combination of axes: nnU-Net's test-time augmentation.

    Args:
        run: patch (a, b, c) -> one number a voxel, in its shape.
        axes: of the patch, 0 to 2.

    Returns:
        as `run`, the mean of its answers.
    """
    ways = [way for count in range(len(axes) + 1) for way in combinations(axes, count)]

    def mean(patch: Array) -> Array:
        total = np.zeros(patch.shape, dtype=np.float32)
        for way in ways:
            total += np.flip(run(np.ascontiguousarray(np.flip(patch, way))), way)
        return total / np.float32(len(ways))

    return mean


def slide(volume: Array, run: Callable[[Array], Array], *, weights: Array, step: float) -> Array:
    """The weighted mean of what overlapping patches say of each voxel.

    Args:
        volume: (a, b, c), padded with 0 where it is smaller than the patch.
        run: patch -> one number a voxel.
        weights: of a patch's voxels, in its shape.
        step: of a patch, from one to the next at most.

    Returns:
        (a, b, c) float32.
    """
    patch = weights.shape
    around = padding(volume.shape, patch)
    inside = tuple(slice(before, before + edge) for (before, _), edge in zip(around, volume.shape, strict=True))
    volume = np.pad(volume, around) if any(map(any, around)) else volume
    total, weight = np.zeros(volume.shape, dtype=np.float32), np.zeros(volume.shape, dtype=np.float32)
    for corner in product(*steps(volume.shape, patch, step)):
        here = tuple(slice(start, start + size) for start, size in zip(corner, patch, strict=True))
        total[here] += run(np.ascontiguousarray(volume[here])) * weights
        weight[here] += weights
    total /= weight
    return total[inside]
