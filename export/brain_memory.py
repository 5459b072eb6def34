"""What one patch of the brain extraction takes of a process's memory, measured in a process of its own as the edge runs it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from scripts.errors import InputError

LIMIT_S = 1800.0
THREADS = 2
ROOT = Path(__file__).resolve().parents[1]


def graph_memory(graph: Path, shape: Sequence[int]) -> int:
    """Load the graph and run it once on noise; ONNX Runtime's CPU, two threads, no arena.

    Args:
        graph: takes `image`.
        shape: of the image.

    Returns:
        MB (10^6 bytes) of resident memory at its peak, beyond the interpreter and its libraries.

    Raises:
        InputError: the process fails or takes longer than half an hour.
    """
    command = [sys.executable, "-m", "export.brain_memory", str(graph), json.dumps(list(shape))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ORT_DISABLE_TELEMETRY": "1"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LIMIT_S)
    except subprocess.TimeoutExpired as error:
        found = f"no patch in {LIMIT_S:.0f} s"
        raise InputError(found, expected="one", remedy="Export on a faster machine.", file=graph) from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or [f"status {done.returncode}"]
        remedy = "Export on a machine with more memory."
        raise InputError(f"a patch could not be run ({said[0]})", expected="logits", remedy=remedy, file=graph)
    return int(json.loads(done.stdout)["mb"])


def measure(graph: str, shape: list[int]) -> int:
    """In the process itself; MB as `graph_memory`."""
    import numpy as np
    import onnxruntime

    before = _resident("VmRSS:")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = THREADS, 1
    options.enable_mem_pattern, options.enable_mem_reuse, options.enable_cpu_mem_arena = False, True, False
    session = onnxruntime.InferenceSession(Path(graph).read_bytes(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"image": np.random.default_rng(0).standard_normal(shape).astype(np.float32)})
    return math.ceil((_resident("VmHWM:") - before) / 1e6)


def _resident(key: str) -> float:
    """Bytes, as Linux tells them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024.0


if __name__ == "__main__":
    print(json.dumps({"mb": measure(sys.argv[1], json.loads(sys.argv[2]))}))
