"""A NIfTI file -> image, or a clear word on what is wrong with the file.

Values (slope and intercept applied) and affine (sform before qform; voxel -> RAS+ millimetres) are nibabel's. The header is
judged before any voxel is read, for a damaged one may promise more than the memory holds. A .gz is read to its very end, where
its checksum is: nibabel stops before it. Source: nifti.nimh.nih.gov/nifti-1, RFC 1951 and 1952.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.wrapstruct import WrapStructError

from scripts.errors import InputError

MAX_VOXELS = 2**29  # 812 x 812 x 812: more than any head needs, 2 GiB as float32
GZIP_RATIO = 1032  # deflate packs no tighter
NOT_NIFTI = (
    nib.filebasedimages.ImageFileError,
    nib.spatialimages.HeaderDataError,
    WrapStructError,
    gzip.BadGzipFile,
    ValueError,
)
DAMAGED = (EOFError, zlib.error, OSError, ValueError)


def read_nifti(path: str | Path, *, case: str) -> MetaTensor:
    """Read one 3-D image.

    Args:
        path: an existing file, .nii or .nii.gz.
        case: for the errors.

    Returns:
        (1, x, y, z) float32 with its affine.

    Raises:
        InputError: the file is empty, no NIfTI, cut short or damaged, or holds something else than one 3-D image of real numbers
            with a place in space.
    """
    path = Path(path)
    if path.stat().st_size == 0:
        raise _fault("the file is empty (0 bytes)", case, path)
    with cast(io.IOBase, (gzip.open if path.suffix == ".gz" else open)(path, "rb")) as stream:
        try:
            image = _image_class(stream.read(348)).from_stream(stream)
            affine = np.array(image.affine, dtype=np.float64)
        except NOT_NIFTI as error:  # a BadGzipFile here is no gzip file at all
            raise _fault(f"not NIfTI ({error})", case, path) from error
        except DAMAGED as error:
            raise _fault(f"cut short or damaged ({error})", case, path) from error
        _check_header(image, case, path)
        try:
            values = np.array(np.asanyarray(image.dataobj), dtype=np.float32, order="C")[None]  # (1, x, y, z)
            while stream.read(2**20):
                pass
        except DAMAGED as error:  # a BadGzipFile here is a wrong checksum
            raise _fault(f"cut short or damaged ({error})", case, path) from error
    return MetaTensor(values, affine=torch.from_numpy(affine), meta={"filename_or_obj": str(path)})


def _image_class(head: bytes) -> type[nib.Nifti1Image]:
    if head[344:348] == b"n+1\0":
        return nib.Nifti1Image
    if head[4:8] == b"n+2\0":
        return nib.Nifti2Image
    raise ValueError("the header's magic word is neither n+1 nor n+2")


def _check_header(image: nib.Nifti1Image, case: str, path: Path) -> None:
    header, shape = image.header, tuple(int(edge) for edge in image.shape)
    if len(shape) != 3 or min(shape) < 2:
        raise InputError(
            f"the image has the shape {shape}",
            expected="three axes of two or more voxels",
            remedy="Give one volume of one series.",
            case=case,
            file=path,
        )
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(
            f"its voxels are {'colours' if dtype.kind == 'V' else 'complex numbers'} ({dtype})",
            expected="one real number a voxel",
            remedy="Export the magnitude image in grey values.",
            case=case,
            file=path,
        )
    voxels, size = math.prod(shape), path.stat().st_size
    promised = int(header.get_data_offset()) + voxels * dtype.itemsize
    if promised > size * (GZIP_RATIO if path.suffix == ".gz" else 1):
        raise _fault(
            f"cut short or damaged (its header promises {promised} bytes of image, the file has {size})", case, path
        )
    if voxels > MAX_VOXELS:
        raise InputError(
            f"the image has {voxels} voxels",
            expected=f"at most {MAX_VOXELS}",
            remedy="Resample it to the resolution that it was measured at.",
            case=case,
            file=path,
        )
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        raise InputError(
            "the header has neither sform nor qform: which end is left, front and top is unknown",
            expected="a position in space",
            remedy="Convert the series again from DICOM.",
            case=case,
            file=path,
        )


def _fault(found: str, case: str, path: Path) -> InputError:
    return InputError(
        found,
        expected="a complete 3-D NIfTI file (.nii or .nii.gz)",
        remedy="Export or convert the series again.",
        case=case,
        file=path,
    )
