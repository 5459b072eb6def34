"""The times of kernels that TensorRT has measured, kept so that the next build takes less long. One a folder of engines.

The file is one line of JSON, whose they are, and TensorRT's bytes. What is not of this device and this version, is damaged, or
too large is dropped and said: it costs time, never an engine.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from etscnet_edge.cuda import Device

NAME = "etscnet.timing.cache"
MAX_BYTES = 64 * 2**20


def read_timing_cache(file: Path, *, tensorrt: str, device: Device) -> tuple[bytes, str]:
    """TensorRT's bytes, and why they were dropped: (b"", "") where there is no file."""
    try:
        if file.stat().st_size > MAX_BYTES:
            return b"", f"it has more than {MAX_BYTES // 2**20} MiB"
        head, _, content = file.read_bytes().partition(b"\n")
        said = json.loads(head)
    except FileNotFoundError:
        return b"", ""
    except (OSError, ValueError):
        return b"", "it can't be read"
    if said != _head(content, tensorrt, device):
        whose = {key: said.get(key) for key in ("tensorrt", "gpu")} if isinstance(said, dict) else {}
        return b"", f"it is damaged, or another's ({whose})"
    return content, ""


def write_timing_cache(file: Path, content: bytes, *, tensorrt: str, device: Device) -> bool:
    """Write it to be put in place; False: it is too large to keep."""
    if len(content) > MAX_BYTES - 4096:
        return False
    file.write_bytes(json.dumps(_head(content, tensorrt, device)).encode() + b"\n" + content)
    return True


def _head(content: bytes, tensorrt: str, device: Device) -> dict[str, str]:
    return {
        "tensorrt": tensorrt,
        "gpu": device.name,
        "compute_capability": device.compute_capability,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
