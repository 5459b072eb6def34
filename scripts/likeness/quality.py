"""What one modality of a case looks like in numbers: intensities of the prepared image, geometry of the original one.

Conventions: the prepared image (x, y, z) float32 in [0, 1], RAS, background 0; the brain is what lies above `INSIDE`, which is
more than rounding and less than tissue. All sums in float64. The edge package computes the same (`etscnet_edge.quality`). NumPy
and nibabel alone, no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError

INSIDE = 1e-3  # of the range of intensities
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q95": 0.95}
AXES = ("x", "y", "z")
Image = NDArray[np.float32]
Statistics = dict[str, float]


def case_statistics(image: Image, spacing: Sequence[float], matrix: Sequence[int]) -> Statistics:
    """Every statistic of one modality, by name.

    - `mean`, `sd`, `q05` to `q95` of the brain's intensities, of the range of the image;
    - `brain_share` of the grid;
    - `sharpness`: mean absolute difference of neighbours along x, y and z, averaged, by the SD: blur lowers it, noise raises it;
    - `noise`: the median absolute second difference along x by 0.6745 sqrt(6), the SD of white noise that would give it;
    - `tilt_x`, `tilt_y`, `tilt_z`: regression of the intensity on the position, a SD of position, by the mean: a bias field's;
    - `voxel_x_mm`, ..., `matrix_x`, ..., `fov_x_mm`, ... of the original grid;
    - `brain_grid_ml`: the brain's share of the prepared grid times the field of view. A voxel that the resize made of brain and
      background counts whole: 8 to 10 % above the brain mask's volume at 96 x 96 x 32 voxels of 6 mm slices.

    Args:
        image: (x, y, z), the prepared channel.
        spacing: (3,) mm, of the original voxels along x, y, z in RAS.
        matrix: (3,) original voxels along x, y, z in RAS.

    Raises:
        InputError: no voxel lies inside the brain.
    """
    inside = image > INSIDE
    if not inside.any():
        found, remedy = "the prepared image holds no brain", "Look at the images and the masks."
        raise InputError(found, expected=f"voxels above {INSIDE:g}", remedy=remedy)
    fov = [edge * voxel for edge, voxel in zip(matrix, spacing, strict=True)]
    share = float(inside.mean())
    box = tuple(_extent(inside, axis) for axis in range(3))  # less to go through
    image, inside = image[box], inside[box]
    distribution = _distribution(image[inside].astype(np.float64))
    return {
        **distribution,
        "brain_share": share,
        **_texture(image, inside, distribution["sd"]),
        **_tilts(image, inside),
        **{f"voxel_{axis}_mm": float(edge) for axis, edge in zip(AXES, spacing, strict=True)},
        **{f"matrix_{axis}": float(edge) for axis, edge in zip(AXES, matrix, strict=True)},
        **{f"fov_{axis}_mm": float(edge) for axis, edge in zip(AXES, fov, strict=True)},
        "brain_grid_ml": share * float(np.prod(fov)) / 1000,
    }


def ras_grid(file: str | Path) -> tuple[list[float], list[int]]:
    """A NIfTI file's grid by its header: voxel edges (3,) in mm and voxels (3,), along the axes nearest to x, y, z of RAS."""
    header: Any = nib.load(file).header
    affine, shape = header.get_best_affine(), header.get_data_shape()
    goes_to = nib.orientations.io_orientation(affine)[:, 0].astype(int)  # array axis -> RAS axis
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    spacing, matrix = [0.0] * 3, [0] * 3
    for axis, ras in enumerate(goes_to):
        spacing[ras], matrix[ras] = float(edges[axis]), int(shape[axis])
    return spacing, matrix


def _distribution(values: NDArray[np.float64]) -> Statistics:
    quantiles = np.quantile(values, list(QUANTILES.values()))
    named = {name: float(value) for name, value in zip(QUANTILES, quantiles, strict=True)}
    return {"mean": float(values.mean()), "sd": float(values.std()), **named}


def _texture(image: Image, inside: NDArray[np.bool_], spread: float) -> Statistics:
    steps = []
    for axis in range(3):
        first, second = _shifted(axis, None, -1), _shifted(axis, 1, None)
        pairs = inside[first] & inside[second]
        if pairs.any():
            steps.append(float(np.abs(image[second][pairs] - image[first][pairs]).mean(dtype=np.float64)))
    low, middle, high = _shifted(0, None, -2), _shifted(0, 1, -1), _shifted(0, 2, None)
    all_three = inside[low] & inside[middle] & inside[high]
    triples = np.abs(image[low][all_three] - 2 * image[middle][all_three] + image[high][all_three])
    return {
        "sharpness": float(np.mean(steps)) / spread if steps and spread > 0 else 0.0,
        "noise": float(np.median(triples)) / (0.6745 * 6**0.5) if triples.size else 0.0,
    }


def _tilts(image: Image, inside: NDArray[np.bool_]) -> Statistics:
    tilts = {}
    for axis, name in enumerate(AXES):
        others = tuple(other for other in range(3) if other != axis)
        counts = inside.sum(axis=others, dtype=np.float64)  # (edge,) brain voxels of each plane
        sums = image.sum(axis=others, dtype=np.float64, where=inside)
        position = np.arange(counts.size, dtype=np.float64)
        position -= (counts * position).sum() / counts.sum()
        spread = float(np.sqrt((counts * position**2).sum() / counts.sum()))
        covariance = float((sums * position).sum() / counts.sum())  # the positions' mean is 0
        mean = float(sums.sum() / counts.sum())
        tilts[f"tilt_{name}"] = covariance / (spread * mean) if spread > 0 else 0.0
    return tilts


def _extent(inside: NDArray[np.bool_], axis: int) -> slice:
    (planes,) = np.nonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
    return slice(int(planes[0]), int(planes[-1]) + 1)


def _shifted(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if number == axis else slice(None) for number in range(3))
