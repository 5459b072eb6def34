"""A command in a process of its own: its output goes to a log file, and it does not outlive the one who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

PATIENCE_S = 10.0  # from "please end" to the end
# Freed memory is kept for the next tensor: glibc's default gives it back, and a training on the CPU then spends its time on
# page faults. What the user has set counts more.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}


def environment() -> dict[str, str]:
    """Of a process that runs torch: this one's, with memory kept."""
    return {**KEEP_MEMORY, **os.environ, "PYTHONUNBUFFERED": "1"}


def run_logged(
    command: Sequence[str], log: Path, *, meanwhile: Callable[[], object] = lambda: None, every_s: float = 1.0
) -> int:
    """Run a command to its end, its output added to the log behind the time and the command itself.

    Args:
        command: program and arguments.
        log: text file.
        meanwhile: called every so often while the command runs, and once after its end.
        every_s: seconds between the calls.

    Returns:
        The exit status; negative: the signal that ended it. If this process is interrupted, the command is ended first.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        out.write(f"\n{time.strftime('%Y-%m-%d %H:%M:%S')} {subprocess.list2cmdline(command)}\n".encode())
        out.flush()
        # A group of its own, so that what the command starts can be ended with it.
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment(), start_new_session=True)
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(every_s)
                meanwhile()
                if process.returncode is not None:
                    return process.returncode
        except BaseException:
            _end(process)
            raise


def last_lines(log: Path, count: int = 5) -> list[str]:
    """The last lines of a log that say anything."""
    if not log.is_file():
        return []
    return [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-count:]


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Take SIGTERM as Ctrl-C, so that what was started is ended too."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE_S)
            return
