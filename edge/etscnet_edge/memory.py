"""The process's memory as the system tells it. Unit: MB, 10^6 bytes."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path


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


def _status(key: str) -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.startswith(key)), None)
    return None if said is None else round(int(said.split()[1]) * 1.024e-3, 1)
