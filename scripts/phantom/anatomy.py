"""Anatomy: a head on its grid with the regions derived from it: brain mask, where lesions may lie, where fluid and blood flow.

Coordinates are mm from the brain's centre, axes as in `head`. A head needs no atlas: the tentorium, the brain stem and the deep
nuclei are given by a few planes and an ellipsoid in coordinates scaled to the ICBM152 brain. That, and that myelination lags
in the periphery and the frontal lobe by the amounts below, are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from threadpoolctl import threadpool_limits

from scripts.phantom.head import Float32, Float64, close, distance, icbm152, read_npz, resample
from scripts.phantom.vessels import flow_voids

LAG_STEPS = 64
GM, WM, CSF, VENT, FAT, BONE, MUSCLE = range(7)


@dataclass(frozen=True)
class Anatomy:
    """A head on an isotropic grid.

    Attributes:
        maps: tissue fractions, (7, X, Y, Z) uint8 / 255.
        brain: the brain mask as a skull stripper draws it, sulci and ventricles included, (X, Y, Z) bool.
        lag: lag of myelination, 0 in the depth and behind, LAG_STEPS - 1 in the frontal periphery, (X, Y, Z) uint8.
        voids: share of each voxel that flowing blood fills, (X, Y, Z) uint8 / 255.
        pulsation: share of each voxel with fluid that pulses, (X, Y, Z) uint8 / 255.
        tuber_region: brain where tubers and their wedges may lie, (X, Y, Z) bool.
        tuber_sites: voxel indices of supratentorial cortex, (n, 3).
        inward: for each tuber site, the voxel of the ventricle it points to, (n, 3).
        nodule_sites: voxel indices of the lateral ventricles' wall, (m, 3).
        voxel_mm: edge of a voxel.
        reference_months: age at which the head has its size.
    """

    maps: NDArray[np.uint8]
    brain: NDArray[np.bool_]
    lag: NDArray[np.uint8]
    voids: NDArray[np.uint8]
    pulsation: NDArray[np.uint8]
    tuber_region: NDArray[np.bool_]
    tuber_sites: NDArray[np.int64]
    inward: NDArray[np.int64]
    nodule_sites: NDArray[np.int64]
    voxel_mm: float
    reference_months: float

    @cached_property
    def brain_ml(self) -> float:
        """Volume of the brain mask."""
        return float(self.brain.sum()) * self.voxel_mm**3 / 1000

    @cached_property
    def centre(self) -> Float64:
        """Voxel coordinates of the brain's centre, the origin of the head's coordinates."""
        low, high = _bounds(self.brain)
        return (low + high - 1) / 2


def _bounds(mask: NDArray[np.bool_]) -> tuple[Float64, Float64]:
    spans = ndimage.find_objects(mask.astype(np.uint8))[0]
    return np.array([s.start for s in spans], float), np.array([s.stop for s in spans], float)


def _scaled_coordinates(brain: NDArray[np.bool_], vent: NDArray[np.bool_]) -> tuple[Float32, Float32, Float32]:
    """x, y, z of every voxel in mm of the ICBM152 brain, open grids: fitted by the brain's box and the ventricles' height.

    The ICBM152 brain reaches from -72 to 72, -106 to 74 and, with its ventricles' median at 8, up to 82 mm.
    """
    low, high = _bounds(brain)
    x, y, z = (np.arange(n, dtype=np.float32) for n in brain.shape)
    middle = float(np.median(np.nonzero(vent)[2]))
    x = (x - (low[0] + high[0] - 1) / 2) * (144 / (high[0] - low[0]))
    y = (y - low[1]) * (180 / (high[1] - low[1])) - 106
    z = (z - middle) * (74 / (high[2] - middle)) + 8
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _brain_mask(tissue: NDArray[np.uint8], voxel_mm: float) -> NDArray[np.bool_]:
    """Largest piece of grey matter, white matter and ventricles, its sulci closed."""
    solid = (tissue[GM].astype(np.int16) + tissue[WM] + tissue[VENT]) > 127
    labels, _ = ndimage.label(solid)
    solid = labels == np.bincount(labels.ravel())[1:].argmax() + 1
    return np.asarray(ndimage.binary_fill_holes(close(solid, 5.0, voxel_mm)))


@lru_cache(maxsize=2)
def load_anatomy(path: str | None = None, voxel_mm: float = 1.0) -> Anatomy:
    """Read a head and derive its regions, once a process.

    Args:
        path: npz file with `maps` and `zoom`; None: the ICBM152 head of the nilearn package.
        voxel_mm: edge of the isotropic grid.

    Raises:
        InputError: the file is missing or does not hold what it should.
    """
    with threadpool_limits(1):  # sums keep their order whoever asks first
        return _derive(path, voxel_mm)


def _derive(path: str | None, voxel_mm: float) -> Anatomy:
    tissue = icbm152(voxel_mm) if path is None else resample(*read_npz(Path(path)), voxel_mm)
    brain = _brain_mask(tissue, voxel_mm)
    outside = distance(brain, voxel_mm)
    # Fluid ends within 2.5 mm of the brain; a head segmented without bone around it gets it there.
    stray = np.where(outside > 2.5, tissue[CSF], 0).astype(np.uint8)
    tissue[CSF] -= stray
    tissue[BONE] = np.minimum(tissue[BONE].astype(np.uint16) + stray, 255)

    gm, wm, vent = tissue[GM], tissue[WM], tissue[VENT] > 127
    x, y, z = _scaled_coordinates(brain, vent)
    depth = distance(~close(brain, 10.0, voxel_mm), voxel_mm)
    below_tentorium = (z < 9 - 0.65 * np.abs(x) - 0.1 * np.abs(y + 55)) & (y < -33)
    stem = (np.abs(x) < 24) & (y < 4) & (y > -50) & (z < 2)
    deep = (x / 40) ** 2 + ((y + 6) / 36) ** 2 + ((z - 6) / 24) ** 2 < 1
    region = brain & ~(below_tentorium | stem | deep | vent | (np.abs(x) < 3))

    lateral = vent & (z > -8) & (np.abs(x) < 42)
    wall = lateral & ndimage.binary_dilation((gm.astype(np.int16) + wm) > 127) & (np.abs(x) > 2.5)
    sites = np.argwhere(region & (gm > 140) & (depth > 2) & (depth < 11))
    lag = 0.55 * np.clip(1 - depth / 35, 0, 1) + 0.45 * np.clip((y + 50) / 110, 0, 1)

    fluid = np.minimum(tissue[CSF].astype(np.uint16) + tissue[VENT], 255)
    pulsating = np.exp(-((x / 9) ** 2)) / (1 + np.exp((z - 6) / 5)) * np.exp(-(((y + 28) / 28) ** 2))
    return Anatomy(
        maps=tissue,
        brain=brain,
        lag=np.rint(np.clip(lag, 0, 1) * (LAG_STEPS - 1)).astype(np.uint8),
        voids=flow_voids((x, y, z), tissue[CSF], outside, voxel_mm),
        pulsation=np.rint(fluid * pulsating).astype(np.uint8),
        tuber_region=region,
        tuber_sites=sites,
        inward=_nearest(lateral, sites, voxel_mm),
        nodule_sites=np.argwhere(wall),
        voxel_mm=voxel_mm,
        reference_months=240.0 if path is None else 36.0,
    )


def _nearest(mask: NDArray[np.bool_], sites: NDArray[np.int64], voxel_mm: float) -> NDArray[np.int64]:
    """For each site the voxel of the mask that is nearest, to about 2 mm."""
    step = max(1, round(2 / voxel_mm))
    index = ndimage.distance_transform_edt(~mask[::step, ::step, ::step], return_distances=False, return_indices=True)
    coarse = np.minimum(sites // step, np.array(index.shape[1:]) - 1)
    return np.stack([index[(axis, *coarse.T)] for axis in range(3)], -1) * step
