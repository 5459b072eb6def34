"""A study's volumes, read and checked: what can't be a pair of head images is refused before anything is computed from it.

The limits are the bundle's own, from the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError
from etscnet_edge.manifest import sha256
from etscnet_edge.nifti import Limits, Volume, read_volume


def read_study(paths: Mapping[str, str | Path], *, orientation: str, limits: Limits) -> dict[str, Volume]:
    """Every modality's volume.

    Args:
        paths: modality -> NIfTI file.
        orientation: of the arrays.
        limits: see Manifest.limits.

    Raises:
        InputError: a file that is at fault, the same image twice, values that are not finite, an empty or constant image, a voxel
            size or field of view that holds no head, or modalities that lie apart in space.
    """
    _refuse_identical({name: Path(path) for name, path in paths.items()})
    study = {name: read_volume(path, orientation=orientation, limits=limits) for name, path in paths.items()}
    for name, volume in study.items():
        _check_values(name, volume)
        _check_geometry(name, volume, limits)
    for (first, one), (second, other) in combinations(study.items(), 2):
        distance = float(np.linalg.norm(_centre(one) - _centre(other)))
        if distance > limits["centre_distance_mm"]:
            raise InputError(
                f"{second}: its centre lies {distance:.0f} mm from that of {first}",
                expected=f"at most {limits['centre_distance_mm']:g} mm",
                remedy="Check that both series are of one child and one session.",
                file=other.file,
            )
        if _equal(one, other):
            raise InputError(
                f"{second}: every voxel equals {first}'s",
                expected="two series",
                remedy=f"Give the {second} file.",
                file=other.file,
            )
    return study


def read_mask(path: str | Path, volume: Volume, *, orientation: str, limits: Limits) -> NDArray[np.bool_]:
    """The brain mask of a volume, on its grid.

    Raises:
        InputError: a file that is at fault, or one on another grid.
    """
    mask = read_volume(path, orientation=orientation, limits=limits)
    if mask.stored.shape != volume.stored.shape or not np.allclose(mask.affine, volume.affine, atol=1e-2):
        raise InputError(
            f"its grid is {mask.stored.shape} with affine {mask.affine[:3].tolist()}",
            expected=f"the image's, {volume.stored.shape} with affine {volume.affine[:3].tolist()}",
            remedy="Resample the mask to its image (nearest neighbour).",
            file=mask.file,
        )
    inside: NDArray[np.bool_] = mask.stored * np.float32(mask.slope) + np.float32(mask.intercept) > 0
    return inside


def check_brain(name: str, volume: Volume, mask: NDArray[np.bool_] | None, *, limits: Limits) -> None:
    """Refuse a brain of no human size: without a mask, that is an image with its skull.

    Raises:
        InputError: the tissue fills less or more than a brain.
    """
    positive = volume.stored * np.float32(volume.slope) + np.float32(volume.intercept) > 0
    voxels = int(np.count_nonzero(positive if mask is None else positive & mask))
    millilitres = voxels * abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    lowest, highest = limits["brain_ml"]
    if not lowest <= millilitres <= highest:
        raise InputError(
            f"{name}: the brain-extracted image fills {millilitres:.0f} ml",
            expected=f"between {lowest:g} and {highest:g} ml",
            remedy="Check the mask." if mask is not None else f"Extract the brain, or give --{name}_mask.",
            file=volume.file,
        )


def _refuse_identical(paths: Mapping[str, Path]) -> None:
    for (first, one), (second, other) in combinations(paths.items(), 2):
        if not (one.is_file() and other.is_file()):
            continue  # the reader says it
        if one.samefile(other) or (one.stat().st_size == other.stat().st_size and sha256(one) == sha256(other)):
            raise InputError(
                f"{first} and {second} are the same image ({one.name}, {other.name})",
                expected=f"the {first} and the {second} series of one child",
                remedy=f"Give the {second} file in place of the copy.",
                file=other,
            )


def _check_values(name: str, volume: Volume) -> None:
    bad = volume.stored.size - int(np.count_nonzero(np.isfinite(volume.stored)))
    if bad:
        raise InputError(
            f"{name}: {bad} voxels are NaN or infinite",
            expected="finite intensities",
            remedy="Convert the series again, or repair the image.",
            file=volume.file,
        )
    low, high = volume.range()
    if low == high or high <= 0:
        raise InputError(
            f"{name}: all intensities lie between {low:g} and {high:g}",
            expected="an image with a positive signal",
            remedy="Check the export: the image holds nothing.",
            file=volume.file,
        )


def _check_geometry(name: str, volume: Volume, limits: Limits) -> None:
    spacing = volume.spacing
    for what, edges, key in (
        ("voxels", spacing, "voxel_mm"),
        ("a field of view", spacing * volume.stored.shape, "extent_mm"),
    ):
        lowest, highest = limits[key]
        if edges.min() < lowest or edges.max() > highest:
            raise InputError(
                f"{name}: {what} of {' x '.join(f'{edge:.4g}' for edge in edges)} mm",
                expected=f"edges between {lowest:g} and {highest:g} mm",
                remedy="Check that this is a head, and that the header's unit is millimetres.",
                file=volume.file,
            )


def _centre(volume: Volume) -> NDArray[np.float64]:
    middle = (np.array(volume.stored.shape) - 1) / 2
    world: NDArray[np.float64] = volume.affine[:3] @ np.append(middle, 1.0)
    return world


def _equal(one: Volume, other: Volume) -> bool:
    same = (one.slope, one.intercept) == (other.slope, other.intercept)
    return same and np.array_equal(one.stored, other.stored)
