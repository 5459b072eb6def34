"""One image stored in many ways: other axes, other types, slope and intercept."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform


def reorient(image: nib.Nifti1Image, axcodes: str) -> nib.Nifti1Image:
    """The same image with its voxels stored along other axes."""
    reoriented: nib.Nifti1Image = image.as_reoriented(
        ornt_transform(io_orientation(image.affine), axcodes2ornt(axcodes))
    )
    return reoriented


def study_of(flair: nib.Nifti1Image, t2w: nib.Nifti1Image, folder: Path, suffix: str) -> dict[str, str]:
    folder.mkdir()
    paths = {"flair": folder / f"FLAIR{suffix}", "t2w": folder / f"T2w{suffix}"}
    nib.save(flair, paths["flair"])
    nib.save(t2w, paths["t2w"])
    return {"case": "sub-01", **{name: str(path) for name, path in paths.items()}}


def save_scaled(image: nib.Nifti1Image, path: Path, *, dtype: str, slope: float, intercept: float) -> None:
    """Store the voxels as (value - intercept) / slope, with these two in the header; nibabel would choose its own."""
    kind: Any = nib.Nifti2Header if path.stem.startswith("nifti2") else nib.Nifti1Header
    stored = np.round((image.get_fdata() - intercept) / slope, 6).astype(dtype)
    header = kind(endianness=stored.dtype.newbyteorder("=").str[0] if dtype[0] not in "<>" else dtype[0])
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_slope_inter(slope, intercept)
    header.set_sform(image.affine, code=1)
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(header.binaryblock + bytes(4) + stored.tobytes(order="F"))
