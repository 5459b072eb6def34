"""Command line of the export: `python -m export VERB --option value`."""

from __future__ import annotations

import sys

from scripts.commands import run

VERBS = {
    "onnx": "export.to_onnx:export_onnx",
    "brain-extraction": "export.brain_extraction:export_brain_extraction",
    "parity": "export.parity:parity",
    "tensorrt": "export.engine:export_tensorrt",
    "benchmark": "export.benchmark:benchmark",
    "benchmark-scaling": "export.scaling:benchmark_scaling",
}

if __name__ == "__main__":
    run("export", VERBS, sys.argv[1:])
