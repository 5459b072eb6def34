"""The BIDS derivative that `extract` writes, as `scripts.bids` finds it.

    derivatives/brain-extraction/dataset_description.json, failures.csv, masks-1.png, ...
    derivatives/brain-extraction/sub-XX[/ses-Y]/anat/sub-XX[_ses-Y]_space-FLAIR_desc-brain_mask.nii.gz, .json
    derivatives/brain-extraction/sub-XX[/ses-Y]/anat/sub-XX[_ses-Y]_desc-brain_FLAIR.nii.gz, .json
    derivatives/brain-extraction/sub-XX/figures/sub-XX[_ses-Y]_desc-brain_mask.png

A sidecar says how the mask was made, from which file (SHA-256), and what the quality gate measured.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from scripts.bids import SUFFIXES, Case
from scripts.brain_extraction.carry import Mask
from scripts.errors import InputError
from scripts.files import write_atomically

PIPELINE = "brain-extraction"
REMEDY_OTHER = (
    "To use those masks, give --brain_extraction mask as they are; to make new ones, "
    "move that folder out of derivatives/ first."
)


def derivative(dataset_dir: Path) -> Path:
    """The derivative's folder in a data set."""
    return dataset_dir / "derivatives" / PIPELINE


def mask_path(folder: Path, case: str, modality: str) -> Path:
    """Of a mask in the derivative."""
    datatype = "dwi" if modality == "dwi" else "anat"
    return folder.joinpath(*case.split("_"), datatype, f"{case}_space-{SUFFIXES[modality]}_desc-brain_mask.nii.gz")


def image_path(folder: Path, case: str, modality: str) -> Path:
    """Of a brain-extracted image in the derivative."""
    return mask_path(folder, case, modality).with_name(f"{case}_desc-brain_{SUFFIXES[modality]}.nii.gz")


def strip_path(folder: Path, case: str) -> Path:
    """Of the picture of a study's masks."""
    return folder / case.split("_")[0] / "figures" / f"{case}_desc-brain_mask.png"


def refusal_path(folder: Path, case: str) -> Path:
    """Of the picture of a study that the quality gate refused."""
    return folder / "refused" / f"{case}.png"


def sidecar(path: Path) -> Path:
    """Of an image's file."""
    return path.with_name(path.name.removesuffix(".nii.gz") + ".json")


def check_no_other(cases: list[Case], folder: Path, modalities: tuple[str, ...]) -> None:
    """Refuse a data set that has masks of another pipeline: two masks of one image are one too many for training.

    Raises:
        InputError: such a mask.
    """
    for case in cases:
        for name in modalities:
            mask = case.get(f"{name}_mask")
            if mask and folder not in Path(mask).parents:
                raise InputError(
                    "a mask of another pipeline is there already",
                    expected=f"masks in derivatives/{PIPELINE} alone",
                    remedy=REMEDY_OTHER,
                    case=str(case["case"]),
                    file=mask,
                )


def described(folder: Path, case: str, modalities: tuple[str, ...]) -> list[dict[str, Any]] | None:
    """The masks' sidecars of a study whose files are all there; None where one is missing or cannot be read."""
    said = []
    for name in modalities:
        mask, image = mask_path(folder, case, name), image_path(folder, case, name)
        if not all(path.is_file() for path in (mask, image, sidecar(image), strip_path(folder, case))):
            return None
        try:
            said.append(json.loads(sidecar(mask).read_text()))
        except (OSError, ValueError):
            return None
    return said


def write_study(
    folder: Path, case: str, masks: Mapping[str, Mask], *, files: Mapping[str, str], said: Mapping[str, dict[str, Any]]
) -> None:
    """Write a study's masks, brain-extracted images and sidecars, each mask's own sidecar last: it says that all is there.

    Args:
        folder: the derivative's.
        case: sub-XX[_ses-Y].
        masks: modality -> (x, y, z) on the grid of its image's file.
        files: modality -> the image.
        said: modality -> the sidecar's content.
    """
    for name, mask in masks.items():
        source = cast(nib.Nifti1Image, nib.load(files[name]))
        image, path = image_path(folder, case, name), mask_path(folder, case, name)
        _write_like(source, mask.astype(np.uint8), path)
        _write_like(source, _extracted(source, mask), image)
        _write_json(sidecar(image), {**said[name], "SkullStripped": True})
        _write_json(sidecar(path), {"Type": "Brain", **said[name]})


def describe_dataset(folder: Path, how: Mapping[str, Any], *, version: str) -> None:
    """The data set's description, which BIDS asks of a derivative."""
    _write_json(
        folder / "dataset_description.json",
        {
            "Name": "Brain masks and brain-extracted images",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [
                {"Name": "eTSC-Net extract", "Version": version, "Description": f"Brain extraction by {how['method']}"},
                {"Name": how["software"].split()[0], "Version": how["software"].split()[-1]},
            ],
            "DatasetLinks": {"raw": os.path.relpath(folder.parents[1], folder)},
            "SourceDatasets": [{"URL": os.path.relpath(folder.parents[1], folder)}],
        },
    )


def _extracted(source: nib.Nifti1Image, mask: Mask) -> np.ndarray:
    """The image outside of whose mask is 0: in the file's own numbers, unless these are scaled."""
    proxy = cast(ArrayProxy, source.dataobj)
    if proxy.slope == 1 and proxy.inter == 0:
        stored = np.asarray(proxy)
        return np.where(mask, stored, np.zeros((), stored.dtype))
    return np.where(mask, source.get_fdata(dtype=np.float32), np.float32(0))


def _write_like(source: nib.Nifti1Image, data: np.ndarray, path: Path) -> None:
    """Voxels on the source's grid, its place in space to the last digit; gzip without a time stamp."""
    header = source.header.copy()
    header.set_data_dtype(data.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header["descrip"] = b"Brain extraction, research only"
    header.extensions.clear()
    image = type(source)(data, source.affine, header)
    write_atomically(path, gzip.compress(image.to_bytes(), compresslevel=6, mtime=0))


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n")
