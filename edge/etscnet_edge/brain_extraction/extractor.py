"""A head's image -> its brain mask on the same grid, as HD-BET gives it: nnU-Net's predictor without torch.

In its order: axes turned, cropped to what is not 0, z-scored, resampled to the plan's spacing, overlapping patches weighted by a
Gaussian, resampled back, the larger logit; then, which HD-BET itself does not do, the largest connected part where the manifest
asks for it. Source: nnunetv2 2.8.1, DefaultPreprocessor, nnUNetPredictor, export_prediction; hd-bet 2.0.1.

The network is loaded for each study and closed after it: its memory is the classifier's again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.brain_extraction.manifest import BrainManifest
from etscnet_edge.brain_extraction.parts import filled, parts
from etscnet_edge.brain_extraction.resampling import new_shape, resample
from etscnet_edge.brain_extraction.tiling import importance, mirrored, slide, steps
from etscnet_edge.errors import InputError
from etscnet_edge.memory import give_back_freed_memory
from etscnet_edge.nifti import Volume
from etscnet_edge.runtimes import OnnxSession

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Run = Callable[[Array], Array]
BYTES_A_VOXEL = 20  # of the plan's grid: the image, sums, weights, twice one of them while it is padded or cut


@dataclass(frozen=True)
class Extracted:
    """One image's brain.

    Attributes:
        mask: (x, y, z), on the image's grid.
        mask_ml: its volume.
        parts: connected parts that the network found.
        largest_share: of what it found, in the largest part.
        dropped_ml: the volume of the other parts, where they were dropped.
        patches: that the network looked at.
        milliseconds: all of it.
    """

    mask: Mask
    mask_ml: float
    parts: int
    largest_share: float
    dropped_ml: float
    patches: int
    milliseconds: float

    def to_dict(self) -> dict[str, Any]:
        """All but the mask, ready for JSON."""
        return {
            "mask_ml": round(self.mask_ml, 1),
            "parts": self.parts,
            "largest_share": round(self.largest_share, 5),
            "dropped_ml": round(self.dropped_ml, 2),
            "patches": self.patches,
            "milliseconds": self.milliseconds,
        }


@contextmanager
def opened(manifest: BrainManifest, *, threads: int) -> Iterator[Run]:
    """The network, until the end of the block: patch -> logit of the brain less that of the background.

    Raises:
        InputError: the file is not the one that was exported, or ONNX Runtime does not run it.
    """
    session = OnnxSession(manifest.content(), name=manifest.file, threads=threads, reuse=True, arena=False)
    shape = [1, 1, *manifest.patch]
    try:
        if session.inputs != {"image": shape}:
            found, remedy = f"a network of {session.inputs}", "Export again: python -m export brain-extraction."
            raise InputError(found, expected=f"image {shape}", remedy=remedy, file=manifest.file)

        def run(patch: Array) -> Array:
            logits = session.run({"image": patch[None, None]})["logits"][0]  # (2, a, b, c)
            difference: Array = logits[1] - logits[0]
            return difference

        yield run
    finally:
        session.close()
        give_back_freed_memory()


def extract(volume: Volume, run: Run, *, manifest: BrainManifest) -> Extracted:
    """The brain of one image with its skull.

    Args:
        volume: in the manifest's orientation.
        run: see `opened`.
        manifest: of the export.

    Raises:
        InputError: the network finds no brain, or gives what is no number.
    """
    start = time.perf_counter()
    axes = manifest.axes
    values = volume.values().transpose(axes)
    spacing = [float(volume.spacing[axis]) for axis in axes]
    box = _box(values)
    shape = tuple(side.stop - side.start for side in box)
    image = _normalised(values[box], manifest.said["normalisation"])
    del values
    grid = new_shape(shape, spacing, manifest.spacing)
    image = resample(image, grid, how=manifest.resampling("data"), old=spacing, new=manifest.spacing)
    tiling = manifest.said["tiling"]
    weights = importance(manifest.patch, sigma=tiling["gaussian_sigma"], peak=tiling["gaussian_peak"])
    if mirror_axes := manifest.said["mirror_axes"]:
        run = mirrored(run, mirror_axes)
    difference = slide(image, run, weights=weights, step=tiling["step"])
    if not np.isfinite(difference).all():
        found = "brain extraction: the network's logits are not finite"
        raise InputError(found, expected="numbers", remedy="Report this study.", file=volume.file)
    del image
    back = resample(difference, shape, how=manifest.resampling("logits"), old=manifest.spacing, new=spacing)
    mask = np.zeros(volume.stored.shape, dtype=bool)
    mask.transpose(axes)[box] = back > 0
    voxel_ml = abs(float(np.linalg.det(volume.affine[:3, :3]))) / 1000
    labels, voxels = parts(mask)
    if not voxels.size:
        raise InputError(
            "brain extraction: the network finds no brain",
            expected="the image of a head",
            remedy="Give the brain's mask, or check that the image is an MRI of a head.",
            file=volume.file,
        )
    dropped = 0
    if manifest.said["largest_part"]:
        mask, dropped = labels == 1, int(voxels[1:].sum())
    rows = steps(np.maximum(grid, manifest.patch).tolist(), manifest.patch, tiling["step"])
    return Extracted(
        mask=mask,
        mask_ml=int(np.count_nonzero(mask)) * voxel_ml,
        parts=int(voxels.size),
        largest_share=float(voxels[0] / voxels.sum()),
        dropped_ml=dropped * voxel_ml,
        patches=math.prod(map(len, rows)) * 2 ** len(mirror_axes),
        milliseconds=round((time.perf_counter() - start) * 1e3, 1),
    )


def needed_mb(manifest: BrainManifest, extent_mm: Sequence[float]) -> float:
    """What an extraction takes beyond the libraries and the study, 10^6 bytes: the network as the export measured it, and the
    image on the plan's grid.

    Args:
        manifest: of the export.
        extent_mm: of the image's field, (x, y, z).
    """
    edges = [extent_mm[axis] / edge for axis, edge in zip(manifest.axes, manifest.spacing, strict=True)]
    voxels = math.prod(max(edge, size) for edge, size in zip(edges, manifest.patch, strict=True))
    return float(manifest.said["network"]["memory_mb"]) + BYTES_A_VOXEL * voxels / 1e6


def _box(values: Array) -> tuple[slice, slice, slice]:
    """Around all that is not 0."""
    inside = values != 0
    sides = []
    for axis in range(3):
        held = np.flatnonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
        sides.append(slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0, values.shape[axis]))
    return sides[0], sides[1], sides[2]


def _normalised(values: Array, how: dict[str, Any]) -> Array:
    """A copy with mean 0 and deviation 1; `use_mask`: within what is not 0 and its holes, 0 elsewhere stays as it is."""
    image = np.array(values, dtype=np.float32, order="C")
    inside = filled(image != 0) if how["use_mask"] else None
    known = image if inside is None else image[inside]
    mean, deviation = known.mean(), max(known.std(), np.float32(how["epsilon"]))
    if inside is None:
        image -= mean
        image /= deviation
    else:
        image[inside] = (known - mean) / deviation
    return image
