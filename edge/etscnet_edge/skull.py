"""Whether an image still shows a skull: a dark layer under a brighter rim, all around the head.

Rays go from the middle of axial planes outwards. Bone gives no signal: in a head, a ray meets scalp, then bone, then brain. In
an extracted image the brain comes first. Every length is a share of the head's own radius, so that a baby's head is measured as
an adult's, and every intensity a share of the brain's, so that noise in the background is no matter. Measured on heads and
brains: `benchmarks/skull.py`. numpy alone, for `etscnet_edge` has the same rule.
"""

from __future__ import annotations

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

RAYS = 72  # a plane, 5 degrees apart
PLANES = 12  # at most
BAND = (0.3, 0.8)  # planes this far below the highest, in radii: above the eyes
STEPS = 80  # a radius, about 1 mm each in an adult
RIM, REACH, DEEP = (
    10,
    22,
    (25, 45),
)  # steps inwards: where a scalp is brightest, where bone may follow, and what is brain
TISSUE = 0.1  # of the brightest: less is background or bone
MIN_PLANE = 0.1  # of the largest plane's area: fewer voxels are no plane of the head
MIN_RIM = 0.15  # of the brain's level: darker, and there is no scalp
MAX_BONE = 0.5  # of the rim: darker, and it is bone
SAMPLE = 100_000  # voxels, about, that a percentile is taken of
Array = NDArray[np.float32]


def skull_share(values: Array, affine: NDArray[np.floating]) -> float:
    """The share of rays that pass a dark layer under a brighter rim.

    Args:
        values: (x, y, z), the background near 0.
        affine: voxel -> RAS+ mm.

    Returns:
        0 to 1: near 1 in a head with its skull, near 0 in an extracted brain. NaN where too little tissue is there to tell.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    turn = nib.orientations.io_orientation(affine)
    upright = nib.orientations.apply_orientation(values, turn)  # a view, (right, front, up)
    spacing = spacing[np.argsort(turn[:, 0])]
    every = slice(None, None, max(1, round((values.size / SAMPLE) ** (1 / 3))))
    sample = values[every, every, every]
    sample = sample[sample > 0]
    if sample.size == 0:
        return float("nan")
    tissue = upright > TISSUE * np.percentile(sample, 95)
    areas = np.count_nonzero(tissue, axis=(0, 1))
    planes = np.flatnonzero(areas > MIN_PLANE * areas.max())
    radius = float(
        np.sqrt(areas.max() * spacing[0] * spacing[1] / np.pi)
    )  # mm, of the circle as large as the largest plane
    below = (planes[-1] - planes) * spacing[2] / radius
    planes = planes[(below >= BAND[0]) & (below <= BAND[1])]
    planes = planes[np.unique(np.linspace(0, planes.size - 1, PLANES).astype(int))] if planes.size else planes
    profiles = [_profiles(upright[..., plane], tissue[..., plane], radius / STEPS / spacing[:2]) for plane in planes]
    rays = np.concatenate([np.zeros((0, DEEP[1])), *profiles])  # (rays, steps inwards)
    return _share(rays) if len(rays) >= RAYS else float("nan")


def _profiles(plane: Array, tissue: NDArray[np.bool_], step: NDArray[np.floating]) -> Array:
    """(rays, steps inwards from the outermost tissue), each the mean of three neighbours: a sulcus is narrower, bone is not."""
    middle = np.argwhere(tissue).mean(axis=0)
    angles = np.arange(RAYS) * 2 * np.pi / RAYS
    away = np.arange(2 * STEPS)
    x, y = (
        np.rint(centre + np.outer(turned, away) * edge).astype(int)
        for centre, turned, edge in zip(middle, (np.cos(angles), np.sin(angles)), step, strict=True)
    )
    there = (x >= 0) & (y >= 0) & (x < plane.shape[0]) & (y < plane.shape[1])
    x, y = np.where(there, x, 0), np.where(there, y, 0)
    hit = tissue[x, y] & there
    outermost = hit.shape[1] - 1 - np.argmax(hit[:, ::-1], axis=1)
    whole = hit.any(axis=1) & (outermost >= DEEP[1] - 1)
    inwards = np.maximum(outermost[:, None] - np.arange(DEEP[1]), 0)  # (rays, steps)
    values = np.where(there, plane[x, y], 0)
    rays = np.where(whole[:, None], np.take_along_axis(values, inwards, axis=1), 0)
    near = [np.roll(rays, turn, axis=0) for turn in (-1, 0, 1)]
    count = np.sum([np.roll(whole, turn) for turn in (-1, 0, 1)], axis=0)
    mean: Array = np.sum(near, axis=0)[whole] / count[whole, None]
    return mean


def _share(rays: NDArray[np.floating]) -> float:
    level = float(np.median(rays[:, DEEP[0] :]))
    if level <= 0:
        return float("nan")
    rays = (rays[:, :-1] + rays[:, 1:]) / (2 * level)
    brightest = np.argmax(rays[:, :RIM], axis=1)
    rim = np.minimum(rays[np.arange(len(rays)), brightest], 1.0)
    under = np.where(np.arange(REACH) >= brightest[:, None], rays[:, :REACH], np.inf).min(axis=1)
    return float(np.mean((rim > MIN_RIM) & (under < MAX_BONE * rim)))
