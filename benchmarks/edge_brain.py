"""Time and memory of the edge's brain extraction with a network of the size that nnU-Net's planner gives to 1 mm brain MRI.

    python benchmarks/edge_brain.py --flair FLAIR --t2w T2W --flair_mask MASK --t2w_mask MASK --output edge_brain.json

The network (30.8 million parameters, patch 112 x 160 x 128, 1 mm) has random weights: it works as much as a trained one, and its
masks mean nothing. So the process does all that `etscnet-edge predict --brain_extraction network` does, on two cores, and goes on
with the masks that are given. Memory is the process's VmHWM, its interpreter and libraries included; the processor's seconds
are told beside those of the clock, for another program may have had the cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "edge")]
FEATURES = (32, 64, 128, 256, 320, 320)
PATCH = (112, 160, 128)
CORES = 2


def planner_plan() -> dict[str, Any]:
    """plans.json: six stages, two convolutions each, the last stride in the plane alone."""
    from tests.nnunet_folder import plans

    said = plans(features=FEATURES, patch=PATCH, spacing=1.0)
    given = said["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    given["strides"][-1] = [1, 2, 2]
    given["n_conv_per_stage"], given["n_conv_per_stage_decoder"] = [2] * len(FEATURES), [2] * (len(FEATURES) - 1)
    return said


def export_planner_network(exports: Path) -> None:
    """The network with random weights beside the classifier's export."""
    from export.brain_extraction import export_brain_extraction
    from tests.nnunet_folder import write_folder

    with tempfile.TemporaryDirectory() as folder:
        print(export_brain_extraction(write_folder(Path(folder) / "planner", planner_plan()), exports), file=sys.stderr)


def one_study(exports: str, images: dict[str, str], masks: dict[str, str]) -> None:
    """The process itself: print its figures as JSON."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    start, used = time.perf_counter(), time.process_time()
    import numpy as np
    from etscnet_edge.brain_extraction.extractor import extract, opened
    from etscnet_edge.brain_extraction.manifest import read_brain_manifest
    from etscnet_edge.classifier import Classifier
    from etscnet_edge.memory import peak_mb, resident_mb
    from etscnet_edge.nifti import Volume, read_volume

    manifest = read_brain_manifest(exports)
    said: dict[str, Any] = {}

    def with_given_masks(volumes: Mapping[str, Volume]) -> tuple[dict[str, Any], dict[str, Any]]:
        began, before = time.perf_counter(), time.process_time()
        with opened(manifest, threads=CORES) as run:
            found = {name: extract(volume, run, manifest=manifest) for name, volume in volumes.items()}
        said["extraction"] = {"s": time.perf_counter() - began, "processor_s": time.process_time() - before}
        said["patches"] = {name: one.patches for name, one in found.items()}
        said["after_extraction_mb"] = resident_mb()
        limits = {"max_voxels": 10**9, "min_squareness": 0.7}
        given = {name: read_volume(masks[name], orientation="RAS", limits=limits) for name in volumes}
        return {name: np.asarray(volume.stored) > 0 for name, volume in given.items()}, {"method": "network"}

    with (  # the masks of random weights would be refused
        patch("etscnet_edge.classifier.study_extractor", return_value=with_given_masks),
        Classifier(exports, brain_extraction="network", threads=CORES) as classifier,
    ):
        result = classifier.predict(images)
    said |= {
        "s": time.perf_counter() - start,
        "processor_s": time.process_time() - used,
        "peak_mb": peak_mb(),
        "network_mb": manifest.said["network"]["memory_mb"],
        "form": result.model["form"],
        "load_average": os.getloadavg()[0],
    }
    print(json.dumps(said))


def benchmark(
    flair: str, t2w: str, flair_mask: str, t2w_mask: str, *, exports: str | None = None, output: str | None = None
) -> str:
    """Export a network of HD-BET's size, score a study with skull in a fresh process, and print the figures.

    Args:
        flair: NIfTI file of the FLAIR image, with skull.
        t2w: NIfTI file of the T2w image, with skull.
        flair_mask: its brain.
        t2w_mask: its brain.
        exports: folder of `python -m export onnx`, which gets the network; None: one is made of the bundle and left out.
        output: a JSON file for the figures, too.

    Example:
        python benchmarks/edge_brain.py --flair FLAIR.nii.gz --t2w T2w.nii.gz --flair_mask FLAIR_mask.nii.gz \\
            --t2w_mask T2w_mask.nii.gz --output results/edge_brain.json
    """
    from export.to_onnx import export_onnx

    with tempfile.TemporaryDirectory() as folder:
        target = Path(exports) if exports else Path(folder) / "exports"
        if not (target / "etscnet.json").is_file():
            export_onnx(ROOT / "bundle", target)
        export_planner_network(target)
        given = json.dumps([str(target), {"flair": flair, "t2w": t2w}, {"flair": flair_mask, "t2w": t2w_mask}])
        done = subprocess.run([sys.executable, __file__, "--one", given], stdout=subprocess.PIPE, text=True, check=True)
    text = json.dumps(json.loads(done.stdout.splitlines()[-1]), indent=1)
    if output:
        Path(output).write_text(text + "\n")
    return text


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:  # what the benchmark starts
        one_study(*json.loads(sys.argv[2]))
    else:
        from scripts.command_line.commands import run_function

        run_function(benchmark)
