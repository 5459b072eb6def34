"""A NIfTI file -> image, or a clear word on what is wrong with the file.

Values (slope and intercept applied) and affine (sform before qform; voxel -> RAS+ millimetres) are nibabel's. The header is
judged by its raw fields before anything behind it is read, for a damaged one may promise more than the memory holds. Its
extensions are never read: nibabel would read as much as they say. A .gz is read to its very end, where its checksum is: nibabel
stops before it. Source: nifti.nimh.nih.gov/nifti-1, RFC 1951 and 1952.
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
from nibabel.arrayproxy import ArrayProxy
from nibabel.wrapstruct import WrapStructError

from scripts.errors import InputError

MAX_VOXELS = 2**29  # 812 x 812 x 812: more than any head needs, 2 GiB as float32
GZIP_RATIO = 1032  # deflate packs no tighter
MAX_HEADER = 2**20  # bytes, with its extensions
MAX_TAIL = (
    4096  # after the image: no writer that we know leaves a byte there; a page of padding is let pass, a flood is not
)
NOT_NIFTI = (nib.spatialimages.HeaderDataError, WrapStructError, gzip.BadGzipFile, ValueError)
# OverflowError, MemoryError: a file that takes more than there is
DAMAGED = (EOFError, zlib.error, OSError, ValueError, OverflowError, MemoryError)


def read_nifti(path: str | Path, *, case: str) -> MetaTensor:
    """Read one 3-D image.

    Args:
        path: an existing file, .nii or .nii.gz.
        case: for the errors.

    Returns:
        (1, x, y, z) float32 with its affine.

    Raises:
        InputError: the file is empty, no NIfTI, cut short or damaged, has a header that contradicts itself, or holds something
            else than one 3-D image of real numbers with a place in space.
    """
    path = Path(path)
    if path.stat().st_size == 0:
        raise _fault("the file is empty (0 bytes)", case, path)
    with cast(io.IOBase, (gzip.open if path.suffix == ".gz" else open)(path, "rb")) as stream:
        try:
            raw, header_class = _raw_header(stream)
            _check_fields(header_class(raw, check=False), case, path)
            header = header_class(raw)
            affine = np.array(header.get_best_affine(), dtype=np.float64)
            proxy = ArrayProxy(stream, header, mmap=False)
        except InputError:  # a ValueError of our own
            raise
        except NOT_NIFTI as error:  # a BadGzipFile here is no gzip file at all
            raise _fault(f"not NIfTI ({error})", case, path) from error
        except DAMAGED as error:
            raise _fault(f"cut short or damaged ({_said(error)})", case, path) from error
        _check_header(header, case, path)
        try:
            with np.errstate(over="ignore"):  # an infinite voxel is refused later, and counted
                values = np.array(np.asanyarray(proxy), dtype=np.float32, order="C")[None]  # (1, x, y, z)
            if len(stream.read(MAX_TAIL + 1)) > MAX_TAIL:
                raise ValueError(f"it goes on for more than {MAX_TAIL} bytes after its image")
        except DAMAGED as error:  # a BadGzipFile here is a wrong checksum
            raise _fault(f"cut short or damaged ({_said(error)})", case, path) from error
    return MetaTensor(values, affine=torch.from_numpy(affine), meta={"filename_or_obj": str(path)})


def _raw_header(stream: io.IOBase) -> tuple[bytes, type[nib.Nifti1Header]]:
    """The header's bytes, and nibabel's class of it."""
    head: bytes = stream.read(348)
    if head[344:348] == b"n+1\0":
        return head, nib.Nifti1Header
    if head[4:8] == b"n+2\0":
        return head + stream.read(540 - 348), nib.Nifti2Header
    raise ValueError("the header's magic word is neither n+1 nor n+2")


def _check_fields(header: nib.Nifti1Header, case: str, path: Path) -> None:
    """Refuse what nibabel lets pass, by the header as it stands in the file."""
    offset, slope = header["vox_offset"].item(), float(header["scl_slope"])
    if not header.single_vox_offset <= offset <= MAX_HEADER or offset != int(offset):
        raise InputError(
            f"its image begins at byte {offset:.12g}",
            expected=f"a whole number between {header.single_vox_offset} and {MAX_HEADER}",
            remedy="Export or convert the series again.",
            case=case,
            file=path,
        )
    code, bits = int(header["datatype"]), int(header["bitpix"])
    try:
        size = 8 * int(header.get_data_dtype().itemsize)
    except KeyError:  # an unknown type: nibabel's word on it is still to come
        size = 0
    if size and bits != size:
        raise _fault(f"its header contradicts itself: datatype {code} of {size} bits, bitpix {bits}", case, path)
    if math.isinf(slope):
        raise _fault(f"its header contradicts itself: values of slope {slope:g}", case, path)


def _check_header(header: nib.Nifti1Header, case: str, path: Path) -> None:
    shape = tuple(int(edge) for edge in header.get_data_shape())
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


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
