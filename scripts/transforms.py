"""The dictionary transforms that MONAI lacks: reading with a clear word on every fault, checks, brain extraction, fused scores.

A case is a dictionary: "case" its name, one path a modality ("flair", "t2w"), for brain masks "flair_mask", "t2w_mask". After
reading, a modality holds a MetaTensor (1, x, y, z) with its affine (voxel -> RAS+ millimetres). Units: mm, ml.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation, Transform

from scripts.errors import InputError
from scripts.network import ETSCNet
from scripts.nifti import read_nifti

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


class LoadStudyd(MapTransform):
    """Read every modality's NIfTI file to a MetaTensor (1, x, y, z) float32, slope and intercept applied.

    Raises:
        InputError: a modality is missing, its file doesn't exist or equals another's, or `read_nifti` refuses it.
    """

    def __call__(self, data: Case) -> dict[Hashable, Any]:
        case = dict(data)
        paths = {str(key): _existing_file(case, str(key)) for key in self.keys}
        _refuse_identical(str(case["case"]), paths)
        return {**case, **{key: read_nifti(path, case=str(case["case"])) for key, path in paths.items()}}


def _existing_file(case: Case, key: str) -> Path:
    path = case.get(key)
    if path and Path(path).is_file():
        return Path(path)
    if path and Path(path).exists():
        found = f"the {key} path is a folder"
    else:
        found = f"there is no {key} file" if path else f"no {key} file is given"
    remedy = f"Give the {key} file, or leave the case out."
    raise InputError(found, expected="a NIfTI file", remedy=remedy, case=str(case["case"]), file=path)


def _refuse_identical(name: str, paths: Mapping[str, Path]) -> None:
    """Two modalities from one file, or from two files with the same bytes, are a mix-up."""
    for (first, one), (second, other) in combinations(paths.items(), 2):
        same = one.samefile(other) or (one.stat().st_size == other.stat().st_size and _digest(one) == _digest(other))
        if same:
            raise InputError(
                f"{first} and {second} are the same image ({one.name}, {other.name})",
                expected=f"the {first} and the {second} series of one child",
                remedy=f"Give the {second} file in place of the copy.",
                case=name,
                file=other,
            )


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class CheckStudyd(MapTransform):
    """Refuse what can't be a pair of head images, before anything is computed from it. The images pass unchanged.

    Raises:
        InputError: values that are not finite, a constant or empty image, a voxel size or field of view that holds no head,
            modalities whose fields of view lie apart in world space, or whose voxels are equal but for their scale.
    """

    def __call__(self, data: Case) -> Case:
        for key in self.keys:
            _check_values(data, str(key))
            _check_geometry(data, str(key))
        for first, second in combinations(map(str, self.keys), 2):
            _check_pair(data, first, second)
        return data


def _fault(data: Case, key: str, found: str, expected: str, remedy: str) -> InputError:
    image = data[key]
    file = image.meta.get("filename_or_obj") if isinstance(image, MetaTensor) else None
    return InputError(f"{key}: {found}", expected=expected, remedy=remedy, case=str(data["case"]), file=file)


def _check_finite(data: Case, key: str) -> None:
    values = data[key].as_tensor()
    bad = values.numel() - int(torch.isfinite(values).sum())
    if bad:
        remedy = "Convert the series again, or repair the image."
        raise _fault(data, key, f"{bad} voxels are NaN or infinite", "finite intensities", remedy)


def _check_values(data: Case, key: str) -> None:
    _check_finite(data, key)
    values = data[key].as_tensor()
    low, high = float(values.min()), float(values.max())
    if low == high or high <= 0:
        remedy = "Check the export: the image holds nothing."
        raise _fault(
            data, key, f"all intensities lie between {low:g} and {high:g}", "an image with a positive signal", remedy
        )


def _check_geometry(data: Case, key: str) -> None:
    affine = data[key].affine.numpy().astype(float)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    edges = np.prod(spacing)
    if not np.isfinite(affine).all() or not abs(np.linalg.det(affine[:3, :3])) > MIN_SQUARENESS * edges > 0:
        remedy = "Convert the series again; its position in the scanner is lost."
        found = f"the affine {affine[:3].tolist()} is no position in space"
        raise _fault(data, key, found, "finite axes at right angles", remedy)
    extent = spacing * data[key].shape[1:]
    unit = "Check that this is a head, and that the header's unit is millimetres."
    if spacing.min() < VOXEL_MM[0] or spacing.max() > VOXEL_MM[1]:
        found = f"voxels of {_by(spacing)} mm"
        raise _fault(data, key, found, f"edges between {VOXEL_MM[0]} and {VOXEL_MM[1]} mm", unit)
    if extent.min() < EXTENT_MM[0] or extent.max() > EXTENT_MM[1]:
        found = f"a field of view of {_by(extent)} mm"
        raise _fault(data, key, found, f"edges between {EXTENT_MM[0]:g} and {EXTENT_MM[1]:g} mm", unit)


def _check_pair(data: Case, first: str, second: str) -> None:
    one, other = data[first], data[second]
    distance = float(np.linalg.norm(_centre(one) - _centre(other)))
    if distance > CENTRE_DISTANCE_MM:
        found = f"its centre lies {distance:.0f} mm from that of {first}"
        remedy = "Check that both series are of one child and one session."
        raise _fault(data, second, found, f"at most {CENTRE_DISTANCE_MM:g} mm", remedy)
    if one.shape == other.shape:
        every = _every(one[0].numel())
        mine, theirs = (image[0].numpy()[every].ravel().astype(np.float64) for image in (one, other))
        with np.errstate(invalid="ignore", divide="ignore"):  # no correlation where one is constant
            alike = float(np.corrcoef(mine, theirs)[0, 1])
        if abs(alike) > MAX_CORRELATION:
            found = f"its voxels equal {first}'s but for their scale (correlation {alike:.6f})"
            expected = f"two series, correlated by {MAX_CORRELATION:g} at most"
            raise _fault(data, second, found, expected, f"Give the {second} file.")


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


class BrainExtractiond(MapTransform):
    """Set everything but the brain to 0, by one of the `METHODS`:

    "none": the images are brain-extracted already. An image whose tissue fills more than a brain is refused: it has a skull.
    "mask": by the mask file of each modality, `<modality>_mask` in the case, on that image's own grid.

    A case overrides the method by an entry "brain_extraction" of its own.

    Raises:
        InputError: an unknown method, no mask, a mask on another grid or with voxels that are not finite, or a brain of no human
            size or without contrast.
    """

    METHODS = ("none", "mask")

    def __init__(self, keys: Sequence[str], method: str) -> None:
        super().__init__(keys)
        self.method = self._known(method)

    def __call__(self, data: Case) -> dict[Hashable, Any]:
        case = dict(data)
        method = self._known(str(case.get("brain_extraction") or self.method), case=str(case["case"]))
        for key in map(str, self.keys):
            if method == "mask":
                case[key] = case[key] * self._mask(case, key)
            _check_brain(case, key, method)
        return case

    def _known(self, method: str, *, case: str | None = None) -> str:
        if method not in self.METHODS:
            expected = f"one of {', '.join(self.METHODS)}"
            raise InputError(f"brain_extraction is {method!r}", expected=expected, remedy="Correct it.", case=case)
        return method

    def _mask(self, case: Case, key: str) -> torch.Tensor:
        image, name = case[key], f"{key}_mask"
        mask = read_nifti(_existing_file(case, name), case=str(case["case"]))
        _check_geometry({**case, name: mask}, name)
        mask = Orientation(axcodes="".join(nib.aff2axcodes(image.affine.numpy())), labels=None)(mask)  # type: ignore[assignment]
        if mask.shape != image.shape or not np.allclose(mask.affine, image.affine, atol=1e-2):
            found = f"its grid is {tuple(mask.shape[1:])} with affine {mask.affine[:3].tolist()}"
            expected = f"the image's, {tuple(image.shape[1:])} with affine {image.affine[:3].tolist()}"
            raise _fault(
                {**case, name: mask}, name, found, expected, "Resample the mask to its image (nearest neighbour)."
            )
        _check_finite({**case, name: mask}, name)
        return (mask.as_tensor() > 0).to(torch.float32)


def _check_brain(case: Case, key: str, method: str) -> None:
    image, values = case[key], case[key][0].numpy()
    voxel_ml = abs(float(np.linalg.det(image.affine.numpy()[:3, :3]))) / 1000
    voxels = int((image.as_tensor() > 0).sum())
    if not BRAIN_ML[0] <= voxels * voxel_ml <= BRAIN_ML[1]:
        remedy = (
            "Check the mask." if method == "mask" else 'Extract the brain, or give masks and --brain_extraction "mask".'
        )
        expected = f"between {BRAIN_ML[0]:g} and {BRAIN_ML[1]:g} ml"
        raise _fault(case, key, f"the brain-extracted image fills {voxels * voxel_ml:.0f} ml", expected, remedy)
    sample, largest = values[_every(voxels)], float(values.max())
    brain = sample[sample > 0]
    low, high = map(float, np.percentile(brain, (1, 99))) if brain.size else (largest, largest)
    if not high - low >= MIN_CONTRAST * largest:
        found = f"the brain has no contrast: 98 % of its voxels lie between {low:g} and {high:g}, the largest is {largest:g}"
        expected = f"a range of at least {MIN_CONTRAST:g} of the largest"
        raise _fault(case, key, found, expected, "Check that this is no mask, and that no voxel is out of range.")


class FuseScoresd(Transform):
    """Replace a case's logits (M,) under "pred" by the fused score (1,), and add its branches' scores (M,) as "branch_scores"."""

    def __init__(self, network: ETSCNet) -> None:
        self.network = network

    def __call__(self, data: Case) -> dict[Hashable, Any]:
        logits = data["pred"].as_tensor() if isinstance(data["pred"], MetaTensor) else data["pred"]
        fused = self.network.fuse(logits[None])[0]
        return {**data, "pred": fused, "branch_scores": torch.sigmoid(logits)}
