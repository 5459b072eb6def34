"""Files whose header or packing no writer makes: bytes of a .nii.gz -> bytes of a broken one."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np

BOMB = 200  # MiB of zeros: some hundred kilobytes when they are packed


def edited(content: bytes, *, endianness: str = "<", **fields: Any) -> bytes:
    """Fields of the NIfTI-1 header set, the voxels as they are."""
    plain = gzip.decompress(content)
    header = nib.Nifti1Header.from_fileobj(io.BytesIO(plain), check=False)
    for name, value in fields.items():
        header[name] = value
    return gzip.compress(header.as_byteswapped(endianness).binaryblock + plain[348:], 1)


def nifti2(content: bytes, **fields: Any) -> bytes:
    """The image as NIfTI-2, fields of the header set."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(content))
    plain = nib.Nifti2Image.from_image(image).to_bytes()
    header = nib.Nifti2Header.from_fileobj(io.BytesIO(plain), check=False)
    for name, value in fields.items():
        header[name] = value
    return gzip.compress(header.binaryblock + plain[540:], 1)


def extension_bomb(content: bytes, *, at_its_end: bool) -> bytes:
    """An extension of `BOMB` MiB before the image: the image at its end, or said to begin before that."""
    plain = gzip.decompress(edited(content, vox_offset=float(352 + (BOMB * 2**20 if at_its_end else 16))))
    size = (BOMB * 2**20).to_bytes(4, "little") + (6).to_bytes(4, "little")
    return gzip.compress(plain[:348] + bytes([1, 0, 0, 0]) + size) + zeros() + gzip.compress(plain[352:], 1)


def tail(content: bytes, size: int) -> bytes:
    """Bytes after the image."""
    return gzip.compress(gzip.decompress(content) + bytes(size), 1)


def tail_bomb(content: bytes) -> bytes:
    """`BOMB` MiB after the image."""
    return content + zeros()


def zeros() -> bytes:
    """`BOMB` MiB of them, in gzip members of their own."""
    return gzip.compress(bytes(2**20)) * BOMB


def endless_name(content: bytes) -> bytes:
    """A gzip header whose file name has no end."""
    return content[:3] + bytes([8]) + content[4:10] + b"n" * 600_000


def with_fields(**fields: Any) -> Callable[[bytes], bytes]:
    return lambda content: edited(content, **fields)


PROMISES = "cut short or damaged (its header promises"
TAIL = "cut short or damaged (it goes on for more than 4096 bytes after its image"
NOT_FINITE = "voxels are NaN or infinite"
# name -> what breaks the file, and words of the message
HEADERS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "magic-destroyed": (with_fields(magic=b"xyz"), "not NIfTI (the header's magic word"),
    "header-of-a-pair": (with_fields(magic=b"ni1"), "not NIfTI (the header's magic word"),
    "unknown-type": (with_fields(datatype=77), "not NIfTI (data code 77"),
    "huge-header-gz": (
        with_fields(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]),
        PROMISES,
    ),
    "large-header-gz": (
        with_fields(dim=[3, 2000, 2000, 2000, 1, 1, 1, 1]),
        PROMISES,
    ),
    "negative-size": (with_fields(dim=[3, 48, -56, 20, 1, 1, 1, 1]), "the shape (48, -56, 20)"),
    "affine-singular": (with_fields(srow_z=[0, 0, 0, 5]), "is no position in space"),
    "affine-zero": (with_fields(srow_x=0, srow_y=0, srow_z=0), "is no position in space"),
    "affine-nan": (with_fields(srow_x=[np.nan] * 4), "is no position in space"),
    "no-orientation": (with_fields(sform_code=0, qform_code=0), "neither sform nor qform"),
    "quaternion-absurd": (with_fields(sform_code=0, qform_code=1, quatern_b=3, quatern_c=4), "not NIfTI (w2 should be"),
    "offset-nan": (with_fields(vox_offset=np.nan), "its image begins at byte nan"),
    "offset-infinite": (with_fields(vox_offset=-np.inf), "its image begins at byte -inf"),
    "offset-0": (with_fields(vox_offset=0), "its image begins at byte 0;"),
    "offset-in-the-header": (with_fields(vox_offset=348), "its image begins at byte 348"),
    "offset-not-whole": (with_fields(vox_offset=352.5), "its image begins at byte 352.5"),
    "offset-huge": (with_fields(vox_offset=1e9), "its image begins at byte 1000000000"),
    "offset-big-endian": (with_fields(vox_offset=7, endianness=">"), "its image begins at byte 7;"),
    "offset-nifti2": (lambda content: nifti2(content, vox_offset=352), "byte 352; expected a whole number"),
    "offset-nifti2-negative": (
        lambda content: nifti2(content, vox_offset=-1),
        "byte -1; expected a whole number between 544 and 1048576",
    ),
    "extension-bomb": (
        lambda content: extension_bomb(content, at_its_end=True),
        "its image begins at byte 209715552",
    ),
    "extension-beyond-the-image": (lambda content: extension_bomb(content, at_its_end=False), TAIL),
    "tail-bomb": (tail_bomb, TAIL),
    "tail-of-5000-bytes": (lambda content: tail(content, 5000), TAIL),
    "bits-contradict": (with_fields(bitpix=8), "contradicts itself: datatype 512 of 16 bits, bitpix 8"),
    "bits-of-another-type": (
        lambda content: nifti2(content, datatype=16),
        "contradicts itself: datatype 16 of 32 bits, bitpix 16",
    ),
    "slope-infinite": (with_fields(scl_slope=np.inf, scl_inter=0), "contradicts itself: values of slope inf"),
    "intercept-infinite": (with_fields(scl_slope=1, scl_inter=np.inf), "not NIfTI (Valid slope but invalid intercept"),
    "slope-beyond-float32": (with_fields(scl_slope=1e36, scl_inter=0), NOT_FINITE),
    "intercept-beyond-float32": (with_fields(scl_slope=3e35, scl_inter=3e38), NOT_FINITE),
    "name-without-end": (endless_name, "cut short or damaged ("),
}
