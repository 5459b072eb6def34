"""A NIfTI file -> its stored values with slope and intercept, turned to the orientation asked for, or a word on what is wrong.

The header is judged by its raw fields before anything behind it is read, for a damaged one may promise more than the memory
holds. Its extensions are never read: nibabel would read as much as they say. A .gz is read to its very end, where its checksum
is: nibabel stops before it. Source: nifti.nimh.nih.gov/nifti-1, RFC 1951 and 1952.
"""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError
from etscnet_edge.source import Source, open_source

GZIP_RATIO = 1032  # deflate packs no tighter
GzipFile: Any
UnzipError: Any
try:
    from isal.igzip import IGzipFile as GzipFile
    from isal.isal_zlib import error as UnzipError
except ImportError:  # no wheel for this processor: the same, slower
    from gzip import GzipFile
    from zlib import error as UnzipError

MAX_HEADER = 2**20  # with its extensions
MAX_TAIL = (
    4096  # after the image: no writer that we know leaves a byte there; a page of padding is let pass, a flood is not
)
# OverflowError: a gzip header without end; MemoryError: a file that takes more than there is
DAMAGED = (EOFError, UnzipError, OSError, OverflowError, MemoryError)
FLOAT32_MAX = float(np.finfo(np.float32).max)
Limits = Mapping[str, Any]
EXACT = 2**24  # the largest integer up to which float32 holds all


@dataclass(frozen=True)
class Volume:
    """One image.

    Attributes:
        stored: (x, y, z) float32, in the orientation asked for and any memory order; value = stored * slope + intercept.
        slope, intercept: 1 and 0 where the file has none.
        affine: (4, 4), voxel -> RAS+ mm, of the turned grid.
        source: where it came from.
    """

    stored: NDArray[np.float32]
    slope: float
    intercept: float
    affine: NDArray[np.float64]
    source: Source

    @property
    def file(self) -> str:
        """Its name."""
        return self.source.name

    @property
    def spacing(self) -> NDArray[np.float64]:
        """(3,) mm."""
        return cast("NDArray[np.float64]", np.linalg.norm(self.affine[:3, :3], axis=0))

    def range(self) -> tuple[float, float]:
        """The lowest and the highest value; NaN where one voxel is."""
        stored = self.stored[forwards(self.stored)]
        ends = [float(end) * self.slope + self.intercept for end in (stored.min(), stored.max())]
        return min(ends), max(ends)

    def values(self) -> NDArray[np.float32]:
        """(x, y, z): slope and intercept applied."""
        if (self.slope, self.intercept) == (1.0, 0.0):
            return self.stored
        scaled = self.stored * np.float32(self.slope)
        scaled += np.float32(self.intercept)
        return scaled


def forwards(array: NDArray[Any]) -> tuple[slice, ...]:
    """The index that turns axes, of any shape, which run backwards in memory: numpy takes many times as long along those."""
    return tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)


def read_volume(given: str | Path | Source, *, orientation: str, limits: Limits) -> Volume:
    """Read one 3-D image.

    Args:
        given: .nii or .nii.gz.
        orientation: the axis codes that the array is turned to.
        limits: "max_voxels" of an image, "min_squareness": the least volume of a voxel by the product of its edges, which is 1 at
            right angles and less where axes are slanted. See Manifest.limits.

    Raises:
        InputError: no such file, empty, no NIfTI, cut short or damaged, a header that contradicts itself, or something else than
            one 3-D image of real numbers with a place in space.
    """
    import nibabel as nib
    from nibabel.arrayproxy import ArrayProxy
    from nibabel.wrapstruct import WrapStructError

    not_nifti = (nib.spatialimages.HeaderDataError, WrapStructError)
    source = open_source(given, max_bytes=MAX_HEADER + 8 * limits["max_voxels"])
    with _decoded(source) as stream:
        try:
            raw, header_class = _raw_header(stream)
            _check_fields(header_class(raw, check=False), source)
            header = header_class(raw)
            affine = np.array(header.get_best_affine(), dtype=np.float64)
            slope, intercept = header.get_slope_inter()
        except InputError:  # a ValueError of our own
            raise
        except (*not_nifti, gzip.BadGzipFile, ValueError) as error:  # here a BadGzipFile is no gzip file at all
            raise _fault(f"not NIfTI ({error})", source) from error
        except DAMAGED as error:
            raise _fault(f"cut short or damaged ({_said(error)})", source) from error
        _check_header(header, limits["max_voxels"], source)
        _check_affine(affine, limits["min_squareness"], source)
        try:
            stored = np.asanyarray(ArrayProxy(stream, header, mmap=False).get_unscaled())
            if len(stream.read(MAX_TAIL + 1)) > MAX_TAIL:
                raise ValueError(f"it goes on for more than {MAX_TAIL} bytes after its image")
        except (*DAMAGED, ValueError) as error:  # a BadGzipFile here is a wrong checksum
            raise _fault(f"cut short or damaged ({_said(error)})", source) from error
    slope, intercept = (1.0, 0.0) if slope is None else (float(slope), float(intercept))
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(orientation))
    )
    turned_affine = affine @ nib.orientations.inv_ornt_aff(turn, stored.shape)
    values, slope, intercept = _as_float32(nib.orientations.apply_orientation(stored, turn), slope, intercept)
    return Volume(values, slope, intercept, turned_affine, source)


