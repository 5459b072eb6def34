"""The bundle's commands on two processes, by torchrun and gloo on the CPU, and alone in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from tests.conftest import BUNDLE, ROOT


def alone(run_id: str, *configs: str, **options: Any) -> None:
    """The run in this process: seconds less than in one of its own. Ends by SystemExit where studies failed."""
    files = [str(BUNDLE / "configs" / name) for name in configs]
    given = {"bundle_root": str(BUNDLE), "brain_extraction": "none", "device": "cpu", **options}
    hook = sys.excepthook
    try:
        workflow = ConfigWorkflow(files, workflow_type="train", run_id=run_id, **given)
        workflow.initialize()
        workflow.run()
    finally:
        sys.excepthook = hook


def start(run_id: str, *configs: str, processes: int = 2, **options: object) -> subprocess.Popen[str]:
    """Start `torchrun --nproc_per_node PROCESSES -m monai.bundle run RUN_ID`, one thread a process, without brain extraction."""
    files = [str(BUNDLE / "configs" / name) for name in configs]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += ["-m", "monai.bundle", "run", run_id, "--config_file", str(files), "--bundle_root", str(BUNDLE)]
    for name, value in {"brain_extraction": "none", "device": "cpu", **options}.items():
        command += [f"--{name}", str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        command, cwd=ROOT, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status, and all that was said."""
    said, errors = process.communicate(timeout=600)
    return process.returncode, said + errors


def table(path: Path) -> list[str]:
    """The lines of predictions.csv without the seconds, which differ from run to run."""
    return [line.rpartition(",")[0] for line in path.read_text().splitlines()]
