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
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

PRELOAD = ["monai.bundle", "scripts.training", "scripts.evaluation_writer", "scripts.release"]


def run_module(
    module: str, arguments: Sequence[str], *, cwd: Path, timeout: float = 600
) -> subprocess.CompletedProcess[str]:
    """`python -m MODULE ARGUMENTS`, in a process forked from one that has imported what is heavy.

    Raises:
        subprocess.TimeoutExpired: it was still running after `timeout` seconds, and was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    with TemporaryDirectory() as folder:
        files = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        process = context.Process(target=_be, args=(module, list(arguments), str(cwd), *files, dict(os.environ)))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired([module, *arguments], timeout)
        out, err = (Path(file).read_text(errors="replace") for file in files)
        return subprocess.CompletedProcess([sys.executable, "-m", module, *arguments], process.exitcode, out, err)


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
