"""The machine: what it is, which versions run on it, how fast it copies and multiplies.

Rates are measured with torch, with the threads of the race: the best of several runs, since others can only slow them.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

PACKAGES = ("numpy", "torch", "monai", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


@dataclass(frozen=True)
class Rates:
    """What the machine reaches: bytes copied (read plus written) and float32 multiply-adds, each a second."""

    bytes_per_s: float
    multiply_adds_per_s: float
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def measure_rates(threads: int, *, copied_mib: int = 256, edge: int = 1536, runs: int = 7) -> Rates:
    """Copy a large array and multiply two square matrices, float32.

    Args:
        threads: of torch, for the measurement alone.
        copied_mib: size of the copied array, MiB: far above the caches.
        edge: of the matrices.
        runs: the best one counts.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        source = torch.ones(copied_mib * 2**18)
        target, square = torch.empty_like(source), torch.rand(edge, edge)
        product = torch.empty_like(square)
        copy_s = _best(lambda: target.copy_(source), runs)
        product_s = _best(lambda: torch.mm(square, square, out=product), runs)
    finally:
        torch.set_num_threads(before)
    return Rates(2 * source.numel() * 4 / copy_s, edge**3 / product_s, threads)


def _best(run: Callable[[], object], runs: int) -> float:
    seconds = []
    for _ in range(runs + 1):  # the first touches the pages
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def describe_machine() -> dict[str, Any]:
    """CPU, cores, vector instructions, caches (bytes), memory (bytes), GPU, system: what a reader needs to judge a time."""
    said = _cpuinfo()
    flags = cpu_flags()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": said.get("model name") or platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "virtual_machine": "hypervisor" in flags,
        "vector_flags": [flag for flag in FLAGS if flag in flags],
        "caches_bytes": _caches(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpu": gpu,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": os.getloadavg(),
    }


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that routes stand on; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    first = path.read_text().split("\n\n")[0] if path.is_file() else ""
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}


def _caches() -> dict[str, int]:
    """Data and unified caches of the first processor: {"L1": 49152, ...}."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (index / "type").read_text().strip() != "Instruction":
            size = (index / "size").read_text().strip().removesuffix("K")
            found[f"L{(index / 'level').read_text().strip()}"] = int(size) * 1024
    return found


def cpu_flags() -> set[str]:
    """What the processor says that it has, from /proc/cpuinfo; empty where there is none."""
    said = _cpuinfo()
    return set((said.get("flags") or said.get("Features") or "").split())
