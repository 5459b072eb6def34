"""The bundle's commands on two processes, by torchrun or as it starts them, by gloo on the CPU, and alone in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from torch.distributed import TCPStore

from tests.conftest import BUNDLE, ROOT
from tests.processes import Running


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


def _arguments(run_id: str, configs: tuple[str, ...], options: dict[str, object]) -> list[str]:
    files = [str(BUNDLE / "configs" / name) for name in configs]
    given = {"bundle_root": BUNDLE, "brain_extraction": "none", "device": "cpu", **options}
    words = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    return ["run", run_id, "--config_file", str(files), *words]


def start(run_id: str, *configs: str, processes: int = 2, **options: object) -> subprocess.Popen[str]:
    """Start `torchrun --nproc_per_node PROCESSES -m monai.bundle run RUN_ID`, one thread a process, without brain extraction."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command += ["-m", "monai.bundle", *_arguments(run_id, configs, options)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        command, cwd=ROOT, text=True, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def two_processes(run_id: str, *configs: str, **options: object) -> tuple[int, str]:
    """What torchrun does for two processes, which are forked from one that has imported torch: a store where they meet, and their
    numbers in the environment. Exit status of the first that failed, and all that was said.

    (torchrun itself: `start`.)
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    here |= {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "CUDA_VISIBLE_DEVICES": ""}
    arguments = _arguments(run_id, configs, options)
    begun = [
        Running("monai.bundle", arguments, cwd=ROOT, environment={**here, "RANK": number, "LOCAL_RANK": number})
        for number in ("0", "1")
    ]
    done = [one.finish() for one in begun]
    status = next((one.returncode for one in done if one.returncode), 0)
    return status, "".join(one.stdout + one.stderr for one in done)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status, and all that was said."""
    said, errors = process.communicate(timeout=600)
    return process.returncode, said + errors


def table(path: Path) -> list[str]:
    """The lines of predictions.csv without the seconds, which differ from run to run."""
    return [line.rpartition(",")[0] for line in path.read_text().splitlines()]
