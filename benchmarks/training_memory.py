"""The memory and time of a training step, and the largest batch at 256 x 256 x 128: a count without a GPU, and what measures it.

    python -m benchmarks.training_memory --device cuda     # or cpu: at sizes that fit
    python -m benchmarks.training_memory --measure False   # the count alone

The count is `benchmarks.live_bytes`. Measured is the step of the bundle's training (forward, loss, backward, Adam) in a process
of its own: on CUDA torch's allocator tells the peak, on the CPU the kernel does (resident memory, what it grew by). Writes a
section of benchmarks/records/SCALE.md.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.live_bytes import Counted, count_step
from benchmarks.sections import write_section
from scripts.command_line.commands import run_function
from scripts.machine import describe_machine, forget_peak, resident_bytes, versions
from scripts.network import BranchLoss, ETSCNet

ROOT = Path(__file__).parents[1]
FULL = (256, 256, 128)
CARDS_GB = (24, 48, 80)  # 10^9 bytes
# Assumed, not measured: the device's context and libraries, cuDNN's scratch space, gaps between the allocator's blocks.
CONTEXT, SCRATCH, GAPS = 0.6e9, 1.5e9, 0.08
STEPS = 2  # measured, after the first, in which the optimizer makes its moments
# (size, batch, checkpointing): what a shared machine without a GPU does in minutes.
ON_THE_CPU = [((64, 64, 64), 2, False), ((64, 64, 64), 2, True), ((96, 96, 64), 2, False), ((96, 96, 64), 2, True)]
BATCHES = (1, 2, 4)
WAYS = [(amp, checkpointing) for amp in (False, True) for checkpointing in (False, True)]


def measure(*, device: str = "cpu", measure: bool = True, output: str = "benchmarks/records/SCALE.md") -> str:
    """Count the memory of a training step, measure it, and write the record's sections.

    Args:
        device: cpu, cuda or cuda:N.
        measure: whether steps are run.
        output: the Markdown file, whose sections are written anew.

    Example:
        python -m benchmarks.training_memory --device cuda
    """
    counts = {way: affine(*way) for way in WAYS}
    write_section(ROOT / output, "Memory of a training step: the count", counted_table(counts))
    text = counted_table(counts)
    if measure:
        kind = torch.device(device).type
        measured = on_the_cpu() if kind == "cpu" else on_a_gpu(device, counts)
        write_section(ROOT / output, f"Memory of a training step: measured on {kind}", measured)
        text += "\n" + measured
    return text


def affine(amp: bool, checkpointing: bool) -> tuple[Counted, Counted]:
    """The counts at batch 2 and 4: every byte but the weights' and their moments' is the batch's, so they give all others."""
    half = torch.float16 if amp else None
    two, four = (count_step(FULL, batch, checkpointing=checkpointing, half=half) for batch in (2, 4))
    return two, four


def peak(counts: tuple[Counted, Counted], batch: int) -> float:
    """Bytes of a step of a batch."""
    return counts[0].peak + (counts[1].peak - counts[0].peak) / 2 * (batch - 2)


def largest_batch(counts: tuple[Counted, Counted], memory: float) -> int:
    """That fits a device of so many bytes."""
    batch = 0
    while peak(counts, batch + 1) * (1 + GAPS) + SCRATCH + CONTEXT <= memory:
        batch += 1
    return batch


def counted_table(counts: dict[tuple[bool, bool], tuple[Counted, Counted]]) -> str:
    """The first section."""
    said = [
        "Both branches at 256 x 256 x 128, Adam; GiB. **Counted, not measured on a GPU**: all tensors that live at once, from "
        f"the operators' own shapes (`benchmarks/live_bytes.py`). The largest batch leaves {CONTEXT / 1e9:g} GB for the device's "
        f"context, {SCRATCH / 1e9:g} GB for cuDNN's scratch space and {GAPS:.0%} for gaps between blocks: assumptions, too. "
        "GB are 10^9 bytes.",
        "",
        "| mixed precision | activation checkpointing | weights, gradients, Adam | a case more | batch 4, peak | "
        + " | ".join(f"largest batch, {card} GB" for card in CARDS_GB)
        + " |",
        "|---|---|---:|---:|---:|" + "---:|" * len(CARDS_GB),
    ]
    parameters = sum(parameter.numel() for parameter in ETSCNet(["flair", "t2w"]).parameters())
    for (amp, checkpointing), pair in counts.items():
        each = (pair[1].peak - pair[0].peak) / 2
        batches = [str(largest_batch(pair, card * 1e9)) for card in CARDS_GB]
        cells = ["yes" if amp else "no", "yes" if checkpointing else "no", f"{16 * parameters / 2**30:.2f}"]
        cells += [f"{each / 2**30:.2f}", f"{pair[1].peak / 2**30:.2f}", *batches]
        said.append(f"| {' | '.join(cells)} |")
    return "\n".join(said) + "\n"


