"""One volume read, resized and normalised: the edge package's two ways against the bundle's MONAI transforms.

.venv/bin/python -m benchmarks.edge_volume --mri MRI_DIR --exports EXPORTS

Each way and file in a process of its own: median of several, and what the largest resident memory grew by since the libraries
were there.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.edge import CASES
from tests.real_mri import real_cases

TIMES = 7
WAYS = ("edge, numpy", "edge, preprocess.onnx", "MONAI")


def opened(way: str, exports: Path, file: str) -> Callable[[], object]:
    """What reads and prepares the file."""
    from etscnet_edge.manifest import read_manifest
    from etscnet_edge.nifti import read_volume
    from etscnet_edge.preprocess import GraphPreprocessing, NumpyPreprocessing

    manifest = read_manifest(exports, for_timing=True)
    if way == "MONAI":
        from monai.bundle import ConfigParser

        parser = ConfigParser()
        parser.read_config("bundle/configs/inference.json")
        parser["code_path"], parser["modalities"] = "", ["flair"]
        parser["spatial_size"] = list(manifest.spatial_size)
        transforms = [
            step for step in parser["preprocessing"]["transforms"] if "BrainExtractiond" not in step["_target_"]
        ]
        parser["preprocessing"]["transforms"] = transforms  # with skull or without: the time is the same
        preprocessing = parser.get_parsed_content("preprocessing")
        return lambda: preprocessing({"case": "one", "flair": file})["image"]
    prepare = (NumpyPreprocessing if way == "edge, numpy" else GraphPreprocessing)(manifest)
    orientation = manifest.said["preprocessing"]["orientation"]
    return lambda: prepare(read_volume(file, orientation=orientation, limits=manifest.limits), None)


def one(way: str, exports: Path, file: str) -> None:
    """The process of one way: print milliseconds and MB."""
    from etscnet_edge.memory import peak_mb, resident_mb

    run = opened(way, exports, file)
    before, spent = resident_mb(), []
    for _ in range(TIMES + 1):
        start = time.perf_counter()
        run()
        spent.append((time.perf_counter() - start) * 1e3)
    print(json.dumps({"ms": statistics.median(spent[1:]), "mb": (peak_mb() or 0.0) - before}))


def compare(mri: Path, exports: Path) -> None:
    """Compare the edge package's two ways of preparing a volume with MONAI's transforms, and print the table.

    Args:
        mri: folder of the real pairs.
        exports: folder of etscnet.json.

    Example:
        python -m benchmarks.edge_volume --mri ../shared/mri --exports results/exports
    """
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{Path.cwd() / 'edge'}", "OMP_NUM_THREADS": "1"}
    size = json.loads((exports / "etscnet.json").read_text())["spatial_size"]
    print(f"To {' x '.join(map(str, size))} voxels, one thread.\n")
    print("| volume | " + " | ".join(f"{way} (ms; MB)" for way in WAYS) + " |")
    print("|---|" + "---:|" * len(WAYS))
    for case in [case for case in real_cases(mri.resolve()) if case["case"] in CASES]:
        for name in ("flair", "t2w"):
            cells = []
            for way in WAYS:
                command = [sys.executable, "-m", "benchmarks.edge_volume", "--one", way, str(exports), case[name]]
                said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
                figures = json.loads(said.splitlines()[-1])
                cells.append(f"{figures['ms']:.0f}; {figures['mb']:.0f}")
            print(f"| {case['case']} {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:  # what the benchmark starts
        one(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        from scripts.command_line.commands import run_function

        run_function(compare)
