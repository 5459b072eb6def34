"""Tissue maps of a head: read from a file, or grown around the ICBM152 brain.

Axes are x (left-right), y (to the front), z (up). Maps hold the fraction of a voxel that a tissue fills, channels in the order
of `TISSUES`. Default: the ICBM152 2009a maps inside the nilearn package (Fonov 2011), an adult average without skull, around
which fluid, bone and scalp are grown; any other head is an npz file with `maps` (x, y, z, 7) uint8 / 255 and `zoom` (3,) mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.errors import InputError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

TISSUES = ("gm", "wm", "csf", "vent", "fat", "bone", "muscle")


def stretch(volume: Float32, positions: Sequence[Float64], width: float = 1.0) -> Float32:
    """Separable linear interpolation of (X, Y, Z) at open grids of voxel positions: three matrix products.

    Args:
        volume: values.
        positions: for each axis where to read; beyond the edge the edge's value counts.
        width: half width of the triangular kernel in voxels, above 1 where the grid becomes coarser.
    """
    x, y, z = (_kernel(size, where, width) for size, where in zip(volume.shape, positions, strict=True))
    out = (x @ volume.reshape(len(volume), -1)).reshape(len(x), *volume.shape[1:])
    return np.asarray(y @ (out @ z.T), np.float32)


def _kernel(size: int, where: Float64, width: float) -> Float32:
    """Rows of weights, (len(where), size)."""
    weights = np.clip(1 - np.abs(np.clip(where, 0, size - 1)[:, None] - np.arange(size)) / width, 0, None)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def distance(mask: NDArray[np.bool_], voxel_mm: float) -> Float32:
    """Distance in mm of every voxel to the mask, computed on a grid of about 2 mm, which is exact enough and quick."""
    step = max(1, round(2 / voxel_mm))
    return _finer(_distance(mask[::step, ::step, ::step], step * voxel_mm), step, mask.shape)


def close(mask: NDArray[np.bool_], radius: float, voxel_mm: float) -> NDArray[np.bool_]:
    """Morphological closing with a ball of that radius in mm."""
    step = max(1, round(2 / voxel_mm))
    grown = _distance(mask[::step, ::step, ::step], step * voxel_mm) <= radius
    inner = _finer(_distance(~grown, step * voxel_mm), step, mask.shape)
    return np.asarray((inner > radius) | mask)


def _distance(mask: NDArray[np.bool_], voxel_mm: float) -> Float32:
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=voxel_mm), np.float32)


def _finer(coarse: Float32, step: int, shape: tuple[int, ...]) -> Float32:
    return coarse if step == 1 else stretch(coarse, [np.arange(size) / step for size in shape])


def icbm152(voxel_mm: float) -> NDArray[np.uint8]:
    """The ICBM152 maps with shells grown around them, (7, X, Y, Z) uint8 / 255, voxels of that edge in mm.

    Raises:
        InputError: the package nilearn, which holds the maps, is not installed.
    """
    package = find_spec("nilearn")  # not imported: only its data files are wanted
    if package is None or package.origin is None:
        raise InputError(
            "no package nilearn, which holds the ICBM152 maps",
            expected="nilearn, or the path of an npz file",
            remedy="Install nilearn or give `anatomy`.",
        )
    folder, pad = Path(package.origin).parent / "datasets" / "data", round(18 / voxel_mm)
    files = [folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz" for kind in ("t1", "gm", "wm")]
    read = np.stack([np.asarray(nib.Nifti1Image.from_filename(file).dataobj, np.uint8) for file in files])
    t1, gm, wm = (np.pad(share, pad).astype(np.float32) / 255 for share in resample(read, np.ones(3), voxel_mm))
    inside = close(t1 > 0.1, 6, voxel_mm)
    csf = np.clip(1 - gm - wm, 0, 1) * inside
    # An average of 152 heads has soft borders: a power makes them those of one head again.
    for share in (gm, wm, csf):
        np.power(share, 2.5, out=share)
    total = np.maximum(gm + wm + csf, 1e-6) / inside.clip(0.001)
    x = np.abs(np.arange(gm.shape[0], dtype=np.float32) - gm.shape[0] / 2)[:, None, None] * voxel_mm
    z = (np.arange(gm.shape[2])[None, None] - pad) * voxel_mm

    maps = np.zeros((len(TISSUES), *gm.shape), np.uint8)
    deep = (distance(~inside, voxel_mm) > 18) & (x < 42)
    outside = distance(inside, voxel_mm)
    base = np.clip((30 - z) / 10, 0, 1)  # below the brain muscle takes the place of bone
    skull = _ramp(outside, 3.0, 9.0)
    shares = {
        "gm": gm / total,
        "wm": wm / total,
        "csf": np.where(inside, np.where(deep, 0, csf / total), _ramp(outside, 0.0, 3.0)),
        "vent": np.where(deep, csf / total, 0),
        "fat": _ramp(outside, 11.0, 15.0),
        "bone": skull * (1 - base),
        "muscle": _ramp(outside, 9.0, 11.0) + skull * base,
    }
    for channel, name in enumerate(TISSUES):
        maps[channel] = np.rint(255 * np.clip(shares.pop(name), 0, 1))
    return maps


def _ramp(distance: Float32, start: float, stop: float) -> Float32:
    """1 between two distances, with borders one mm soft."""
    return np.asarray(np.clip(distance - start + 0.5, 0, 1) * np.clip(stop - distance + 0.5, 0, 1), np.float32)


def read_npz(path: Path) -> tuple[NDArray[np.uint8], Float64]:
    """Tissue maps of a head from a file: (7, X, Y, Z) uint8, the share x 255, and the voxel's edges (3,) in mm.

    Raises:
        InputError: no such file, or it lacks an array or holds another shape.
    """
    expected = f"`maps` uint8 (x, y, z, {len(TISSUES)}) and `zoom` (3,)"
    remedy = f"Store {', '.join(TISSUES)} along the last axis as fraction x 255, and the voxel's edges in mm."
    if not path.is_file():
        raise InputError("the anatomy is not there", expected="an npz file", remedy="Check the path.", file=path)
    with np.load(path) as data:
        missing = {"maps", "zoom"} - set(data.files)
        if missing:
            raise InputError(f"no array {sorted(missing)}", expected=expected, remedy=remedy, file=path)
        maps, zoom = data["maps"], np.asarray(data["zoom"], np.float64)
    if maps.ndim != 4 or maps.shape[-1] != len(TISSUES) or zoom.shape != (3,) or maps.dtype != np.uint8:
        found = f"maps {maps.dtype} {maps.shape}, zoom {zoom.shape}"
        raise InputError(found, expected=expected, remedy=remedy, file=path)
    return np.moveaxis(maps, -1, 0), zoom


def resample(maps: NDArray[np.uint8], zoom: Float64, voxel_mm: float) -> NDArray[np.uint8]:
    """Onto an isotropic grid: linear, by a wider triangle where the grid becomes coarser."""
    factors = voxel_mm / zoom
    shape = np.floor(np.array(maps.shape[1:]) / factors).astype(int)
    if np.allclose(factors, 1, atol=1e-3):
        return maps.copy()
    positions = [(np.arange(size) + 0.5) * factor - 0.5 for size, factor in zip(shape, factors, strict=True)]
    out = np.empty((len(maps), *shape), np.uint8)
    for channel, volume in enumerate(maps):
        out[channel] = np.rint(stretch(volume.astype(np.float32), positions, max(1.0, float(factors.mean()))))
    return out
