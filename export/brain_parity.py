"""Proof that the exported brain extraction decides as torch's network does, voxel by voxel of whole patches.

The patches: seeded noise, a seeded head-like image, and where files are given, theirs, z-scored. A voxel is decided otherwise
where the larger logit is another one's. Weights that give one class everywhere would pass by any graph: the differences of the
logits themselves are held against their own size, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray

from export.nnunet import ModelFolder
from export.seeded_image import seeded_image
from scripts.errors import InputError

MAX_DECIDED_OTHERWISE = 1e-4  # of the voxels: those whose logits are equal but for rounding
MAX_DIFFERENCE = 3e-4  # of a logit, by the range of all; measured: 1e-6 to 3e-5
Patch = NDArray[np.float32]


@dataclass(frozen=True)
class BrainParity:
    """The worst of all patches.

    Attributes:
        patches: that were compared, by name.
        decided_otherwise: the share of a patch's voxels.
        largest_difference: of a logit.
        logit_range: of torch's logits.
    """

    patches: list[str]
    decided_otherwise: float
    largest_difference: float
    logit_range: float

    def __bool__(self) -> bool:
        return (
            self.decided_otherwise <= MAX_DECIDED_OTHERWISE
            and self.largest_difference <= MAX_DIFFERENCE * self.logit_range
        )

    def line(self) -> str:
        """In words."""
        return (
            f"{len(self.patches)} patches: {self.decided_otherwise:.1e} of the voxels decided otherwise than by torch, logits "
            f"within {self.largest_difference:.1e} (their range is {self.logit_range:.3g})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def prove_brain(model: ModelFolder, graph: Path, *, images: Sequence[str] = ()) -> BrainParity:
    """Run both on every patch.

    Args:
        model: torch's.
        graph: the exported file.
        images: NIfTI files, whose middles are taken.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(graph.read_bytes(), options, providers=["CPUExecutionProvider"])
    patch = [int(edge) for edge in model.configuration["patch_size"]]
    names, otherwise, largest, low, high = [], 0.0, 0.0, np.inf, -np.inf
    for name, values in _patches(patch, images):
        found = session.run(["logits"], {"image": values[None, None]})[0]
        with torch.inference_mode():
            expected = model.network(torch.from_numpy(values[None, None])).numpy()
        names.append(name)
        otherwise = max(otherwise, float((found.argmax(1) != expected.argmax(1)).mean()))
        largest = max(largest, float(np.abs(found - expected).max()))
        low, high = min(low, float(expected.min())), max(high, float(expected.max()))
    return BrainParity(names, otherwise, largest, high - low)


def _patches(patch: Sequence[int], images: Sequence[str]) -> Iterator[tuple[str, Patch]]:
    rng = np.random.default_rng(0)
    yield "noise", rng.standard_normal(patch, dtype=np.float32)
    a, b, c = patch
    yield "head-like", _scored(seeded_image(1, (a, b, c), seed=0)[0, 0])
    for file in images:
        if not Path(file).is_file():
            raise InputError("no such file", expected="a NIfTI image", remedy="Correct --images.", file=file)
        image = nib.as_closest_canonical(nib.load(file))
        values = np.asarray(image.dataobj, dtype=np.float32).transpose(2, 1, 0)  # (z, y, x)
        yield Path(file).name, _scored(_middle(values, patch))


def _middle(values: Patch, patch: Sequence[int]) -> Patch:
    """A patch about the middle, padded with 0 where the image ends."""
    found = np.zeros(patch, dtype=np.float32)
    here, there = [], []
    for edge, size in zip(values.shape, patch, strict=True):
        width = min(edge, size)
        here.append(slice((edge - width) // 2, (edge - width) // 2 + width))
        there.append(slice((size - width) // 2, (size - width) // 2 + width))
    found[tuple(there)] = values[tuple(here)]
    return found


def _scored(values: Patch) -> Patch:
    scored: Patch = (values - values.mean()) / max(values.std(), np.float32(1e-8))
    return scored
