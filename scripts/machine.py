"""The machine that a measurement was made on: what it is, which versions run on it. No torch."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


def describe_machine(gpu: str | None = None) -> dict[str, Any]:
    """CPU, cores, vector instructions, caches (bytes), memory (bytes), system, load: what a reader needs to judge a time.

    Args:
        gpu: its name; whoever has torch knows it.
    """
    said = _cpuinfo()[0]
    flags = cpu_flags()
    return {
        "cpu": said.get("model name") or platform.processor() or platform.machine(),
        "cores": _cores(),
        "logical_cores": os.cpu_count(),
        "virtual_machine": "hypervisor" in flags,
        "vector_flags": [flag for flag in FLAGS if flag in flags],
        "caches_bytes": _caches(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "load_average": os.getloadavg(),
    }


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Of Python and of packages; None for one that is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def cpu_flags() -> set[str]:
    """What the processor says that it has, from /proc/cpuinfo; empty where there is none."""
    said = _cpuinfo()[0]
    return set((said.get("flags") or said.get("Features") or "").split())


def resident_bytes(field: str = "VmRSS") -> int:
    """Resident memory of this process (Linux): "VmRSS" now, "VmHWM" the most since the start or `forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def forget_peak() -> bool:
    """Let the peak of resident memory begin anew from now; whether the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def available_bytes() -> int:
    """Memory that can be had without swapping (MemAvailable of Linux)."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024


def _cpuinfo() -> list[dict[str, str]]:
    """/proc/cpuinfo, one dictionary a processor; one empty dictionary where there is none."""
    path = Path("/proc/cpuinfo")
    blocks = path.read_text().strip().split("\n\n") if path.is_file() else [""]
    return [
        {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in blocks
    ]


def _cores() -> int | None:
    """Physical cores; None where the system does not tell."""
    pairs = {(said.get("physical id"), said.get("core id")) for said in _cpuinfo()}
    return None if any(None in pair for pair in pairs) else len(pairs)


def _caches() -> dict[str, int]:
    """Data and unified caches of the first processor: {"L1": 49152, ...}."""
    found = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (index / "type").read_text().strip() != "Instruction":
            size = (index / "size").read_text().strip().removesuffix("K")
            found[f"L{(index / 'level').read_text().strip()}"] = int(size) * 1024
    return found
