"""Another scanner's look of a synthetic image: voxel size, contrast, coil shading, noise, in the order in which they arise.

Arrays are (x, y, z), spacing in mm, affines voxel -> RAS+ mm. Intensities keep the scale of the image that came in. What is
assumed: a contrast that differs by a power law (gamma), a shading that is the exponential of a smooth quadratic, and noise of
a magnitude image (Rician; Gudbjartsson H, Patz S, Magn Reson Med 1995;34:910).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
LARGEST = 4095  # what a scanner stores: 12 bits


@dataclass(frozen=True)
class Scanner:
    """What a site's images look like.

    Attributes:
        spacing_mm: edges of a voxel; 0 keeps that of the image.
        gamma: intensities of the head, as shares of its 99th percentile, are raised to this power; 1 keeps the contrast.
        shading: the brightest place by the darkest is about exp(2 * shading); 0 has none.
        noise: SD of each of the two channels by the 99th percentile; 0 adds none.
    """

    spacing_mm: tuple[float, float, float]
    gamma: float
    shading: float
    noise: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def rescan(
    image: NDArray[Any], affine: Floats, scanner: Scanner, *, rng: np.random.Generator
) -> tuple[NDArray[np.uint16], Floats]:
    """The image as the scanner would have given it, with its affine.

    Args:
        image: (x, y, z), 0 or more.
        affine: (4, 4).
        scanner: of the site.
        rng: for shading and noise.
    """
    values, grid = resampled(image.astype(np.float64), affine, scanner.spacing_mm)
    unit = float(np.percentile(values[values > 0], 99))
    values = unit * np.clip(values / unit, 0, None) ** scanner.gamma
    values *= np.exp(scanner.shading * _smooth_field(values.shape, rng))
    real, imaginary = (scanner.noise * unit * rng.standard_normal(values.shape) for _ in range(2))
    values = np.hypot(values + real, imaginary)
    return np.clip(np.rint(values), 0, LARGEST).astype(np.uint16), grid


def resampled(
    image: NDArray[Any], affine: Floats, spacing_mm: tuple[float, float, float], *, labels: bool = False
) -> tuple[NDArray[Any], Floats]:
    """The image on voxels of another size over the same field of view, whose centre stays where it is.

    Args:
        image: (x, y, z).
        affine: (4, 4).
        spacing_mm: wanted edges; 0 keeps an axis.
        labels: nearest neighbours; else linear, after a Gaussian where voxels grow.

    Returns:
        the image and its affine.
    """
    old = np.linalg.norm(affine[:3, :3], axis=0)
    wanted = np.array([edge or own for edge, own in zip(spacing_mm, old, strict=True)])
    step = wanted / old  # in old voxels
    shape = tuple(max(1, round(float(size))) for size in np.array(image.shape) / step)
    if not labels:
        image = ndimage.gaussian_filter(image, 0.4 * np.sqrt(np.maximum(step**2 - 1, 0)))
    first = (np.array(image.shape) - 1) / 2 - step * (np.array(shape) - 1) / 2
    values = ndimage.affine_transform(image, step, offset=first, output_shape=shape, order=0 if labels else 1)
    grid = affine.copy()
    grid[:3, :3] = affine[:3, :3] * step
    grid[:3, 3] = affine[:3, :3] @ first + affine[:3, 3]
    return values, grid


def _smooth_field(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """A quadratic over the field of view, from -1 to 1."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij", sparse=True)
    terms = (x, y, z, x * x, y * y, z * z, x * y, y * z, x * z)
    field = np.zeros(shape)
    for weight, term in zip(rng.standard_normal(len(terms)), terms, strict=True):
        field = field + weight * term
    low, high = float(field.min()), float(field.max())
    return 2 * (field - low) / (high - low) - 1
