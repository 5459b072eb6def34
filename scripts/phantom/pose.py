"""Pose: what makes one stored head into many: size by age, position, mirror image and a smooth elastic warp.

All of it is independent of outcome, sex and lesions; age alone shows in the size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from scripts.phantom.head import Float32, Float64

REACH = 135.0  # mm from the brain's centre that the warp covers


def linear_size(months: float) -> float:
    """Edge length of the brain at an age relative to the adult's: cube root of volume.

    The volume is 0.62 of the adult's at 6 months, 0.86 at 3 years and 0.96 at 6 years, after Knickmeyer 2008 and Lenroot 2006.
    """
    return float(np.cbrt(1 - 0.46 * np.exp(-months / 30)))


@dataclass(frozen=True)
class Pose:
    """From scanner coordinates (mm) to the head's own: rotation, size, mirror, smooth elastic warp.

    Attributes:
        matrix: (3, 3), scanner mm to head mm.
        offset: (3,), mm.
        warp: spline coefficients of the displacement on a control grid, (3, n, n, n) mm, spanning +-`REACH` mm.
        scale: mean size relative to the anatomy as stored.
    """

    matrix: Float64
    offset: Float64
    warp: Float32
    scale: float

    def to_head(self, points: Float64) -> Float64:
        """Map points of any shape (3, ...) in scanner mm to mm of the unwarped head."""
        flat = self.matrix @ points.reshape(3, -1) + self.offset[:, None]
        control = (flat + REACH) * ((self.warp.shape[1] - 1) / (2 * REACH))
        moved = [ndimage.map_coordinates(part, control, order=3, mode="nearest", prefilter=False) for part in self.warp]
        return np.asarray(flat + np.stack(moved)).reshape(points.shape)


def draw_pose(rng: np.random.Generator, months: float, reference_months: float, *, largest: float = np.inf) -> Pose:
    """A head's size by age, its small rotation, its shape: all independent of outcome, sex and lesions.

    Args:
        rng: the subject's stream.
        months: age at MRI.
        reference_months: age at which the anatomy has its size as stored.
        largest: volume that the brain may have, relative to the anatomy as stored; a larger one is shrunk to it.
    """
    scale = linear_size(months) / linear_size(reference_months) * (1 + 0.025 * rng.standard_normal())
    stretch = scale * (1 + 0.025 * rng.standard_normal(3))
    shrink = min(1.0, (largest / float(np.prod(stretch))) ** (1 / 3))
    scale, stretch = scale * shrink, stretch * shrink
    stretch[0] *= rng.choice([-1, 1])
    angles = np.radians(np.array([4.0, 2.5, 3.0]) * rng.standard_normal(3))
    turn = rotation(angles)
    matrix = np.diag(1 / stretch) @ turn.T
    offset = -matrix @ (np.array([2.5, 4.0, 4.0]) * rng.standard_normal(3))
    warp = 4.0 * rng.standard_normal((3, 9, 9, 9))  # of a cubic spline: 1.3 mm SD in each direction between the knots
    return Pose(matrix, offset, warp.astype(np.float32), float(scale))


def rotation(angles: Float64) -> Float64:
    """Rotation about x, then y, then z, in radians."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
