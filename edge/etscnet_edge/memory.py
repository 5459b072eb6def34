"""The process's memory as the system tells it. Unit: MB, 10^6 bytes."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Sequence
from pathlib import Path

ACTIVATIONS, ACTIVATIONS_PER_IMAGE_BYTE = 22e6, 4.4


def resident_mb() -> float:
    """What is resident now; 0 where the system does not tell."""
    return _status("VmRSS:") or 0.0


def peak_mb() -> float | None:
    """The most that ever was; None where the system does not tell."""
    return _status("VmHWM:")


def give_back_freed_memory() -> None:
    """To the system, where the C library can do that (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def engine_bytes(shape: Sequence[int], onnx_bytes: int) -> int:
    """An estimate of what a TensorRT engine takes of the GPU's memory while it scores: activations, weights, inputs and outputs.

    Args:
        shape: of the image, (1, M, x, y, z).
        onnx_bytes: the size of the graph, which is that of its weights.

    From plans of TensorRT-RTX 1.7, form gpu-fp32: 33 MB of activations at 96 x 96 x 32, 317 MB at 256 x 256 x 128 voxels.
    """
    image = 4 * math.prod(shape)
    return int(ACTIVATIONS + ACTIVATIONS_PER_IMAGE_BYTE * image + image + onnx_bytes)


def _status(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.startswith(key)), None)
    return None if said is None else round(int(said.split()[1]) * 1.024e-3, 1)
