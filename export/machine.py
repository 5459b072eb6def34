"""The machine: what it is, which versions run on it (`scripts.machine`), how fast it copies and multiplies.

Rates are measured with torch, with the threads of the race: the best of several runs, since others can only slow them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from scripts import machine
from scripts.machine import cpu_flags

__all__ = ["PACKAGES", "Rates", "cpu_flags", "describe_machine", "measure_rates", "versions"]
PACKAGES = ("numpy", "torch", "monai", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt-rtx")


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
    """As `scripts.machine.describe_machine`, with the GPU that torch sees."""
    return machine.describe_machine(torch.cuda.get_device_name() if torch.cuda.is_available() else None)


def versions() -> dict[str, str | None]:
    """Of Python and of the packages that routes stand on; None for one that is not installed."""
    return machine.versions(PACKAGES)