def _as_float32(stored: NDArray[Any], slope: float, intercept: float) -> tuple[NDArray[np.float32], float, float]:
    """Values that float32 can't hold exactly, or that overflow it on their way, are scaled before they are rounded, as nibabel
    does."""
    narrow, float32, whole = stored.dtype.itemsize <= 2, stored.dtype == np.float32, stored.dtype.kind in "iu"
    largest = 2.0**16 if narrow else 0.0
    if (whole and not narrow) or (float32 and (slope, intercept) != (1.0, 0.0)):
        forward = stored[forwards(stored)]
        largest = max(abs(float(forward.min())), abs(float(forward.max())))
    exact = narrow or float32 or (whole and largest <= EXACT)
    if not exact or largest * abs(slope) + abs(intercept) > FLOAT32_MAX:
        scaled = stored.astype(np.float64)
        if (slope, intercept) != (1.0, 0.0):
            scaled = scaled * slope + intercept
        with np.errstate(over="ignore"):  # an infinite voxel is refused later, and counted
            return scaled.astype(np.float32), 1.0, 0.0
    return stored.astype(np.float32, copy=False), slope, intercept


def _decoded(source: Source) -> io.BufferedIOBase:
    """Its content, unzipped where it is zipped: by isal, which takes half to a quarter of zlib's time, where there is one."""
    raw = io.BytesIO(source.content)
    if not source.zipped:
        return raw
    return cast(io.BufferedIOBase, GzipFile(fileobj=raw))


def _raw_header(stream: io.BufferedIOBase) -> tuple[bytes, Any]:
    """The header's bytes, and nibabel's class of it."""
    import nibabel as nib

    head = stream.read(348)
    if head[344:348] == b"n+1\0":
        return head, nib.Nifti1Header
    if head[4:8] == b"n+2\0":
        return head + stream.read(540 - 348), nib.Nifti2Header
    raise ValueError("the header's magic word is neither n+1 nor n+2")


def _check_fields(header: Any, source: Source) -> None:
    """Refuse what nibabel lets pass, by the header as it stands in the file."""
    offset, slope = header["vox_offset"].item(), float(header["scl_slope"])
    if not header.single_vox_offset <= offset <= MAX_HEADER or offset != int(offset):
        raise InputError(
            f"its image begins at byte {offset:.12g}",
            expected=f"a whole number between {header.single_vox_offset} and {MAX_HEADER}",
            remedy="Export or convert the series again.",
            file=source.name,
        )
    code, bits = int(header["datatype"]), int(header["bitpix"])
    try:
        size = 8 * int(header.get_data_dtype().itemsize)
    except KeyError:  # an unknown type: nibabel's word on it is still to come
        size = 0
    if size and bits != size:
        raise _fault(f"its header contradicts itself: datatype {code} of {size} bits, bitpix {bits}", source)
    if math.isinf(slope):
        raise _fault(f"its header contradicts itself: values of slope {slope:g}", source)


def _check_header(header: Any, max_voxels: int, source: Source) -> None:
    shape = tuple(int(edge) for edge in header.get_data_shape())
    if len(shape) != 3 or min(shape) < 2:
        raise InputError(
            f"the image has the shape {shape}",
            expected="three axes of two or more voxels",
            remedy="Give one volume of one series.",
            file=source.name,
        )
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise InputError(
            f"its voxels are {'colours' if dtype.kind == 'V' else 'complex numbers'} ({dtype})",
            expected="one real number a voxel",
            remedy="Export the magnitude image in grey values.",
            file=source.name,
        )
    voxels, size = math.prod(shape), len(source.content)
    promised = int(header.get_data_offset()) + voxels * dtype.itemsize
    if promised > size * (GZIP_RATIO if source.zipped else 1):
        raise _fault(
            f"cut short or damaged (its header promises {promised} bytes of image, the file has {size})", source
        )
    if voxels > max_voxels:
        raise InputError(
            f"the image has {voxels} voxels",
            expected=f"at most {max_voxels}",
            remedy="Resample it to the resolution that it was measured at, or give more --memory_mb.",
            file=source.name,
        )
    if not int(header["sform_code"]) and not int(header["qform_code"]):
        raise InputError(
            "the header has neither sform nor qform: which end is left, front and top is unknown",
            expected="a position in space",
            remedy="Convert the series again from DICOM.",
            file=source.name,
        )


def _check_affine(affine: NDArray[np.float64], min_squareness: float, source: Source) -> None:
    axes = affine[:3, :3]
    edges = np.prod(np.linalg.norm(axes, axis=0))
    if not np.isfinite(affine).all() or not abs(np.linalg.det(axes)) > min_squareness * edges > 0:
        raise InputError(
            f"the affine {affine[:3].tolist()} is no position in space",
            expected="finite axes at right angles",
            remedy="Convert the series again; its position in the scanner is lost.",
            file=source.name,
        )


def _fault(found: str, source: Source) -> InputError:
    return InputError(
        found,
        expected="a complete 3-D NIfTI file (.nii or .nii.gz)",
        remedy="Export or convert the series again.",
        file=source.name,
    )


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
