"""What one instance takes on ONNX Runtime set up as Triton's backend sets it up, measured in a process of its own.

The export's own figure (`export.memory`) is without reuse of buffers by ONNX Runtime's planner, which Triton's backend leaves on.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

from scripts.errors import InputError

RUNS = 2  # the second run's arena may be larger than the first's
THREADS = 2
LIMIT_S = 600.0


def instance_mb(file: str | Path) -> int:
    """Load and run an ONNX file, on the CPU with two threads.

    Args:
        file: the graph; a free batch is run with one image.

    Returns:
        MB (10^6 bytes) of resident memory at its peak, beyond the interpreter and its libraries.

    Raises:
        InputError: it does not load or run; the message is ONNX Runtime's.
    """
    command = [sys.executable, "-m", "export.triton.memory", str(Path(file).resolve())]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:]
        raise InputError(f"it does not run ({''.join(said)})", expected="a graph", remedy="Export again.", file=file)
    return math.ceil(int(done.stdout) / 1e6)


def _measure(file: str) -> int:
    """Bytes."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import numpy as np
    import onnxruntime as ort

    before = _peak_bytes()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern = THREADS, False
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    shape = [edge if isinstance(edge, int) else 1 for edge in image.shape]
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    for _ in range(RUNS):
        session.run(None, {image.name: values})
    return _peak_bytes() - before


def _peak_bytes() -> int:
    """Of this process since it began; getrusage would say its parent's, too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    print(_measure(sys.argv[1]))
