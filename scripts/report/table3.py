"""Table 3: parameters, multiply-adds, memory and time of the networks, measured, beside what Zhao et al. 2026 print.

Read from the table3.json that `python -m scripts table3` wrote. No torch. MiB are 2^20 bytes, GiB 2^30.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from scripts.report.cells import NONE
from scripts.report.document import Section, Table, Text
from scripts.report.sources import from_json

Row = Mapping[str, Any]
TITLES = {"resnet18": "ResNet3D", "efficientnet3d-b0": "EfficientNet3D-B0"}


@dataclass(frozen=True)
class PrintedResources:
    """One row of the paper's Table 3: size of the parameters in "MB", trainable parameters in millions, "VRAM" in MB."""

    parameters_mb: float
    trainable_m: float
    vram_mb: float


# By backbone and number of modalities (Sci Rep 16:8410, doi:10.1038/s41598-026-39728-5).
PAPER = {
    ("resnet18", 1): PrintedResources(244.07, 33.14, 864.11),
    ("efficientnet3d-b0", 1): PrintedResources(17.89, 4.69, 241.45),
    ("resnet18", 2): PrintedResources(488.14, 66.28, 1496.22),
    ("efficientnet3d-b0", 2): PrintedResources(35.78, 9.38, 370.90),
}


def table3(measurements: Mapping[str, Any]) -> Table:
    """One line a figure, one column a network: what was measured, and below it what the paper prints.

    Args:
        measurements: the content of table3.json.

    Returns:
        The table; a figure that could not be measured is a dash or says why.
    """
    rows: Sequence[Row] = measurements["rows"]
    lines: list[tuple[str, Callable[[Row], str]]] = [
        ("parameters, million", lambda row: f"{row['parameters'] / 1e6:.2f}"),
        ("  trainable", lambda row: f"{row['trainable'] / 1e6:.2f}"),
        ("  paper", lambda row: _printed(row, "trainable_m")),
        ("parameters, float32, MiB", lambda row: _mib(row["parameter_bytes"], 2)),
        ("  paper, MB", lambda row: _printed(row, "parameters_mb")),
        ("multiply-adds of a score, 10^9", _multiply_adds),
        ("one score, ms, median (10 to 90 %)", lambda row: _times(row["inference"], 1e3, 0)),
        ("  processor time, all threads, ms, median", lambda row: _cpu(row["inference"], 1e3, 0)),
        ("peak memory of one score, MiB: added to the process", lambda row: _added(row["inference"])),
        ("  whole process", lambda row: _peak(row["inference"], "resident_peak_bytes")),
        ("  GPU, allocated", lambda row: _peak(row["inference"], "cuda_allocated_bytes")),
        ("  GPU, reserved", lambda row: _peak(row["inference"], "cuda_reserved_bytes")),
        ('  paper, "VRAM", MB', lambda row: _printed(row, "vram_mb")),
        ("training step: batch", lambda row: _batch(row["training"])),
        ("training step, s, median (10 to 90 %)", lambda row: _times(row["training"], 1, 2)),
        ("  processor time, all threads, s, median", lambda row: _cpu(row["training"], 1, 2)),
        ("peak memory of training, MiB: added to the process", lambda row: _added(row["training"])),
        ("  whole process", lambda row: _peak(row["training"], "resident_peak_bytes")),
        ("  GPU, allocated", lambda row: _peak(row["training"], "cuda_allocated_bytes")),
        ("  GPU, reserved", lambda row: _peak(row["training"], "cuda_reserved_bytes")),
    ]
    on_gpu = any("cuda_allocated_bytes" in row[task] for row in rows for task in ("inference", "training"))
    shown = [(label, cell) for label, cell in lines if on_gpu or not label.startswith("  GPU")]
    size = " x ".join(map(str, measurements["conditions"]["spatial_size"]))
    return Table(
        name="table3",
        title=f"Table 3. What the networks take at {size} voxels, measured",
        columns=("", *(_title(row) for row in rows)),
        rows=tuple((label, *(cell(row) for row in rows)) for label, cell in shown),
        notes=_notes(measurements),
    )


def resources_section(path: str | Path) -> Section:
    """The report's section on resources.

    Args:
        path: table3.json.

    Raises:
        InputError: the file cannot be read, or lacks a figure.
    """
    expected = "the table3.json of `python -m scripts table3`"
    table = from_json(path, table3, expected=expected, remedy="Measure again.")
    return Section(
        "Size, memory and time",
        [
            table,
            Text(
                "Times and memory hold for this machine and these versions alone. The paper's 244.07 and 488.14 MB are not "
                "4 bytes for each of its 33.14 and 66.28 million parameters. Its VRAM of the EfficientNets cannot hold one "
                "float32 pass at 256 x 256 x 128 voxels in PyTorch: the first expanded feature map alone is 403 MB."
            ),
        ],
    )


