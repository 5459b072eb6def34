"""nnU-Net's resampling in numpy: splines of order 3 or 1, voxel centres at (i + 0.5) * n / N - 0.5, edges held, values clipped.

Where one axis has more than three times the voxel edge of another, nnU-Net resamples slice by slice and takes the nearest slice
along that axis. A spline's resize is linear and separable: each axis is one matrix, `spline_matrix`.
Source: nnunetv2 2.8.1, preprocessing/resampling/default_resampling.py; skimage.transform.resize; scipy.ndimage.zoom, whose
prefilter this repeats for mode "nearest" (12 voxels of padding, reflected ends). Checked against all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
PADDING = 12  # voxels: scipy's, before its prefilter


@dataclass(frozen=True)
class Resampling:
    """How one kind of volume is resampled.

    Attributes:
        order: of the spline, 3 or 1.
        separate: True: always slice by slice; False: never; None: by the voxels' edges.
        anisotropy: the ratio of edges from which on a volume is resampled slice by slice.
    """

    order: int
    separate: bool | None
    anisotropy: float


def new_shape(shape: Sequence[int], old: Sequence[float], new: Sequence[float]) -> tuple[int, ...]:
    """The shape at another spacing (mm); halves are rounded to even numbers, as Python does."""
    return tuple(round(was / will * edge) for was, will, edge in zip(old, new, shape, strict=True))


def slice_axis(how: Resampling, old: Sequence[float], new: Sequence[float]) -> int | None:
    """The axis along which slices are taken; None where the volume is resampled as a whole."""
    if how.separate is False:
        return None
    if how.separate or max(old) / min(old) > how.anisotropy:
        spacing = old
    elif max(new) / min(new) > how.anisotropy:
        spacing = new
    else:
        return None
    coarse = [axis for axis, edge in enumerate(spacing) if max(spacing) / edge == 1]
    return coarse[0] if len(coarse) == 1 else None


def resample(
    values: Array, shape: Sequence[int], *, how: Resampling, old: Sequence[float], new: Sequence[float]
) -> Array:
    """A volume on another grid of the same field.

    Args:
        values: (a, b, c).
        shape: of the result.
        how: order and slices.
        old, new: spacing before and after, mm, which decide on slices.
    """
    if tuple(shape) == values.shape:
        return values
    axis = slice_axis(how, old, new)
    if axis is None:
        return _resized(values, tuple(shape), how.order)
    slices = np.moveaxis(values, axis, 0)  # (n, rows, columns)
    plane = tuple(edge for number, edge in enumerate(shape) if number != axis)
    chosen = nearest(slices.shape[0], shape[axis])
    found = np.empty((shape[axis], *plane), dtype=np.float32)
    for number in np.unique(chosen):
        found[chosen == number] = _resized(slices[number], plane, how.order)
    return np.moveaxis(found, 0, axis)


def nearest(edge: int, new: int) -> NDArray[np.intp]:
    """(new,) indices of the nearest of `edge` slices, halves to the later one."""
    if edge == new:
        return np.arange(edge)
    at = edge / new * (np.arange(new) + 0.5) - 0.5
    chosen: NDArray[np.intp] = np.clip(np.floor(at + 0.5), 0, edge - 1).astype(np.intp)
    return chosen


def _resized(values: Array, shape: tuple[int, ...], order: int) -> Array:
    """All axes, the one that shrinks most first; within the range of the input."""
    found = values
    for axis in sorted(range(values.ndim), key=lambda axis: shape[axis] / values.shape[axis]):
        if shape[axis] == values.shape[axis]:  # the prefilter and the spline at the same places undo each other
            continue
        matrix = spline_matrix(values.shape[axis], shape[axis], order)
        found = np.moveaxis(np.tensordot(matrix, found, axes=([1], [axis])), 0, axis)
    if order > 1:
        found = np.clip(found, values.min(), values.max(), out=found if found is not values else None)
    return np.ascontiguousarray(found)


@lru_cache(maxsize=16)
def spline_matrix(edge: int, new: int, order: int) -> Array:
    """(new, edge): what an axis of `edge` voxels is multiplied by to have `new`."""
    at = (np.arange(new) + 0.5) * (edge / new) - 0.5
    if order == 1:
        at = np.clip(at, 0, edge - 1)
        lower = np.minimum(np.floor(at).astype(np.intp), max(edge - 2, 0))
        rows, matrix = np.arange(new), np.zeros((new, edge))
        matrix[rows, lower] += 1 - (at - lower)
        matrix[rows, np.minimum(lower + 1, edge - 1)] += at - lower
        return matrix.astype(np.float32)
    padded = edge + 2 * PADDING
    # B-spline coefficients c with (c[i-1] + 4 c[i] + c[i+1]) / 6 = value[i], the ends reflected: c[-1] = c[0].
    collocation = np.diag(np.full(padded, 4.0)) + np.eye(padded, k=1) + np.eye(padded, k=-1)
    collocation[0, 0] = collocation[-1, -1] = 5.0
    held = np.zeros((padded, edge))
    held[np.arange(padded), np.clip(np.arange(padded) - PADDING, 0, edge - 1)] = 6.0
    coefficients = np.linalg.solve(collocation, held)
    place = at + PADDING
    first = np.floor(place).astype(np.intp)
    t = place - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * ((1 - t) ** 3 - 2 * (1 - t) ** 2) + 4, t**3)
    matrix = sum(
        weight[:, None] / 6 * coefficients[first + step] for step, weight in zip((-1, 0, 1, 2), weights, strict=True)
    )
    return np.asarray(matrix, dtype=np.float32)