def on_the_cpu() -> str:
    """The second section: the count against resident memory."""
    said = [
        f"`python -m benchmarks.training_memory --device cpu`: {describe_machine()['cpu']}, one thread, load average "
        f"{os.getloadavg()[0]:.1f} when it began; torch {versions(['torch'])['torch']}, float32. Each row in a process of its "
        "own, blocks of 64 KiB and more given back at once (MALLOC_MMAP_THRESHOLD_); processor time is the mean of "
        f"{STEPS} steps.",
        "",
        "| voxels | batch | activation checkpointing | counted (MiB) | resident, grown by (MiB) | measured / counted | "
        "processor seconds a step |",
        "|---|---:|---|---:|---:|---:|---:|",
    ]
    for size, batch, checkpointing in ON_THE_CPU:
        found = asked({"size": size, "batch": batch, "checkpointing": checkpointing, "amp": False, "device": "cpu"})
        counted = count_step(size, batch, checkpointing=checkpointing, cpu_gradients=True).peak
        shape, way = " x ".join(map(str, size)), "yes" if checkpointing else "no"
        said.append(
            f"| {shape} | {batch} | {way} | {counted / 2**20:.0f} | {found['peak'] / 2**20:.0f} | "
            f"{found['peak'] / counted:.2f} | {found['cpu_seconds']:.1f} |"
        )
    return "\n".join(said) + "\n"


def on_a_gpu(device: str, counts: dict[tuple[bool, bool], tuple[Counted, Counted]]) -> str:
    """The second section: the count against the allocator, and whether the largest batch fits, and one more."""
    card = torch.cuda.get_device_properties(torch.device(device))
    said = [
        f"`python -m benchmarks.training_memory --device {device}`: {card.name}, {card.total_memory / 1e9:.1f} GB; torch "
        f"{torch.__version__}, 256 x 256 x 128. Allocated and reserved are the most of torch's allocator; {STEPS} steps.",
        "",
        "| mixed precision | activation checkpointing | batch | counted (GiB) | allocated (GiB) | reserved (GiB) | "
        "allocated / counted | seconds a step |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (amp, checkpointing), pair in counts.items():
        most = largest_batch(pair, card.total_memory)
        for batch in sorted({*(one for one in BATCHES if one <= most), most, most + 1} - {0}):
            order = {"size": FULL, "batch": batch, "checkpointing": checkpointing, "amp": amp, "device": device}
            found, expected = asked(order), peak(pair, batch)
            start = (
                f"| {'yes' if amp else 'no'} | {'yes' if checkpointing else 'no'} | {batch} | {expected / 2**30:.2f} |"
            )
            if "did_not_fit" in found:
                said.append(f"{start} did not fit | | | |")
                continue
            numbers = f"{found['peak'] / 2**30:.2f} | {found['reserved'] / 2**30:.2f} | {found['peak'] / expected:.2f}"
            said.append(f"{start} {numbers} | {found['seconds']:.2f} |")
    return "\n".join(said) + "\n"


def asked(order: dict[str, Any]) -> dict[str, float]:
    """One measurement in a process of its own."""
    environment = dict(os.environ)
    if order["device"] == "cpu":
        large = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **large}
    command = [sys.executable, "-m", "benchmarks.training_memory", "--one", json.dumps(order)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"{order}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def one(order: dict[str, Any]) -> dict[str, float | str]:
    """The process of one measurement."""
    device, batch = torch.device(order["device"]), int(order["batch"])
    step = training_step(device, order["size"], batch, amp=order["amp"], checkpointing=order["checkpointing"])
    before, seconds, cpu_seconds = resident_bytes(), [], []
    forget_peak()
    try:
        for number in range(STEPS + 1):
            start, cpu = time.perf_counter(), time.process_time()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if number:
                seconds.append(time.perf_counter() - start)
                cpu_seconds.append(time.process_time() - cpu)
    except torch.OutOfMemoryError as error:
        return {"did_not_fit": str(error).partition("\n")[0]}
    times = {"seconds": statistics.median(seconds), "cpu_seconds": statistics.median(cpu_seconds)}
    if device.type == "cuda":
        allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return {**times, "peak": allocated, "reserved": reserved}
    return {**times, "peak": resident_bytes("VmHWM") - before}


def training_step(device: torch.device, size: Sequence[int], batch: int, *, amp: bool, checkpointing: bool) -> Any:
    """As SupervisedTrainer; everything that it needs is made in its first call, so that all of it is measured."""
    made: dict[str, Any] = {}

    def begin() -> None:
        torch.manual_seed(0)
        network: Any = ETSCNet(
            ["flair", "t2w"], activation_checkpointing=checkpointing
        )  # torch's stub lacks `memory_format`
        made["network"] = network.to(device, memory_format=torch.channels_last_3d).train()
        made["optimizer"] = torch.optim.Adam(made["network"].parameters(), lr=1e-3)
        made["scaler"] = torch.amp.GradScaler(device.type, enabled=amp)
        made["image"] = torch.rand(batch, 2, *size).to(device)  # (B, M, x, y, z)
        made["label"] = (torch.arange(batch, device=device) % 2).float()[:, None]

    def step() -> None:
        if not made:
            begin()
        made["optimizer"].zero_grad()
        with torch.autocast(device.type, enabled=amp):
            loss = BranchLoss()(made["network"](made["image"], return_logits=True), made["label"])
        made["scaler"].scale(loss).backward()
        made["scaler"].step(made["optimizer"])
        made["scaler"].update()

    return step


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:  # what the benchmark starts
        print(json.dumps(one(json.loads(sys.argv[2]))))
    else:
        run_function(measure)