def _title(row: Row) -> str:
    title = str(TITLES.get(row["backbone"], row["backbone"]))
    several = len(row["modalities"])
    if several == 2 and row["backbone"] == "efficientnet3d-b0":
        return "eTSC-Net"
    return title if several == 1 else f"{'dual' if several == 2 else several} {title}"


def _printed(row: Row, name: str) -> str:
    printed = PAPER.get((row["backbone"], len(row["modalities"])))
    return NONE if printed is None else f"{getattr(printed, name):.2f}"


def _multiply_adds(row: Row) -> str:
    return NONE if row["multiply_adds"] is None else f"{row['multiply_adds'] / 1e9:.2f}"


def _times(task: Row, factor: float, digits: int) -> str:
    """Median, and the 10th and 90th percentile of 5 runs or more; of fewer, how many there were."""
    if "did_not_fit" in task:
        return "did not fit"
    seconds = np.array(task["seconds"]) * factor
    middle = f"{median(seconds):.{digits}f}"
    if seconds.size < 5:
        return f"{middle} ({seconds.size} run{'s' * (seconds.size > 1)})"
    low, high = np.percentile(seconds, [10, 90])
    return f"{middle} ({low:.{digits}f} to {high:.{digits}f})"


def _cpu(task: Row, factor: float, digits: int) -> str:
    return NONE if "did_not_fit" in task else f"{median(task['cpu_seconds']) * factor:.{digits}f}"


def _added(task: Row) -> str:
    if "did_not_fit" in task:
        return "did not fit"
    return _mib(task["resident_peak_bytes"] - task["resident_before_bytes"])


def _peak(task: Row, name: str) -> str:
    return _mib(task[name]) if name in task else NONE


def _batch(task: Row) -> str:
    return f"{task['batch_size']}" + " (more did not fit)" * ("did_not_fit_at" in task and "did_not_fit" not in task)


def _mib(count: float, digits: int = 0) -> str:
    return f"{count / 2**20:,.{digits}f}"


def _notes(measurements: Mapping[str, Any]) -> tuple[str, ...]:
    conditions, machine, rows = measurements["conditions"], measurements["machine"], measurements["rows"]
    threads = sorted(
        {row[task]["threads"] for row in rows for task in ("inference", "training") if "threads" in row[task]}
    )
    precisions = sorted({row["training"]["precision"] for row in rows if "precision" in row["training"]})
    said = [
        f"{machine['cpu']}, {machine['logical_cores']} logical cores"
        + (" of a virtual machine" if machine["virtual_machine"] else "")
        + f", {machine['memory_bytes'] / 2**30:.0f} GiB; GPU: {machine['gpu'] or 'none'}; on {conditions['device']}, "
        f"{' or '.join(map(str, threads)) or 'no'} threads; load of the machine when it was done "
        f"{machine['load_average'][0]:.1f}. "
        + ", ".join(f"{name} {number}" for name, number in measurements["versions"].items()),
        "Parameters: counted, 4 bytes each. Multiply-adds: half the operations that torch.utils.flop_counter counts in the "
        "convolutions and matrix products of one study; batch norm, activations and pooling are not among them.",
        "Each network and task in a process of its own, seeded noise as image; the first 2 scores and the first training step "
        "are not counted. A score: one study, float32, image in memory, no preprocessing. A training step: forward, loss, "
        f"backward, Adam, {' or '.join(precisions) or NONE}.",
        "Whole process: the largest resident memory (VmHWM) over these runs, interpreter and libraries included; added to the "
        "process: less what was resident once torch and MONAI were imported and before the network was made, so that its "
        "parameters count. On a GPU it is the host's memory.",
        "Processor time is less disturbed by what else the machine does than the clock.",
    ]
    if conditions["device"] != "cpu":
        said.append(
            "GPU, allocated and reserved: torch.cuda.max_memory_allocated and max_memory_reserved; the context is extra."
        )
    if conditions["memory_limit_bytes"]:
        said.append(
            f"A process might take {conditions['memory_limit_bytes'] / 2**30:.1f} GiB of memory (RLIMIT_DATA); where a training "
            "did not fit, the batch was halved."
        )
    for row in rows:
        for task in ("inference", "training"):
            sizes = dict(row[task].get("did_not_fit_at", {}))
            if "did_not_fit" in row[task]:
                sizes[str(row[task]["batch_size"])] = row[task]["did_not_fit"]
            said += [
                f"{_title(row)}, {task}: a batch of {batch} did not fit ({reason})." for batch, reason in sizes.items()
            ]
        if row["multiply_adds"] is None:
            said.append(f"{_title(row)}: multiply-adds could not be counted ({row['multiply_adds_reason']}).")
    return tuple(said)
