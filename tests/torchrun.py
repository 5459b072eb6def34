"""The bundle's commands on two processes, by torchrun and gloo on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import BUNDLE, ROOT


def start(run_id: str, *configs: str, processes: int = 2, **options: object) -> subprocess.Popen[str]:
    """Start `torchrun --nproc_per_node PROCESSES -m monai.bundle run RUN_ID`, one thread a process, without brain extraction."""
    files = [str(BUNDLE / "configs" / name) for name in configs]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += ["-m", "monai.bundle", "run", run_id, "--config_file", str(files), "--bundle_root", str(BUNDLE)]
    for name, value in {"brain_extraction": "none", "device": "cpu", **options}.items():
        command += [f"--{name}", str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=ROOT, text=True, env=environment, **pipes)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status, and all that was said."""
    said, errors = process.communicate(timeout=600)
    return process.returncode, said + errors


def table(path: Path) -> list[str]:
    """The lines of predictions.csv without the seconds, which differ from run to run."""
    return [line.rpartition(",")[0] for line in path.read_text().splitlines()]
