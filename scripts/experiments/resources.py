"""Table 3, measured: what ResNet3D, EfficientNet3D-B0 and their fused pairs take of memory and time on this machine.

Each network and each task has a process of its own (`resource_worker`), so that no peak is another's. What does not fit
the memory is a row that says so. No torch here.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.answer import Answer
from scripts.errors import InputError
from scripts.experiments.child import KEEP_MEMORY, ended_by_signals, environment
from scripts.experiments.model_plan import PlannedModel, plan_models
from scripts.experiments.options import ROOT, bundle_folder, image_size, several, whole_number
from scripts.files import write_atomically
from scripts.machine import available_bytes, describe_machine, versions
from scripts.report.table3 import table3

MARGIN_BYTES = 2**30  # left to the rest of the machine
PACKAGES = ("torch", "monai", "numpy")


@dataclass(frozen=True)
class Conditions:
    """What the measurements were made under; the same for every network.

    Attributes:
        spatial_size: of the image, voxels.
        batch_size: of a training step; where it does not fit it is halved, and the row says so. Inference is of one study.
        device: "cpu", "cuda:0", ...
        runs: after the warm-up; at least 5 in inference.
        budget_s: seconds for the steps of one training, after which none is begun once one counts.
        memory_limit_bytes: of a process on the CPU; 0: none.
    """

    spatial_size: tuple[int, int, int]
    batch_size: int
    device: str
    runs: int
    budget_s: float
    memory_limit_bytes: int


def measure_resources(
    output_dir: str | Path = "results/table3",
    *,
    spatial_size: Sequence[int] = (256, 256, 128),
    batch_size: int = 4,
    backbones: Sequence[str] = ("resnet18", "efficientnet"),
    device: str = "cpu",
    runs: int = 5,
    budget_s: float = 300.0,
    memory_mb: int | None = None,
) -> Answer:
    """Measure parameters, multiply-adds, memory and time of every network alone: Table 3, on this machine.

    Written: table3.json, table3.csv and table3.md.

    Args:
        output_dir: folder of the files.
        spatial_size: edges of the image in voxels, three multiples of 32.
        batch_size: images of a training step.
        backbones: efficientnet (train.json's own), or overlays in the bundle's configs: resnet18, densenet121, swin.
        device: cpu, cuda or cuda:N.
        runs: timed repetitions of a task, 5 or more.
        budget_s: seconds after which a task takes no further repetition.
        memory_mb: the most memory of each process on the CPU, 10^6 bytes; None: what is available now, less 1 GiB.

    Example:
        python -m scripts table3 --output_dir results/table3 --spatial_size 256 256 128 --batch_size 4

    Returns:
        The table, and table3.json.

    Raises:
        InputError: an option is out of range.
    """
    limit = available_bytes() - MARGIN_BYTES if memory_mb is None else int(memory_mb) * 10**6
    conditions = Conditions(
        image_size(spatial_size),
        whole_number("batch_size", batch_size),
        str(device),
        whole_number("runs", runs, least=5),
        float(budget_s),
        max(limit, 0) if str(device) == "cpu" else 0,
    )
    bundle = bundle_folder()
    # Which modality a lone branch is for changes nothing: all branches are built alike.
    models = [
        model
        for model in plan_models(("flair", "t2w"), several(backbones), (), bundle_root=bundle)
        if model.modalities != ("t2w",)
    ]
    rows: list[dict[str, Any]] = []
    bar = tqdm(total=3 * len(models), desc="table 3", unit="measurement", disable=None)
    with bar, ended_by_signals():
        for model in models:
            row: dict[str, Any] = {
                "name": model.name,
                "backbone": model.backbone or "efficientnet3d-b0",
                "modalities": list(model.modalities),
            }
            for task in ("describe", "inference", "training"):
                bar.set_postfix_str(f"{model.name}: {task}")
                said = _measured(model, task, conditions, bundle)
                row |= said if task == "describe" else {task: said}
                bar.update()
            rows.append(row)
    content = {
        "conditions": {
            "spatial_size": list(conditions.spatial_size),
            "batch_size": conditions.batch_size,
            "device": conditions.device,
            "runs": conditions.runs,
            "budget_s": conditions.budget_s,
            "memory_limit_bytes": conditions.memory_limit_bytes,
            "environment": {name: environment().get(name) for name in (*KEEP_MEMORY, "OMP_NUM_THREADS")},
        },
        "machine": describe_machine(_gpu(rows)),
        "versions": versions(PACKAGES),
        "rows": rows,
    }
    table, output = table3(content), Path(str(output_dir))
    write_atomically(output / "table3.json", json.dumps(content, indent=1) + "\n")
    write_atomically(output / "table3.csv", table.to_csv())
    write_atomically(output / "table3.md", table.to_markdown() + "\n")
    return Answer(table.to_markdown(), content)


def _measured(model: PlannedModel, task: str, conditions: Conditions, bundle: Path) -> dict[str, Any]:
    """One task; a training that does not fit is tried with half the batch, and again."""
    batch = conditions.batch_size if task == "training" else 1
    too_large: dict[str, str] = {}
    while True:
        said = _asked(model, task, batch, conditions=conditions, bundle=bundle)
        if task == "describe":
            return said
        if "did_not_fit" not in said or batch == 1:
            return {"batch_size": batch, **said, **({"did_not_fit_at": too_large} if too_large else {})}
        too_large[str(batch)] = said["did_not_fit"]
        batch //= 2


def _asked(model: PlannedModel, task: str, batch: int, *, conditions: Conditions, bundle: Path) -> dict[str, Any]:
    configs = ["train"] + [model.backbone] * bool(model.backbone)
    order = {
        "task": task,
        "configs": [str(bundle / "configs" / f"{name}.json") for name in configs],
        "bundle_root": str(bundle),
        "modalities": list(model.modalities),
        "spatial_size": list(conditions.spatial_size),
        "batch_size": batch,
        "device": "cpu" if task == "describe" else conditions.device,
        "runs": conditions.runs,
        "budget_s": conditions.budget_s if task == "training" else float("1e9"),
        "memory_limit_bytes": conditions.memory_limit_bytes,
    }
    command = [sys.executable, "-m", "scripts.experiments.resource_worker", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT)
    lines = done.stdout.strip().splitlines()
    if done.returncode == 0 and lines:
        said: dict[str, Any] = json.loads(lines[-1])
        return said
    if done.returncode == -signal.SIGKILL:  # how the kernel ends what asks for more than there is
        return {"did_not_fit": "the process was killed, as the kernel does when memory is short"}
    last = next((line for line in reversed(done.stderr.strip().splitlines()) if line.strip()), "nothing was said")
    raise InputError(
        f"{model.name}, {task}: {last}",
        expected="a measurement",
        remedy="Check --device and --backbones; `python -m scripts.experiments.resource_worker` runs one measurement by itself.",
    )


def _gpu(rows: Sequence[dict[str, Any]]) -> str | None:
    return next((row["inference"]["gpu"] for row in rows if "gpu" in row.get("inference", {})), None)
