"""Connected parts of a 3-D mask (by faces), in numpy alone: runs along the last axis, joined where they touch.

nnU-Net and scipy.ndimage.label count the same parts; scipy is not needed for that here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Integers = NDArray[np.intp]


def parts(mask: Mask) -> tuple[NDArray[np.int32], Integers]:
    """Number the parts.

    Args:
        mask: (a, b, c).

    Returns:
        (a, b, c) int32, 0 outside, parts from 1 on by falling size; their voxels.
    """
    lines = np.ascontiguousarray(mask).reshape(-1, mask.shape[2])
    line, begin, end = _runs(lines)
    labels = np.zeros(mask.shape, dtype=np.int32)
    if not line.size:
        return labels, np.zeros(0, dtype=np.intp)
    rows = mask.shape[1]
    below = _touching(line, begin, end, shift=rows)
    beside = _touching(line, begin, end, shift=1)
    same_plane = line[beside[0]] // rows == line[beside[1]] // rows
    pairs = np.concatenate([below, beside[:, same_plane]], axis=1)
    root = _joined(line.size, pairs)
    _, number = np.unique(root, return_inverse=True)
    voxels = np.bincount(number, weights=end - begin).astype(np.intp)
    order = np.argsort(-voxels, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(1, order.size + 1)
    # A run is a rise at its first voxel and a fall behind its last: their running sum fills it.
    change = np.zeros((lines.shape[0], lines.shape[1] + 1), dtype=np.int32)
    np.add.at(change, (line, begin), rank[number])
    np.add.at(change, (line, end), -rank[number])
    labels[...] = np.cumsum(change, axis=1)[:, :-1].reshape(mask.shape)
    return labels, voxels[order]


def filled(mask: Mask) -> Mask:
    """The mask with its holes: what is outside is joined to the volume's border by faces."""
    labels, _ = parts(~mask)
    border = np.unique(np.concatenate([labels.take((0, -1), axis).ravel() for axis in range(3)]))
    outside = np.zeros(int(labels.max()) + 1, dtype=bool)
    outside[border] = True
    outside[0] = False
    return ~outside[labels]


def _runs(lines: Mask) -> tuple[Integers, Integers, Integers]:
    """The line, the first voxel and the one behind the last of every run, line by line."""
    edges = np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    line, begin = np.nonzero(edges == 1)
    _, end = np.nonzero(edges == -1)
    return line, begin, end


def _touching(line: Integers, begin: Integers, end: Integers, *, shift: int) -> Integers:
    """(2, n) pairs of runs that overlap, the second `shift` lines further on."""
    stride = int(end.max()) + 1
    # Of the runs of that line: from the first one that ends behind our begin to the last that begins before our end.
    first = np.searchsorted(line * stride + end, (line + shift) * stride + begin, side="right")
    last = np.searchsorted(line * stride + begin, (line + shift) * stride + end, side="left")
    count = np.maximum(last - first, 0)
    ours = np.repeat(np.arange(line.size), count)
    offset = np.arange(ours.size) - np.repeat(np.cumsum(count) - count, count)
    theirs = np.repeat(first, count) + offset
    return np.stack([ours, theirs])


def _joined(count: int, pairs: Integers) -> Integers:
    """(count,) the least number of each one's group: the lesser root of every pair is handed on until nothing changes."""
    root = np.arange(count)
    while pairs.size:
        low = np.minimum(root[pairs[0]], root[pairs[1]])
        np.minimum.at(root, root[pairs[0]], low)
        np.minimum.at(root, root[pairs[1]], low)
        while not np.array_equal(shorter := root[root], root):
            root = shorter
        pairs = pairs[:, root[pairs[0]] != root[pairs[1]]]
    return root
