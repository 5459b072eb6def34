"""A NIfTI file -> its stored values with slope and intercept, turned to the orientation asked for, or a word on what is wrong.

The header is judged before any voxel is read, for a damaged one may promise more than the memory holds. A .gz is read to its very
end, where its checksum is: nibabel stops before it. Source: nifti.nimh.nih.gov/nifti-1, RFC 1951 and 1952.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError

GZIP_RATIO = 1032  # deflate packs no tighter
Limits = Mapping[str, Any]
EXACT = 2**24  # the largest integer up to which float32 holds all


@dataclass(frozen=True)
class Volume:
    """One image.

    Attributes:
        stored: (x, y, z) float32, in the orientation asked for; value = stored * slope + intercept.
        slope, intercept: 1 and 0 where the file has none.
        affine: (4, 4), voxel -> RAS+ mm, of the turned grid.
        file: where it came from.
    """

    stored: NDArray[np.float32]
    slope: float
    intercept: float
    affine: NDArray[np.float64]
    file: Path

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(3,) mm."""
        return cast("NDArray[np.float64]", np.linalg.norm(self.affine[:3, :3], axis=0))

    def range(self) -> tuple[float, float]:
        """The lowest and the highest value; NaN where one voxel is."""
        ends = [float(end) * self.slope + self.intercept for end in (self.stored.min(), self.stored.max())]
        return min(ends), max(ends)


def read_volume(path: str | Path, *, orientation: str, limits: Limits) -> Volume:
    """Read one 3-D image.

    Args:
        path: .nii or .nii.gz.
        orientation: the axis codes that the array is turned to.
        limits: "max_voxels" of an image, "min_squareness": the least volume of a voxel by the product of its edges, which is 1 at
            right angles and less where axes are slanted. See Manifest.limits.

    Raises:
        InputError: no such file, empty, no NIfTI, cut short or damaged, or something else than one 3-D image of real numbers
            with a place in space.
    """
    import nibabel as nib
    from nibabel.wrapstruct import WrapStructError

    not_nifti = (nib.filebasedimages.ImageFileError, nib.spatialimages.HeaderDataError, WrapStructError)
    path = Path(path)
    if not path.is_file():
        found = "the path is a folder" if path.is_dir() else "there is no such file"
        raise InputError(found, expected="a NIfTI file", remedy="Correct the path.", file=path)
    if path.stat().st_size == 0:
        raise _fault("the file is empty (0 bytes)", path)
    with cast(io.IOBase, (gzip.open if path.suffix == ".gz" else open)(path, "rb")) as stream:
        try:
            image = _image_class(stream.read(348)).from_stream(stream)
            affine = np.array(image.affine, dtype=np.float64)
        except (*not_nifti, gzip.BadGzipFile, ValueError) as error:  # here a BadGzipFile is no gzip file at all
            raise _fault(f"not NIfTI ({error})", path) from error
        except (EOFError, zlib.error, OSError) as error:
            raise _fault(f"cut short or damaged ({error})", path) from error
        _check_header(image, limits["max_voxels"], path)
        _check_affine(affine, limits["min_squareness"], path)
        try:
            stored = np.asanyarray(image.dataobj.get_unscaled())
            while stream.read(2**20):
                pass
        except (EOFError, zlib.error, OSError, ValueError) as error:  # a BadGzipFile here is a wrong checksum
            raise _fault(f"cut short or damaged ({error})", path) from error
    slope, intercept = (float(value) for value in (image.dataobj.slope, image.dataobj.inter))
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(orientation))
    )
    turned_affine = affine @ nib.orientations.inv_ornt_aff(turn, stored.shape)
    values, slope, intercept = _as_float32(nib.orientations.apply_orientation(stored, turn), slope, intercept)
    return Volume(values, slope, intercept, turned_affine, path)


def _as_float32(stored: NDArray[Any], slope: float, intercept: float) -> tuple[NDArray[np.float32], float, float]:
    """Values that float32 can't hold exactly are scaled before they are rounded, as nibabel does."""
    wide = stored.dtype.itemsize > 2 and stored.dtype != np.float32
    if wide and (stored.dtype.kind == "f" or max(abs(int(stored.min())), abs(int(stored.max()))) > EXACT):
        scaled = stored.astype(np.float64)
        if (slope, intercept) != (1.0, 0.0):
            scaled = scaled * slope + intercept
        with np.errstate(over="ignore"):  # an infinite voxel is refused later, and counted
            return np.ascontiguousarray(scaled, dtype=np.float32), 1.0, 0.0
    return np.ascontiguousarray(stored, dtype=np.float32), slope, intercept


def _image_class(head: bytes) -> Any:
    import nibabel as nib

    if head[344:348] == b"n+1\0":
        return nib.Nifti1Image
    if head[4:8] == b"n+2\0":
        return nib.Nifti2Image
    raise ValueError("the header's magic word is neither n+1 nor n+2")


def _check_header(image: Any, max_voxels: int, path: Path) -> None:
    header, shape = image.header, tuple(int(edge) for edge in image.shape)
    if len(shape) != 3 or min(shape) < 2:
        raise InputError(
            f"the image has the shape {shape}",
            expected="three axes of two or more voxels",
            remedy="Give one volume of one series.",
            file=path,
        )
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(
            f"its voxels are {'colours' if dtype.kind == 'V' else 'complex numbers'} ({dtype})",
            expected="one real number a voxel",
            remedy="Export the magnitude image in grey values.",
            file=path,
        )
    voxels, size = math.prod(shape), path.stat().st_size
    promised = int(header.get_data_offset()) + voxels * dtype.itemsize
    if promised > size * (GZIP_RATIO if path.suffix == ".gz" else 1):
        raise _fault(f"cut short or damaged (its header promises {promised} bytes of image, the file has {size})", path)
    if voxels > max_voxels:
        raise InputError(
            f"the image has {voxels} voxels",
            expected=f"at most {max_voxels}",
            remedy="Resample it to the resolution that it was measured at.",
            file=path,
        )
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        raise InputError(
            "the header has neither sform nor qform: which end is left, front and top is unknown",
            expected="a position in space",
            remedy="Convert the series again from DICOM.",
            file=path,
        )


def _check_affine(affine: NDArray[np.float64], min_squareness: float, path: Path) -> None:
    axes = affine[:3, :3]
    edges = np.prod(np.linalg.norm(axes, axis=0))
    if not np.isfinite(affine).all() or not abs(np.linalg.det(axes)) > min_squareness * edges > 0:
        raise InputError(
            f"the affine {affine[:3].tolist()} is no position in space",
            expected="finite axes at right angles",
            remedy="Convert the series again; its position in the scanner is lost.",
            file=path,
        )


def _fault(found: str, path: Path) -> InputError:
    return InputError(
        found,
        expected="a complete 3-D NIfTI file (.nii or .nii.gz)",
        remedy="Export or convert the series again.",
        file=path,
    )
