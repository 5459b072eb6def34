"""An image for timing: what a brain-extracted, scaled study looks like to a processor, from a seed.

Zeros outside an ellipsoid, inside it smooth structure of several scales in [0, 1]: neither noise (whose activations are unlike
an image's) nor a constant. It is no patient's, and its score means nothing.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

SCALES = (4, 9, 24)  # grid points along an axis: lobes, gyri, texture


def seeded_image(channels: int, spatial_size: tuple[int, int, int], *, seed: int = 0) -> np.ndarray:
    """-> (1, channels, x, y, z) float32 in [0, 1], background 0; the largest value of every channel is 1."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1.15, 1.15, edge, dtype=np.float32) for edge in spatial_size), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 1
    image = np.zeros((1, channels, *spatial_size), dtype=np.float32)
    for channel in range(channels):
        for points in SCALES:
            grid = rng.random((points,) * 3, dtype=np.float32)
            zoom = [edge / points for edge in spatial_size]
            image[0, channel] += ndimage.zoom(grid, zoom, order=1, grid_mode=True, mode="nearest")
        image[0, channel] *= inside
        image[0, channel] /= image[0, channel].max()
    return image
