"""A volume on its own grid -> the network's image of it: brain, threshold, resize, scale, as the bundle's MONAI transforms do it.

Two ways that say the same. `NumpyPreprocessing` follows the manifest's list of steps; it is the usual one: no runtime, and less
memory. `GraphPreprocessing` runs the exported `preprocess.onnx` on ONNX Runtime, where every step holds a whole volume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError
from etscnet_edge.manifest import Manifest
from etscnet_edge.nifti import Volume
from etscnet_edge.runtimes import OnnxSession

Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
STEPS: dict[str, Mapping[str, Any]] = {  # the values that `NumpyPreprocessing` honours, in their order
    "BrainExtractiond": {},
    "ThresholdIntensityd": {"threshold": 0.0, "above": True, "cval": 0.0},
    "Resized": {
        "size_mode": "all",
        "mode": "trilinear",
        "align_corners": False,
        "anti_aliasing": False,
        "anti_aliasing_sigma": None,
    },
    "ScaleIntensityd": {"minv": 0.0, "maxv": 1.0, "factor": None, "channel_wise": False},
}


class Preprocessing(Protocol):
    """Volume with its mask, None where it is brain-extracted -> (x, y, z) float32 in [0, 1]."""

    name: str

    def __call__(self, volume: Volume, mask: Mask | None) -> Image: ...

    def close(self) -> None:
        """Give back what it holds; it can't be used again."""


class GraphPreprocessing:
    """By the exported graph.

    Args:
        manifest: of the export.

    Raises:
        InputError: the file is not the one that was exported, or there is no ONNX Runtime.
    """

    name = "preprocess.onnx"

    def __init__(self, manifest: Manifest) -> None:
        content = manifest.content(manifest.said["preprocessing"]["file"])
        self._session = OnnxSession(content, name=self.name, threads=1, reuse=True)  # one volume a thread

    def __call__(self, volume: Volume, mask: Mask | None) -> Image:
        inputs = {
            "volume": np.ascontiguousarray(volume.stored),
            "slope": np.asarray(volume.slope, dtype=np.float32),
            "intercept": np.asarray(volume.intercept, dtype=np.float32),
            "mask": np.broadcast_to(True, volume.stored.shape) if mask is None else mask,
        }
        image: Image = self._session.run(inputs)["image"][0, 0]
        return image

    def close(self) -> None:
        """Give the memory back."""
        self._session.close()


class NumpyPreprocessing:
    """By numpy alone.

    Args:
        manifest: of the export.

    Raises:
        InputError: a step or a value that is not known here.
    """

    name = "numpy"

    def __init__(self, manifest: Manifest) -> None:
        steps = manifest.said["preprocessing"]["inside"]
        expected = [{"step": name, **values} for name, values in STEPS.items()]
        found = [{key: value for key, value in step.items() if key != "spatial_size"} for step in steps]
        if found != expected:
            raise InputError(
                f"the preprocessing {found}",
                expected=f"{expected}",
                remedy="Update etscnet-edge, or take --preprocessing graph.",
                file=Path(manifest.folder) / "etscnet.json",
            )
        self._size = manifest.spatial_size

    def __call__(self, volume: Volume, mask: Mask | None) -> Image:
        # In the order of memory, axes that run backwards turned forwards: that is several times as fast, and the small image is
        # turned back afterwards. A resize is the same from either end.
        values = volume.values()
        order = sorted(range(3), key=lambda axis: -abs(values.strides[axis]))
        back = tuple(axis for axis in range(3) if values.strides[axis] < 0)
        values = np.flip(values, back).transpose(order)
        if mask is not None:
            values = np.where(np.flip(mask, back).transpose(order), values, np.float32(0))
        image = scaled(resized(np.maximum(values, 0), [self._size[axis] for axis in order]))
        return np.flip(image.transpose(np.argsort(order)), back)

    def close(self) -> None:
        """Nothing is held."""


PREPROCESSING: dict[str, Callable[[Manifest], Preprocessing]] = {
    "numpy": NumpyPreprocessing,
    "graph": GraphPreprocessing,
}


def resized(values: Image, size: Sequence[int]) -> Image:
    """(x, y, z) -> (X, Y, Z), trilinear, the corners not aligned (the voxels' outer faces are), edges held, no smoothing.

    Output i lies at (i + 0.5) * n / N - 0.5 of n inputs. Axis by axis, the one that shrinks most first: less is left to do.
    """
    for axis in sorted(range(3), key=lambda axis: size[axis] / values.shape[axis]):
        edge, new = values.shape[axis], size[axis]
        at = np.clip((np.arange(new) + 0.5) * (edge / new) - 0.5, 0, edge - 1)
        lower = at.astype(np.intp)
        weight = (at - lower).astype(np.float32).reshape([-1 if number == axis else 1 for number in range(3)])
        low = np.take(values, lower, axis)
        high = np.take(values, np.minimum(lower + 1, edge - 1), axis)
        high -= low
        high *= weight
        high += low
        values = high
    return values


def scaled(values: Image) -> Image:
    """To [0, 1] by the least and the largest value; a constant image to 0. Rounding by a resize is no contrast."""
    lowest, highest = values.min(), values.max()
    if highest - lowest <= max(abs(lowest), abs(highest)) * 2.0**-20:
        return np.zeros_like(values)
    risen: Image = values - lowest
    risen /= highest - lowest
    return risen
