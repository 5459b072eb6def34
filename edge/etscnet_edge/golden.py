"""The golden case of the export: before the first patient, whatever runs the network must say of it what torch said.

golden.npz holds, a modality, `<modality>` (x, y, z) uint16, brain-extracted, in the model's orientation; of the prepared image
every 16th voxel, `coarse`; and torch's `branch_scores` (1, M) and `pred` (1, 1).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError
from etscnet_edge.manifest import Manifest
from etscnet_edge.nifti import Volume
from etscnet_edge.preprocess import NumpyPreprocessing, Preprocessing
from etscnet_edge.source import Source

Run = Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]
COARSE = 16
IMAGE_TOLERANCE = 1e-4  # of the intensity range, at every voxel


def accept(manifest: Manifest, run: Run, *, precision: str, preprocessing: Preprocessing | None = None) -> float:
    """Prepare the golden study and run it.

    Args:
        manifest: of the export.
        run: image (1, M, x, y, z) float32 -> "pred" (1, 1), "branch_scores" (1, M).
        precision: of the network, which decides the tolerance: "float32" or "float16".
        preprocessing: the one that will be used; None: numpy's.

    Returns:
        The largest difference of a score from torch's.

    Raises:
        InputError: a difference over the tolerance, or a golden case that is not the export's.
    """
    with np.load(io.BytesIO(manifest.content(manifest.said["golden"])), allow_pickle=False) as golden:
        expected = {name: golden[name] for name in ("coarse", "branch_scores", "pred")}
        study = [golden[name].astype(np.float32) for name in manifest.modalities]
    prepare = preprocessing or NumpyPreprocessing(manifest)
    source = Source(manifest.said["golden"], b"")
    image = np.stack([prepare(Volume(values, 1.0, 0.0, np.eye(4), source), None) for values in study])[None]
    found = {"coarse": image[:, :, ::COARSE, ::COARSE, ::COARSE], **run(image)}
    tolerances = {form["precision"]: float(form["tolerance"]) for form in manifest.said["forms"].values()}
    allowed = {"coarse": IMAGE_TOLERANCE, "branch_scores": tolerances[precision], "pred": tolerances[precision]}
    differences = {name: float(np.abs(found[name] - expected[name]).max()) for name in allowed}
    for name, difference in differences.items():
        if not difference <= allowed[name]:  # NaN is no agreement
            raise InputError(
                f"of the golden study {name} differs from torch's by {difference:.1e}",
                expected=f"at most {allowed[name]:.0e} in {precision}",
                remedy="Score with another runtime (--runtime cpu), and report this one with its versions.",
                file=manifest.folder / manifest.said["golden"],
            )
    return max(differences["branch_scores"], differences["pred"])
