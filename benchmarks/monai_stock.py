"""What the edge package is compared with: one study by MONAI's transforms and MONAI's own ONNX export, in a fresh process.

.venv/bin/python -m benchmarks.monai_stock CASE.json STOCK.onnx SIZE   (SIZE: 256,256,128)
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

START = time.perf_counter()
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np  # noqa: E402 the clock starts before everything
import onnxruntime  # noqa: E402
from monai.bundle import ConfigParser  # noqa: E402


def main(case_file: str, graph: str, size: str) -> None:
    """Print score and milliseconds as JSON."""
    imported = time.perf_counter()
    case = json.loads(Path(case_file).read_text())
    parser = ConfigParser()
    parser.read_config("bundle/configs/inference.json")
    parser["code_path"], parser["brain_extraction"] = "", case["brain_extraction"]
    parser["modalities"], parser["spatial_size"] = ["flair", "t2w"], [int(edge) for edge in size.split(",")]
    preprocessing = parser.get_parsed_content("preprocessing")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    loaded = time.perf_counter()
    image = np.asarray(preprocessing(case)["image"], dtype=np.float32)[None]
    prepared = time.perf_counter()
    (score,) = session.run(None, {session.get_inputs()[0].name: image})[0].ravel()
    ran = time.perf_counter()
    moments = {
        "import": imported - START,
        "load": loaded - imported,
        "prepare": prepared - loaded,
        "network": ran - prepared,
    }
    print(json.dumps({"score": float(score), "milliseconds": {key: 1e3 * value for key, value in moments.items()}}))


if __name__ == "__main__":
    main(*sys.argv[1:4])
