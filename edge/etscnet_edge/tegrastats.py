"""What a Jetson says of itself while something runs: memory, GPU load, temperatures, power, from NVIDIA's `tegrastats`.

Source: docs.nvidia.com/jetson, tegrastats utility. A line of it: "RAM 3219/7620MB (...) CPU [2%@729,...] GR3D_FREQ 12%
cpu@45.5C gpu@44.2C VDD_IN 5200mW/5100mW".
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from threading import Thread
from types import TracebackType

INTERVAL_MS = 200
PATTERNS: dict[str, Callable[[re.Match[str]], tuple[str, str]]] = {
    r"RAM (\d+)/\d+MB": lambda found: ("RAM (MB)", found[1]),
    r"GR3D_FREQ (\d+)%": lambda found: ("GPU load (%)", found[1]),
    r"(\w+)@(-?[\d.]+)C": lambda found: (f"{found[1]} (C)", found[2]),
    r"(VDD_\w+|POM_\w+) (\d+)(?:mW)?/\d+(?:mW)?": lambda found: (f"{found[1]} (mW)", found[2]),
}


class Tegrastats:
    """Runs `tegrastats` while the context lasts; where there is none, it does nothing."""

    def __enter__(self) -> Tegrastats:
        self.lines: list[str] = []
        program = shutil.which("tegrastats")
        self._process = None
        if program is not None:
            command = [program, "--interval", str(INTERVAL_MS)]
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            self._reader = Thread(target=self._read, daemon=True)
            self._reader.start()
        return self

    def _read(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self.lines.extend(iter(self._process.stdout.readline, ""))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._reader.join(timeout=2)  # a child of its own may hold the pipe open

    def readings(self) -> dict[str, dict[str, float]] | None:
        """Name with unit -> "mean" and "most" over the context; None where there is no tegrastats."""
        if self._process is None:
            return None
        found: dict[str, list[float]] = {}
        for line in self.lines:
            for pattern, read in PATTERNS.items():
                for match in re.finditer(pattern, line):
                    name, value = read(match)
                    found.setdefault(name, []).append(float(value))
        return {name: {"mean": round(sum(all_) / len(all_), 1), "most": max(all_)} for name, all_ in found.items()}
