"""Whether there is memory to build an engine, asked before minutes are spent on it. Unit: bytes.

The estimate adds what can't be avoided; it is a floor, not a promise. Its figures come from

- logs of TensorRT, "[MemUsageChange] Init builder kernel library": 10.3 on Orin, JetPack 6: 927 MiB on the processor, while the
  memory that both share shrinks by 752 to 968 MiB; 10.x on x86-64: 1917 to 2648 MiB, and 354 to 414 MiB of the GPU after
  CUDA's 232 to 427;
- builds of this network by TensorRT-RTX 1.7 without a GPU, form gpu-fp32, at 96 x 96 x 32 and at 256 x 256 x 128 voxels: the
  process grew by 575 and by 1773 MB at its peak, the plan has 33 and 317 MB of activations. Both are taken to be linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from etscnet_edge.errors import InputError
from etscnet_edge.manifest import Manifest
from etscnet_edge.memory import engine_bytes

MEMINFO = Path("/proc/meminfo")
LIBRARIES_INTEGRATED = 970 * 2**20  # processor and GPU together: their memory is one
LIBRARIES_HOST, LIBRARIES_DEVICE = 2650 * 2**20, 840 * 2**20
GRAPH_HOST, GRAPH_HOST_PER_IMAGE_BYTE = 530e6, 18.5


@dataclass(frozen=True)
class Need:
    """Bytes that a build takes.

    Attributes:
        host: of the processor's memory.
        device: of the GPU's.
        integrated: both are the same memory.
    """

    host: int
    device: int
    integrated: bool


def need(manifest: Manifest, *, onnx_bytes: int, workspace: int | None, integrated: bool) -> Need:
    """The estimate for one form of an export.

    Args:
        manifest: of the export; the shape of its image counts.
        onnx_bytes: the size of the form's graph, which is that of its weights.
        workspace: the builder's limit in bytes; None: what the plan is known to take counts alone.
        integrated: whether the GPU shares the processor's memory.
    """
    shape = manifest.said["inputs"]["image"]["shape"]
    image = 4 * math.prod(shape)
    host = GRAPH_HOST + GRAPH_HOST_PER_IMAGE_BYTE * image + onnx_bytes
    device = engine_bytes(shape, onnx_bytes) + onnx_bytes + (workspace or 0)  # weights twice: network and trial
    libraries = (LIBRARIES_INTEGRATED, 0) if integrated else (LIBRARIES_HOST, LIBRARIES_DEVICE)
    return Need(int(host) + libraries[0], int(device) + libraries[1], integrated)


def available_host(meminfo: Path = MEMINFO) -> int | None:
    """MemAvailable, bytes; None where the system doesn't tell.

    For an integrated GPU, too: there cudaMemGetInfo leaves out what the system would give up, its caches first.
    """
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.startswith("MemAvailable:")), None)
    return None if said is None else int(said.split()[1]) * 1024


def refuse_too_little(needed: Need, *, host: int | None, device: int) -> None:
    """Compare with what is free; a system that doesn't tell is not held against.

    Raises:
        InputError: the build would not fit.
    """
    asked: list[tuple[str, int, int | None]] = [("memory", needed.host, host), ("GPU memory", needed.device, device)]
    if needed.integrated:
        asked = [("memory, which processor and GPU share,", needed.host + needed.device, host)]
    for what, wanted, free in asked:
        if free is not None and wanted > free:
            raise InputError(
                f"{free / 1e6:.0f} MB of {what} are free",
                expected=f"about {wanted / 1e6:.0f} MB for the build",
                remedy="Close other programs (on a Jetson the desktop: sudo systemctl isolate multi-user.target), or give less"
                " --memory_mb, the builder's workspace.",
            )
