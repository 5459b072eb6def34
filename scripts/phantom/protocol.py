"""The two protocols of Zhao et al. 2026 and their grids: oblique, different for FLAIR and T2w, voxel axes L, P, S."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.phantom.head import Float64
from scripts.phantom.mri import FLAIR, T2W, Sequence
from scripts.phantom.pose import rotation

THICKNESS_MM, SPACING_MM = 5.0, 6.0  # 1 mm gap


@dataclass(frozen=True)
class Protocol:
    """A sequence and its grid.

    Attributes:
        suffix: BIDS suffix.
        sequence: timing.
        pixel_mm: edge of an image pixel.
        shape: columns (left-right), rows (front-back), slices.
        acquired_mm: edge of a pixel as acquired, before zero filling.
    """

    suffix: str
    sequence: Sequence
    pixel_mm: float
    shape: tuple[int, int, int]
    acquired_mm: float


PROTOCOLS = (
    Protocol("FLAIR", FLAIR, 0.7, (278, 328, 26), 0.85),  # 194 x 230 mm
    Protocol("T2w", T2W, 0.6, (416, 430, 27), 0.70),  # 250 x 258 mm
)


def draw_affine(rng: np.random.Generator, protocol: Protocol) -> Float64:
    """Voxel to scanner mm: axial, tilted back as planned on the corpus callosum, a few mm and degrees off every time."""
    angles = np.radians(np.array([-8.0, 0.0, 0.0]) + np.array([3.0, 1.0, 1.5]) * rng.standard_normal(3))
    axes = rotation(angles) @ np.diag([-protocol.pixel_mm, -protocol.pixel_mm, SPACING_MM])
    centre = np.array([1.0, 2.0, 1.5]) * rng.standard_normal(3)
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = centre - axes @ ((np.array(protocol.shape) - 1) / 2)
    return affine
