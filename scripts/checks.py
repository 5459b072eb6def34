"""What a study's images must be before anything is computed from them, and what a brain-extracted one must be.

A case is a dictionary: "case" its name, and a MetaTensor (1, x, y, z) a modality, its affine voxel -> RAS+ mm. Units: mm, ml.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from scripts.brain_extraction.skull import MAX_SKULL_SHARE, skull_share
from scripts.errors import InputError

Case = Mapping[Hashable, Any]
VOXEL_MM = (0.2, 12.0)  # edges of a clinical head protocol's voxel, gap included
EXTENT_MM = (60.0, 400.0)  # a field of view that holds a child's or an adult's brain, and no more than a head coil sees
CENTRE_DISTANCE_MM = 40.0  # between the fields of view of two series of one session
MIN_SQUARENESS = 0.7  # a voxel's volume by the product of its edges: 1 at right angles, less where axes are slanted
BRAIN_ML = (250.0, 2200.0)  # from a newborn's brain to the largest adult's
# The range of 98 % of a brain's voxels by its largest value. Ten real images: 0.43 to 0.70, a synthetic study: 0.54 and 0.67,
# a mask: 0.
MIN_CONTRAST = 0.01
# Between two series of one shape, whole images. Two real pairs on one grid: 0.72 and 0.86, for both have the same background;
# within the brain alone -0.4 and -0.1. An image and its copy at another scale: 1.
MAX_CORRELATION = 0.9999
SAMPLE = 100_000  # voxels, about, at most: enough for a percentile or a correlation


def fault(data: Case, key: str, found: str, expected: str, remedy: str) -> InputError:
    """What is wrong with an image of a case, with its file."""
    image = data[key]
    file = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    return InputError(f"{key}: {found}", expected=expected, remedy=remedy, case=str(data["case"]), file=file)


def check_finite(data: Case, key: str) -> None:
    """Refuse voxels that are NaN or infinite.

    Raises:
        InputError: there are some.
    """
    values = data[key].as_tensor()
    bad = values.numel() - int(torch.isfinite(values).sum())
    if bad:
        remedy = "Convert the series again, or repair the image."
        raise fault(data, key, f"{bad} voxels are NaN or infinite", "finite intensities", remedy)


def check_values(data: Case, key: str) -> None:
    """Refuse an image without a signal.

    Raises:
        InputError: as `check_finite`, a constant image, or none above 0.
    """
    check_finite(data, key)
    values = data[key].as_tensor()
    low, high = float(values.min()), float(values.max())
    if low == high or high <= 0:
        remedy = "Check the export: the image holds nothing."
        raise fault(
            data, key, f"all intensities lie between {low:g} and {high:g}", "an image with a positive signal", remedy
        )


def check_geometry(data: Case, key: str) -> None:
    """Refuse voxels and fields of view that hold no head.

    Raises:
        InputError: an affine that is no place in space, slanted axes, edges of voxels or of the whole outside the limits, in mm.
    """
    affine = data[key].affine.numpy().astype(float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    edges = np.prod(spacing)
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > MIN_SQUARENESS * edges > 0:
        remedy = "Convert the series again; its position in the scanner is lost."
        found = f"the affine {affine[:3].tolist()} is no position in space"
        raise fault(data, key, found, "finite axes at right angles", remedy)
    extent = spacing * data[key].shape[1:]
    unit = "Check that this is a head, and that the header's unit is millimetres."
    if spacing.min() < VOXEL_MM[0] or spacing.max() > VOXEL_MM[1]:
        found = f"voxels of {_by(spacing)} mm"
        raise fault(data, key, found, f"edges between {VOXEL_MM[0]} and {VOXEL_MM[1]} mm", unit)
    if extent.min() < EXTENT_MM[0] or extent.max() > EXTENT_MM[1]:
        found = f"a field of view of {_by(extent)} mm"
        raise fault(data, key, found, f"edges between {EXTENT_MM[0]:g} and {EXTENT_MM[1]:g} mm", unit)


def check_pair(data: Case, first: str, second: str) -> None:
    """Refuse two images that lie apart in space, or are one.

    Raises:
        InputError: centres too many mm apart, or voxels that are equal but for their scale.
    """
    one, other = data[first], data[second]
    distance = float(np.linalg.norm(_centre(one) - _centre(other)))
    if distance > CENTRE_DISTANCE_MM:
        found = f"its centre lies {distance:.0f} mm from that of {first}"
        remedy = "Check that both series are of one child and one session."
        raise fault(data, second, found, f"at most {CENTRE_DISTANCE_MM:g} mm", remedy)
    if one.shape == other.shape:
        every = _every(one[0].numel())
        mine, theirs = (image[0].numpy()[every].ravel().astype(np.float64) for image in (one, other))
        with np.errstate(invalid="ignore", divide="ignore"):  # no correlation where one is constant
            alike = float(np.corrcoef(mine, theirs)[0, 1])
        if abs(alike) > MAX_CORRELATION:
            found = f"its voxels equal {first}'s but for their scale (correlation {alike:.6f})"
            expected = f"two series, correlated by {MAX_CORRELATION:g} at most"
            raise fault(data, second, found, expected, f"Give the {second} file.")


def _every(voxels: int) -> tuple[slice, slice, slice]:
    """Along each axis the same step, so that about `SAMPLE` of the voxels are taken at most."""
    step = slice(None, None, max(1, math.ceil((voxels / SAMPLE) ** (1 / 3))))
    return step, step, step


def _centre(image: MetaTensor) -> np.ndarray:
    middle = (np.array(image.shape[1:]) - 1) / 2
    world: np.ndarray = image.affine.numpy()[:3] @ np.append(middle, 1.0)
    return world


def _by(edges: np.ndarray) -> str:
    return " x ".join(f"{edge:.4g}" for edge in edges)


def check_brain(case: Case, key: str, method: str) -> None:
    """Refuse what is left after brain extraction where it is no brain: its size, its contrast, a skull.

    Raises:
        InputError: too few or too many ml, values that hardly differ, or a bright rim around a dark layer.
    """
    image, values = case[key], case[key][0].numpy()
    affine = image.affine.numpy().astype(float)
    voxel_ml = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    voxels = int((image.as_tensor() > 0).sum())
    remedy = "Extract the brain: --brain_extraction hd-bet or bet, or mask with masks of your own."
    remedy = "Check the mask." if method != "none" else remedy
    if not BRAIN_ML[0] <= voxels * voxel_ml <= BRAIN_ML[1]:
        expected = f"between {BRAIN_ML[0]:g} and {BRAIN_ML[1]:g} ml"
        raise fault(case, key, f"the brain-extracted image fills {voxels * voxel_ml:.0f} ml", expected, remedy)
    sample, largest = values[_every(voxels)], float(values.max())
    brain = sample[sample > 0]
    low, high = map(float, np.percentile(brain, (1, 99))) if brain.size else (largest, largest)
    if not high - low >= MIN_CONTRAST * largest:
        found = f"the brain has no contrast: 98 % of its voxels lie between {low:g} and {high:g}, the largest is {largest:g}"
        expected = f"a range of at least {MIN_CONTRAST:g} of the largest"
        raise fault(case, key, found, expected, "Check that this is no mask, and that no voxel is out of range.")
    share = skull_share(values, affine)
    if not share <= MAX_SKULL_SHARE:
        found = f"the image shows a skull: {share:.0%} of the rays from its middle pass a dark layer under a bright rim"
        raise fault(case, key, found, f"a brain alone, {MAX_SKULL_SHARE:.0%} at most", remedy)
