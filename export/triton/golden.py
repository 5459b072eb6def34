"""The golden case as a server meets it: the prepared image, and the scores that torch gave it.

The export holds the golden study's volumes (`export.golden`); its own preprocess.onnx makes the image of them here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.golden import COARSE
from scripts.errors import InputError

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # it looks once, when imported
import onnxruntime as ort

Array = NDArray[np.float32]
IMAGE_TOLERANCE = 1e-4  # of the intensity range: what the edge package allows its preprocessing


@dataclass(frozen=True)
class GoldenCase:
    """One image with its scores.

    Attributes:
        image: (1, M, x, y, z) float32.
        pred: (1, 1) float32, torch's.
        branch_scores: (1, M) float32, torch's.
    """

    image: Array
    pred: Array
    branch_scores: Array


def golden_case(exports: str | Path, manifest: Mapping[str, Any]) -> GoldenCase:
    """Prepare the golden study.

    Args:
        exports: the folder of the manifest, its files checked.
        manifest: what `export.manifest.read_manifest` gives.

    Raises:
        InputError: the image is not the one that the scores are of.
    """
    file = Path(exports) / manifest["golden"]
    session = ort.InferenceSession(
        Path(exports, manifest["preprocessing"]["file"]).read_bytes(), providers=["CPUExecutionProvider"]
    )
    with np.load(file, allow_pickle=False) as golden:
        channels = []
        for modality in manifest["modalities"]:
            volume = golden[modality].astype(np.float32)
            one, zero, brain = np.array(1, np.float32), np.array(0, np.float32), np.ones(volume.shape, bool)
            feeds = {"volume": volume, "slope": one, "intercept": zero, "mask": brain}
            channels.append(session.run(["image"], feeds)[0])
        image = np.ascontiguousarray(np.concatenate(channels, axis=1), dtype=np.float32)
        difference = float(np.abs(image[:, :, ::COARSE, ::COARSE, ::COARSE] - golden["coarse"]).max())
        if not difference <= IMAGE_TOLERANCE:  # NaN is no agreement
            found, remedy = f"a prepared image that differs by {difference:.1e}", "Export again: python -m export onnx."
            raise InputError(found, expected=f"at most {IMAGE_TOLERANCE}", remedy=remedy, file=file)
        return GoldenCase(image, golden["pred"], golden["branch_scores"])
