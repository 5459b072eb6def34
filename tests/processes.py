"""Commands in processes of their own that need not import torch and MONAI each time, which takes longer than a small run.

A server imports them once and forks a process for each command (the standard library's forkserver). What is run is the same: the
module as `__main__`, with its own arguments, folder, output and exit status. That a new process does the same is tested with
the documents' commands (`test_bundle.py`, `test_tutorial.py`).
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

# torch imports its compiler when an optimizer is made, in more than a second.
PRELOAD = ["monai.bundle", "scripts.training", "scripts.evaluation_writer", "scripts.release", "torch._dynamo"]


class Running:
    """`python -m MODULE ARGUMENTS` that has begun, in a process forked from one that has imported what is heavy.

    Args:
        module, arguments: as typed.
        cwd: its folder.
        environment: what it has beside this process's.
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOAD)
        self._folder = TemporaryDirectory()
        self._files = [str(Path(self._folder.name) / name) for name in ("stdout", "stderr")]
        self._command = [module, *arguments]
        given = (module, list(arguments), str(cwd), *self._files, {**os.environ, **(environment or {})})
        self._process = context.Process(target=_be, args=given)
        self._process.start()

    def finish(self, *, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Wait for its end.

        Raises:
            subprocess.TimeoutExpired: it was still running after `timeout` seconds, and was killed.
        """
        with self._folder:
            self._process.join(timeout)
            if self._process.exitcode is None:
                self._process.kill()
                self._process.join()
                raise subprocess.TimeoutExpired(self._command, timeout)
            out, err = (Path(file).read_text(errors="replace") for file in self._files)
        return subprocess.CompletedProcess([sys.executable, "-m", *self._command], self._process.exitcode, out, err)


def run_module(
    module: str, arguments: Sequence[str], *, cwd: Path, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """The same to its end; raises as `Running.finish`."""
    return Running(module, arguments, cwd=cwd).finish(timeout=timeout)


def _be(module: str, arguments: list[str], cwd: str, stdout: str, stderr: str, environment: dict[str, str]) -> None:
    """In the forked process: become the module, as the interpreter would at its start and end."""
    for descriptor, file in ((1, stdout), (2, stderr)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.argv, sys.path[0] = [module, *arguments], cwd
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except Exception:  # the interpreter would ask the hook, too
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()
