"""Vessels: flowing blood leaves no signal in spin-echo images, so arteries, sinus and pial vessels are dark.

Large arteries follow fixed paths in coordinates scaled to the ICBM152 brain; the sagittal sinus runs in the midline just
outside the brain; pial vessels are a fixed random pattern in the sulci. Their courses are assumptions.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.phantom.head import Float32

# Points (x, y, z) in mm and radius in mm; those with x > 0 stand for both sides.
ARTERIES: tuple[tuple[tuple[tuple[float, float, float], ...], float], ...] = (
    (((0, -26, -52), (0, -20, -36), (0, -15, -22)), 1.8),  # basilar
    (((3, -15, -20), (14, -20, -16), (22, -34, -8)), 1.1),  # posterior cerebral
    (
        ((12, 0, -30), (12, 4, -20), (22, 6, -18), (34, 4, -16), (42, -4, -6), (42, -22, 4)),
        1.4,
    ),  # carotid, middle cerebral
    (((8, 4, -19), (2, 18, -14), (2, 34, -4), (2, 38, 10), (2, 28, 24)), 1.1),  # anterior cerebral
)


def flow_voids(
    grid: tuple[Float32, Float32, Float32], csf: NDArray[np.uint8], outside: Float32, voxel_mm: float
) -> NDArray[np.uint8]:
    """Share of each voxel that flowing blood fills, (X, Y, Z) uint8 / 255.

    Args:
        grid: scaled coordinates of the voxels in mm, open grids.
        csf: share of fluid outside the ventricles, (X, Y, Z) uint8 / 255.
        outside: distance to the brain in mm, (X, Y, Z).
        voxel_mm: edge of a voxel.
    """
    x, y, z = grid
    noise = np.random.default_rng(152).standard_normal(csf.shape, np.float32)  # the same in every subject of this head
    noise = ndimage.gaussian_filter(noise, 1.0 / voxel_mm, truncate=2.5)
    pial = np.clip(noise / noise.std() - 1.3, 0, 1) * (csf > 60)
    sinus = np.clip((4.5 - np.hypot(x, outside - 3.0)) / 1.5, 0, 1) * (outside > 0) * (z > -25) * (y < 60)
    total = np.maximum(0.8 * pial, sinus)
    for path, radius in ARTERIES:
        for sides in (-1, 1):
            for start, stop in pairwise(path):
                _add_tube(total, grid, [(sides * p[0], p[1], p[2]) for p in (start, stop)], radius)
    return np.asarray(np.rint(255 * total), np.uint8)


def _add_tube(
    total: Float32, grid: tuple[Float32, Float32, Float32], ends: list[tuple[float, float, float]], radius: float
) -> None:
    """Draw a straight tube into `total`."""
    start, stop = (np.array(end, np.float32) for end in ends)
    box = []
    for axis, coordinate in enumerate(grid):
        low, high = sorted((start[axis], stop[axis]))
        near = np.nonzero((coordinate.ravel() > low - 5) & (coordinate.ravel() < high + 5))[0]
        if not near.size:
            return
        box.append(slice(near[0], near[-1] + 1))
    offsets = [grid[axis].ravel()[box[axis]] - start[axis] for axis in range(3)]
    x, y, z = offsets[0][:, None, None], offsets[1][None, :, None], offsets[2][None, None, :]
    along = stop - start
    part = np.clip((x * along[0] + y * along[1] + z * along[2]) / np.dot(along, along), 0, 1)
    away = np.sqrt((x - part * along[0]) ** 2 + (y - part * along[1]) ** 2 + (z - part * along[2]) ** 2)
    view = total[tuple(box)]
    np.maximum(view, np.clip((radius - away) / 0.8 + 0.5, 0, 1), out=view)
