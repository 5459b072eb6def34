"""A study's volumes, read and checked: what can't be a pair of head images is refused before anything is computed from it.

The limits are the bundle's own, from the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError
from etscnet_edge.nifti import MAX_HEADER, Limits, Volume, forwards, read_volume
from etscnet_edge.skull import skull_share
from etscnet_edge.source import Source, open_source

Mask = NDArray[np.bool_]
Extract = Callable[[Mapping[str, Volume]], tuple[dict[str, Mask], dict[str, Any]]]
SAMPLE = 100_000  # voxels, about, at most: enough for a percentile or a correlation


@dataclass(frozen=True)
class Study:
    """What was read.

    Attributes:
        volumes: modality -> image.
        masks: modality -> brain mask (x, y, z) on its image's grid; empty where the images are brain-extracted.
        sources: modality, or "<modality>_mask" -> file.
        brain_extraction: how the brains were found: "method" ("none", "mask", "network"), "images": modality -> "mask_ml", and
            what `brain_extraction.extract_study` says.
    """

    volumes: dict[str, Volume]
    masks: dict[str, Mask]
    sources: dict[str, Source]
    brain_extraction: dict[str, Any]


def read_study(
    images: Mapping[str, str | Path | Source],
    masks: Mapping[str, str | Path | Source],
    *,
    orientation: str,
    limits: Limits,
    extract: Extract | None = None,
) -> Study:
    """Read and check every modality, each in a thread of its own.

    Args:
        images: modality -> NIfTI file.
        masks: modality -> brain mask on its image's grid; none where the images are brain-extracted.
        orientation: of the arrays.
        limits: see Manifest.limits.
        extract: finds the brains of images that have their skull, and says how; None where masks are given or none are needed.

    Raises:
        InputError: a file that is at fault, the same image twice, values that are not finite, an empty or constant image, a voxel
            size or field of view that holds no head, a mask on another grid, a brain of no human size or without contrast, an
            image that shows a skull, or modalities that lie apart in space.
    """
    files = {**images, **{f"{name}_mask": mask for name, mask in masks.items()}}
    max_bytes = MAX_HEADER + 8 * limits["max_voxels"]
    sources = {name: open_source(file, max_bytes=max_bytes) for name, file in files.items()}
    _refuse_identical({name: sources[name] for name in images})

    def read(name: str) -> tuple[Volume, Mask | None]:
        volume = read_volume(sources[name], orientation=orientation, limits=limits)
        _check_values(name, volume)
        _check_geometry(name, volume, limits)
        mask = None
        if name in masks:
            mask = _read_mask(sources[f"{name}_mask"], volume, orientation=orientation, limits=limits)
        if extract is None:
            _check_brain(name, volume, mask, limits=limits)
        return volume, mask

    with ThreadPoolExecutor(len(images)) as pool:
        found = dict(zip(images, pool.map(read, images), strict=True))
    volumes = {name: volume for name, (volume, _) in found.items()}
    for first, second in combinations(volumes, 2):
        _check_pair(first, volumes[first], second, volumes[second], limits)
    brains = {name: mask for name, (_, mask) in found.items() if mask is not None}
    if extract is not None:
        brains, said = extract(volumes)
        for name, volume in volumes.items():
            _check_brain(name, volume, brains[name], limits=limits)
    elif brains:
        millilitres = {name: _millilitres(mask, volumes[name]) for name, mask in brains.items()}
        said = {"method": "mask", "images": {name: {"mask_ml": round(ml, 1)} for name, ml in millilitres.items()}}
    else:
        said = {"method": "none"}
    return Study(volumes, brains, sources, said)


def _read_mask(source: Source, volume: Volume, *, orientation: str, limits: Limits) -> Mask:
    mask = read_volume(source, orientation=orientation, limits=limits)
    if mask.stored.shape != volume.stored.shape or not np.allclose(mask.affine, volume.affine, atol=1e-2):
        raise InputError(
            f"its grid is {mask.stored.shape} with affine {mask.affine[:3].tolist()}",
            expected=f"the image's, {volume.stored.shape} with affine {volume.affine[:3].tolist()}",
            remedy="Resample the mask to its image (nearest neighbour).",
            file=mask.file,
        )
    _check_finite("", mask)
    turn = forwards(mask.stored)
    return (mask.values()[turn] > 0)[turn]


def _check_brain(name: str, volume: Volume, mask: Mask | None, *, limits: Limits) -> None:
    """Refuse a brain of no human size or without contrast, and an image that shows a skull."""
    turn = forwards(volume.stored)
    values = volume.values()[turn]
    inside = values > 0
    if mask is not None:
        inside &= mask[turn]
    voxels = int(np.count_nonzero(inside))
    millilitres = _millilitres(inside, volume)
    lowest, highest = limits["brain_ml"]
    remedy = f"Extract the brain (--brain_extraction network), or give its mask ({name}_mask)."
    remedy = "Check the mask." if mask is not None else remedy
    if not lowest <= millilitres <= highest:
        raise InputError(
            f"{name}: the brain-extracted image fills {millilitres:.0f} ml",
            expected=f"between {lowest:g} and {highest:g} ml",
            remedy=remedy,
            file=volume.file,
        )
    largest = float(values.max() if mask is None else values.max(where=inside, initial=0))
    every = _every(voxels)
    brain = values[turn][every][inside[turn][every]]
    low, high = map(float, np.percentile(brain, (1, 99))) if brain.size else (largest, largest)
    if not high - low >= limits["min_contrast"] * largest:
        raise InputError(
            f"{name}: the brain has no contrast: 98 % of its voxels lie between {low:g} and {high:g}, the largest is {largest:g}",
            expected=f"a range of at least {limits['min_contrast']:g} of the largest",
            remedy="Check that this is no mask, and that no voxel is out of range.",
            file=volume.file,
        )
    alone = values if mask is None else np.where(mask[turn], values, np.float32(0))
    share = skull_share(alone[turn], volume.affine)
    if not share <= limits["max_skull_share"]:
        raise InputError(
            f"{name}: the image shows a skull: {share:.0%} of the rays from its middle pass a dark layer under a bright rim",
            expected=f"a brain alone, {limits['max_skull_share']:.0%} at most",
            remedy=remedy,
            file=volume.file,
        )


def _millilitres(inside: Mask, volume: Volume) -> float:
    return int(np.count_nonzero(inside)) * abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000


def _every(voxels: int) -> tuple[slice, slice, slice]:
    """Along each axis the same step, so that about `SAMPLE` of the voxels are taken at most."""
    step = slice(None, None, max(1, math.ceil((voxels / SAMPLE) ** (1 / 3))))
    return step, step, step


def _refuse_identical(sources: Mapping[str, Source]) -> None:
    for (first, one), (second, other) in combinations(sources.items(), 2):
        if one.content == other.content:
            raise InputError(
                f"{first} and {second} are the same image ({one.short_name}, {other.short_name})",
                expected=f"the {first} and the {second} series of one child",
                remedy=f"Give the {second} file in place of the copy.",
                file=other.name,
            )


def _check_pair(first: str, one: Volume, second: str, other: Volume, limits: Limits) -> None:
    distance = float(np.linalg.norm(_centre(one) - _centre(other)))
    if distance > limits["centre_distance_mm"]:
        raise InputError(
            f"{second}: its centre lies {distance:.0f} mm from that of {first}",
            expected=f"at most {limits['centre_distance_mm']:g} mm",
            remedy="Check that both series are of one child and one session.",
            file=other.file,
        )
    if one.stored.shape == other.stored.shape:
        every = _every(one.stored.size)
        mine, theirs = (image.stored[every].ravel().astype(np.float64) for image in (one, other))
        with np.errstate(invalid="ignore", divide="ignore"):  # no correlation where one is constant
            alike = float(np.corrcoef(mine, theirs)[0, 1])
        if abs(alike) > limits["max_correlation"]:
            raise InputError(
                f"{second}: its voxels equal {first}'s but for their scale (correlation {alike:.6f})",
                expected=f"two series, correlated by {limits['max_correlation']:g} at most",
                remedy=f"Give the {second} file.",
                file=other.file,
            )


def _check_finite(name: str, volume: Volume) -> tuple[float, float]:
    """The range of the values."""
    low, high = volume.range()
    if not np.isfinite([low, high]).all():
        bad = volume.stored.size - int(np.count_nonzero(np.isfinite(volume.stored)))
        raise InputError(
            f"{name}{bad} voxels are NaN or infinite",
            expected="finite intensities",
            remedy="Convert the series again, or repair the image.",
            file=volume.file,
        )
    return low, high


def _check_values(name: str, volume: Volume) -> None:
    low, high = _check_finite(f"{name}: ", volume)
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
