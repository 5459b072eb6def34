"""A map on an image's own grid, and its files in a BIDS derivative: NIfTI, sidecar, the data set's description. No torch.

    dataset_description.json  .bidsignore
    sub-XX[/ses-Y]/anat/sub-XX[_ses-Y]_space-{FLAIR,T2w}_desc-gradcam_map.nii.gz, .json

A map lies in [0, 1]: divided by its maximum in the brain, 0 outside of the brain, 0 everywhere where there was nothing to divide.
It is stored as uint8 with slope 1/255. Affines: voxel -> mm, RAS+.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from nibabel.processing import resample_from_to
from numpy.typing import NDArray

from scripts.bids import SUFFIXES, Case
from scripts.errors import InputError
from scripts.files import write_atomically

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
GENERATOR = "eTSC-Net explain"
RANGE = 255
_CASE = re.compile(r"sub-[A-Za-z0-9+]+(_ses-[A-Za-z0-9+]+)?")


@dataclass(frozen=True)
class BrainMap:
    """A map over one image's brain, axes turned to RAS as the preprocessing sees the image.

    Attributes:
        values: (x, y, z) in [0, 1].
        image: (x, y, z) the brain-extracted image, 0 outside.
        affine: of both.
        largest: the map's maximum in the brain before the division, in the score's units a feature; 0: there is no map.
        peak_mm: world position of the maximum; None without one.
    """

    values: Float32
    image: Float32
    affine: Float64
    largest: float
    peak_mm: tuple[float, float, float] | None


def lay_over(coarse: Float32, placed: Float64, *, image: Float32, affine: Float64) -> BrainMap:
    """A coarse map on the grid of an image, by trilinear interpolation between its voxels' centres.

    Args:
        coarse: (x', y', z'), 0 or more.
        placed: its affine.
        image: (x, y, z) brain-extracted, 0 outside of the brain.
        affine: the image's.
    """
    source, target = nib.Nifti1Image(np.asarray(coarse, np.float32), placed), (image.shape, affine)
    fine = resample_from_to(source, target, order=1, mode="nearest").get_fdata(dtype=np.float32)
    fine = np.where(image > 0, np.maximum(fine, 0), 0).astype(np.float32)
    largest = float(fine.max())
    if largest == 0:
        return BrainMap(fine, image, affine, 0.0, None)
    return BrainMap(np.asarray(fine / largest, np.float32), image, affine, largest, peak(fine, affine))


def peak(values: NDArray[Any], affine: Float64) -> tuple[float, float, float]:
    """World position of the maximum, mm; of several equal ones the one nearest to their middle."""
    tied = np.argwhere(values == values.max())
    middle = tied.mean(axis=0)
    nearest = tied[np.argmin(((tied - middle) ** 2).sum(axis=1))]
    x, y, z = affine[:3] @ np.append(nearest, 1.0)
    return float(x), float(y), float(z)


def store_map(mapped: BrainMap, path: Path, *, shape: Sequence[int], affine: Float64) -> None:
    """Write the map on the grid of the image's file.

    Args:
        mapped: of the image, turned to RAS.
        path: .nii.gz.
        shape: (x, y, z) of the image in its file.
        affine: of the file.

    Raises:
        InputError: the map is not of that grid.
    """
    back = ornt_transform(axcodes2ornt(("R", "A", "S")), io_orientation(affine))
    turned = nib.Nifti1Image(np.rint(mapped.values * RANGE).astype(np.uint8), mapped.affine).as_reoriented(back)
    if turned.shape != tuple(shape) or not np.allclose(turned.affine, affine, atol=1e-3):
        raise InputError(
            f"a map of {turned.shape} voxels with affine {turned.affine[:3].tolist()}",
            expected=f"the image's grid, {tuple(shape)} with affine {affine[:3].tolist()}",
            remedy="This should not happen: report it with the image's header.",
            file=path,
        )
    image = nib.Nifti1Image(np.asarray(turned.dataobj), affine)  # the file's own affine, to the last digit
    image.header.set_slope_inter(1 / RANGE, 0)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"Class activation map, research only"
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)  # without the shear, which a qform can't hold
    # Without a time stamp, so that equal maps are equal files.
    write_atomically(path, gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def map_path(case: str, modality: str, *, method: str) -> Path:
    """Of the map in the derivative. A case that is not named as in BIDS is, after its letters and digits."""
    name = bids_name(case)
    desc = method.replace("+", "p")
    file = f"{name}_space-{SUFFIXES[modality]}_desc-{desc}_map.nii.gz"
    return Path(*name.split("_"), "dwi" if modality == "dwi" else "anat", file)


def figure_path(case: str, *, method: str) -> Path:
    """Of the page, in the subject's folder."""
    name = bids_name(case)
    return Path(name.split("_")[0], "figures", f"{name}_desc-{method.replace('+', 'p')}_map.png")


def bids_name(case: str) -> str:
    """sub-XX or sub-XX_ses-Y."""
    return case if _CASE.fullmatch(case) else "sub-" + re.sub(r"[^A-Za-z0-9]", "", case)


def check_names(cases: Sequence[Case]) -> None:
    """Raises InputError where two cases would be written to one file."""
    owner: dict[str, str] = {}
    for case in map(str, (case["case"] for case in cases)):
        name = bids_name(case)
        if owner.setdefault(name, case) != case or name == "sub-":
            raise InputError(
                f"cases {owner[name]!r} and {case!r} would both be called {name!r}",
                expected="names that differ in letters and digits",
                remedy='Name the cases as in BIDS, such as "sub-01".',
            )


def describe_dataset(folder: Path, *, dataset_dir: Path | None, version: str, warnings: Sequence[str]) -> None:
    """Write dataset_description.json and .bidsignore, or check that the folder is such a derivative already.

    Raises:
        InputError: the folder is another data set.
    """
    path = folder / "dataset_description.json"
    if path.is_file():
        try:
            made = [maker.get("Name") for maker in json.loads(path.read_text()).get("GeneratedBy", [])]
        except (ValueError, AttributeError):
            made = []
        if GENERATOR not in made:
            raise InputError(
                "this folder is another data set",
                expected="a new folder, or one of earlier maps",
                remedy="Give another --output_dir.",
                file=path,
            )
    links = {} if dataset_dir is None else {"DatasetLinks": {"raw": os.path.relpath(dataset_dir, folder)}}
    content = {
        "Name": "Class activation maps of eTSC-Net",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": GENERATOR, "Version": version, "Description": "`python -m scripts explain`"}],
        **links,
        "Warnings": list(warnings),
    }
    write_atomically(path, json.dumps(content, indent=2) + "\n")
    write_atomically(folder / ".bidsignore", "*.csv\n*_map.*\nsub-*/figures/\n")


def sources(case: Case, modality: str, dataset_dir: Path | None) -> list[str]:
    """The files that the map was made of: BIDS URIs inside of the data set, else paths."""
    files = [Path(case[key]) for key in (modality, f"{modality}_mask") if case.get(key)]
    root = None if dataset_dir is None else Path(os.path.abspath(dataset_dir))
    inside = [root is not None and file.is_relative_to(root) for file in files]
    return [
        f"bids:raw:{file.relative_to(root).as_posix()}" if root is not None and within else file.as_posix()
        for file, within in zip(files, inside, strict=True)
    ]


def write_sidecar(path: Path, content: Mapping[str, object]) -> None:
    """The JSON beside a map."""
    write_atomically(path.with_name(path.name.replace(".nii.gz", ".json")), json.dumps(content, indent=2) + "\n")
