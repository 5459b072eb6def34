"""How far a build is: one line that is drawn over on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 24
BETWEEN_LINES = 10.0  # seconds, where every line stays
BETWEEN_BARS = 0.1


class Progress:
    """Phases of the builder, nested; the innermost is shown.

    Args:
        stream: None: stderr as it is now.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._drawn, self._start, self._last, self._phase = 0, time.monotonic(), 0.0, ""

    def say(self, text: str) -> None:
        """A line that stays."""
        self._clear()
        print(f"etscnet-edge: {text}", file=self._stream, flush=True)

    def step(self, phase: str, done: int, of: int) -> None:
        """So many steps of a phase are done; shown if it is time for it."""
        now = time.monotonic()
        terminal = self._stream.isatty()
        news = terminal and phase != self._phase  # it may be a long one
        if not news and now - self._last < (BETWEEN_BARS if terminal else BETWEEN_LINES):
            return
        self._last, self._phase = now, phase
        minutes, seconds = divmod(int(now - self._start), 60)
        text = f"{phase} {done}/{of}, {minutes}:{seconds:02d}"
        if not terminal:
            self.say(text)
            return
        filled = WIDTH * min(done, of) // max(of, 1)
        line = f"[{'#' * filled}{'-' * (WIDTH - filled)}] {text}"[:79]
        print(f"\r{line:<{self._drawn}}", end="", file=self._stream, flush=True)
        self._drawn = len(line)

    def close(self) -> None:
        """Leave no half line behind."""
        self._clear()

    def _clear(self) -> None:
        if self._drawn:
            print(f"\r{' ' * self._drawn}\r", end="", file=self._stream, flush=True)
            self._drawn = 0
