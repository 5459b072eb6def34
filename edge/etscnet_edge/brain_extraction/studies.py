"""The brains of a study's images by the exported network: what `read_study` is given where images have their skulls."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.brain_extraction.checks import border_shares, mask_faults, overlap_faults, overlaps
from etscnet_edge.brain_extraction.extractor import extract, needed_mb, opened
from etscnet_edge.brain_extraction.manifest import BrainManifest
from etscnet_edge.errors import InputError
from etscnet_edge.memory import resident_mb
from etscnet_edge.nifti import Volume

Mask = NDArray[np.bool_]


def study_extractor(
    manifest: BrainManifest, *, threads: int, memory_mb: float | None = None, mask_quality: str = "refuse"
) -> Callable[[Mapping[str, Volume]], tuple[dict[str, Mask], dict[str, Any]]]:
    """What finds the brains of one study after another; the network is loaded for each, and closed.

    Args:
        manifest: of the export.
        threads: of ONNX Runtime.
        memory_mb: the most resident memory of this process, 10^6 bytes; None: no limit.
        mask_quality: what masks that can't be one child's brain do: "refuse" the study, or "warn" in its record.

    Returns:
        A function: modality -> volume; gives modality -> mask, and a record of it, fit for JSON: "method", "runtime", the
        network's "file" and "sha256", "checkpoint_sha256", "images", "overlap", "mask_quality", "faults" of masks that were let
        pass, "milliseconds". It raises InputError for a network that is not the manifest's, memory that does not do, and masks
        that are refused.
    """

    def extract_study(volumes: Mapping[str, Volume]) -> tuple[dict[str, Mask], dict[str, Any]]:
        start = time.perf_counter()
        if memory_mb is not None:
            _check_memory(manifest, volumes, memory_mb)
        with opened(manifest, threads=threads) as run:
            found = {name: extract(volume, run, manifest=manifest) for name, volume in volumes.items()}
        masks, gate = {name: one.mask for name, one in found.items()}, manifest.gate
        faults = [fault for name, volume in volumes.items() for fault in mask_faults(name, volume, found[name], gate)]
        shared = overlaps(volumes, masks)
        faults += overlap_faults(volumes, shared, gate)
        if faults and mask_quality == "refuse":
            raise faults[0]
        record = {
            "method": "network",
            "runtime": "cpu",
            "file": manifest.file,
            "sha256": manifest.said["files"][manifest.file]["sha256"],
            "checkpoint_sha256": manifest.said["source"]["checkpoint"]["sha256"],
            "images": {name: one.to_dict() | {"border": border_shares(one.mask)} for name, one in found.items()},
            "overlap": {f"{first} and {second}": dice for (first, second), dice in shared.items()},
            "mask_quality": mask_quality,
            "faults": [str(fault) for fault in faults],
            "milliseconds": round((time.perf_counter() - start) * 1e3, 1),
        }
        return masks, record

    return extract_study


def _check_memory(manifest: BrainManifest, volumes: Mapping[str, Volume], memory_mb: float) -> None:
    for volume in volumes.values():
        needs = resident_mb() + needed_mb(manifest, (volume.spacing * volume.stored.shape).tolist())
        if needs > memory_mb:
            raise InputError(
                f"the brain extraction takes {needs:.0f} MB, with what is resident",
                expected=f"at most {memory_mb:.0f} MB, the budget",
                remedy="Give more --memory_mb, or masks, or brain-extracted images.",
                file=volume.file,
            )
