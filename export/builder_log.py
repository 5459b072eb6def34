"""What TensorRT says while it builds: its log, kept, and its progress, as bars.

The memory that an engine is planned to take is said in the log and, without a GPU to load the engine on, nowhere else. Both
classes are made on use: their bases belong to a module that is imported on use.
"""

from __future__ import annotations

import logging
import re
from functools import cache
from typing import Any

from tqdm import tqdm

logger = logging.getLogger(__name__)


@cache  # TensorRT keeps the first logger of a process for ever
def builder_log(trt: Any) -> Any:
    """The process's one logger of a TensorRT module: `lines`, `errors()`, `planned("Weights" or "Activation")` in bytes."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[int, str]] = []

        def log(self, severity: Any, text: str) -> None:
            level = int(severity)  # 0 internal error, 1 error, 2 warning, 3 information, 4 verbose
            if level <= 3:
                self.lines.append((level, text))
                logger.log(logging.WARNING if level == 2 else logging.DEBUG, text)

        def errors(self) -> list[str]:
            return [text for level, text in self.lines if level <= 1]

        def planned(self, what: str) -> int | None:
            sizes = [re.search(rf"^Total {what} Memory: (\d+)( bytes)?$", text) for _, text in self.lines]
            return next((int(size[1]) for size in reversed(sizes) if size), None)

    return Log()


def build_progress(trt: Any) -> Any:
    """A monitor that draws bars; `interrupted` after Ctrl-C."""

    class Progress(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.interrupted = False
            self.bars: dict[str, Any] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.bars[phase] = tqdm(total=steps, desc=phase, position=len(self.bars), leave=False, disable=None)

        def step_complete(self, phase: str, step: int) -> bool:
            try:
                self.bars[phase].update()
            except KeyboardInterrupt:
                self.interrupted = True
            return not self.interrupted

        def phase_finish(self, phase: str) -> None:
            self.bars.pop(phase).close()

    return Progress()
