"""Studies a minute of `run inference` by one process and by two, and where a study's time goes.

    python -m benchmarks.throughput [--studies 40] [--runs 5] [--output benchmarks/records/SCALE.md]

A synthetic cohort of a few children, linked to as many studies as wanted, scored with the
shipped weights at their size, one thread a process. Runs alternate, so that a change of the machine's load meets both.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from benchmarks.sections import write_section
from scripts.cohort import find_cases
from scripts.command_line.commands import run_function
from scripts.machine import describe_machine, versions

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "bundle" / "configs"
CHILDREN = 2
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def measure(
    *, studies: int = 40, runs: int = 5, output: str = "benchmarks/records/SCALE.md", device: str = "cpu"
) -> str:
    """Measure studies a minute by one process and by two, and write the record's section on throughput.

    Args:
        studies: of the cohort.
        runs: of each way.
        output: the Markdown file, whose section is written anew.
        device: cpu; or cuda: then the threads' and GPUs' visibility are as they are.

    Example:
        python -m benchmarks.throughput --studies 24 --runs 5
    """
    if device != "cpu":
        ENVIRONMENT.pop("CUDA_VISIBLE_DEVICES")
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        cohort = linked_cohort(Path(folder), studies)
        timed: dict[int, list[dict[str, float]]] = {1: [], 2: []}
        for repeat in range(runs):
            for processes in (1, 2) if repeat % 2 else (2, 1):
                timed[processes].append(run(cohort, Path(folder) / "out", processes, device))
                load.append(os.getloadavg()[0])
        steps = split(cohort, device)
    text = tables(timed, steps, studies, load)
    write_section(ROOT / output, "Throughput", text)
    return text


def linked_cohort(folder: Path, studies: int) -> Path:
    """CHILDREN synthetic children, and links to their images under other names, with brain masks."""
    made, cohort = folder / "made", folder / "cohort"
    command = [sys.executable, "-m", "scripts", "phantom", "--output_dir", str(made), "--subjects", str(CHILDREN)]
    subprocess.run(
        [*command, "--preset", "easy", "--seed", "0", "--voxel_mm", "2"], check=True, cwd=ROOT, capture_output=True
    )
    for number in range(studies):
        original, name = f"sub-{number % CHILDREN + 1:03}", f"sub-{number + 1:05}"
        for file in sorted(made.rglob(f"{original}_*.nii.gz")):
            if "sourcedata" not in file.parts:
                link = cohort / str(file.relative_to(made)).replace(original, name)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(file)
    shutil.copy(made / "dataset_description.json", cohort)
    return cohort


def run(cohort: Path, output: Path, processes: int, device: str) -> dict[str, float]:
    """One run of the command: seconds, those from the first study's beginning on, and of the processor."""
    shutil.rmtree(output, ignore_errors=True)
    files = ["inference.json"] + ["multi_gpu_inference.json"] * (processes > 1)
    command = [sys.executable, "-m", "monai.bundle", "run", "inference"]
    if processes > 1:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command += ["-m", "monai.bundle", "run", "inference"]
    command += ["--config_file", str([str(CONFIGS / file) for file in files]), "--bundle_root", str(ROOT / "bundle")]
    command += ["--dataset_dir", str(cohort), "--brain_extraction", "mask", "--output_dir", str(output)]
    command += ["--pictures", "False", "--device", device]
    before, started, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), time.time()
    subprocess.run(command, check=True, cwd=ROOT, env=ENVIRONMENT, capture_output=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    written = sorted(output.glob("sub-*.json"), key=lambda path: path.stat().st_mtime)
    first = written[0].stat().st_mtime - sum(json.loads(written[0].read_text())["seconds"].values())
    return {
        "studies": len(written),
        "seconds": seconds,
        "scoring": written[-1].stat().st_mtime - first,
        "start": first - clock,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def split(cohort: Path, device: str) -> dict[str, list[float]]:
    """Processor milliseconds of each step, one thread, over the children: the command's own transforms and network."""
    import torch

    torch.set_num_threads(1)
    parser = ConfigParser()
    parser.read_config(str(CONFIGS / "inference.json"))
    given = {
        "bundle_root": str(ROOT / "bundle"),
        "dataset_dir": str(cohort),
        "brain_extraction": "mask",
        "device": device,
    }
    parser.update(given)
    network, transforms = parser.get_parsed_content("network"), parser.get_parsed_content("preprocessing").transforms
    found: dict[str, list[float]] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:
        start = time.process_time()
        made = work()
        found[step].append(found[step].pop() + 1e3 * (time.process_time() - start))
        return made

    def score(data: Any) -> Any:
        return network(data["image"][None].to(device)).cpu()

    for case in find_cases(cohort)[: 3 * CHILDREN]:
        steps = ["read", "decompress", "load and check", "mask", "resize", "scale and join", "network"]
        for step in steps:
            found.setdefault(step, []).append(0.0)
        files = [Path(case[key]) for key in ("flair", "t2w")]
        contents = [timed("read", file.read_bytes) for file in files]
        for content in contents:
            timed("decompress", partial(gzip.decompress, content))
        data: Any = dict(case)
        for transform in transforms:
            data = timed(part(type(transform).__name__), partial(transform, data))
        with torch.no_grad():
            timed("network", partial(score, data))
    # The first transform reads and decompresses, too: what is left is parsing and checking.
    found["load and check"] = [
        whole - read - unpacked
        for whole, read, unpacked in zip(found["load and check"], found["read"], found["decompress"], strict=True)
    ]
    return {step: values[CHILDREN:] for step, values in found.items()}  # the first round warms up


def part(transform: str) -> str:
    """The step that a transform belongs to."""
    named = {"BrainExtractiond": "mask", "Resized": "resize"}
    return named.get(transform, "load and check" if transform in ("LoadStudyd", "CheckStudyd") else "scale and join")


def tables(
    runs: dict[int, list[dict[str, float]]], steps: dict[str, list[float]], studies: int, load: list[float]
) -> str:
    """The section."""
    machine = describe_machine()
    said = [
        f"`python -m benchmarks.throughput --studies {studies} --runs {len(runs[1])}`: {studies} studies (links to {CHILDREN} "
        "synthetic children), brain masks given, shipped weights at their size, no pictures, one thread a process. "
        f"{machine['cpu']}, {machine['logical_cores']} logical cores, shared with other work: load average {min(load):.1f} to "
        f"{max(load):.1f} during the runs. torch {versions(['torch'])['torch']}. Medians of {len(runs[1])}, runs alternating.",
        "",
        "| processes | studies a minute, whole command | while scoring | start (s) | processor seconds a study |",
        "|---:|---:|---:|---:|---:|",
    ]
    middle = {
        processes: {
            "whole": statistics.median(60 * one["studies"] / one["seconds"] for one in several),
            "scoring": statistics.median(60 * one["studies"] / one["scoring"] for one in several),
            "start": statistics.median(one["start"] for one in several),
            "cpu": statistics.median(one["cpu"] / one["studies"] for one in several),
        }
        for processes, several in runs.items()
    }
    for processes, one in middle.items():
        said.append(
            f"| {processes} | {one['whole']:.1f} | {one['scoring']:.1f} | {one['start']:.1f} | {one['cpu']:.2f} |"
        )
    ratios = [two["scoring"] and one["scoring"] / two["scoring"] for one, two in zip(runs[1], runs[2], strict=True)]
    said += [
        "",
        f"Two processes by one: {middle[2]['scoring'] / middle[1]['scoring']:.2f} times the studies a minute while scoring "
        f"(run by run {min(ratios):.2f} to {max(ratios):.2f}), {middle[2]['whole'] / middle[1]['whole']:.2f} times with the "
        "start.",
        "",
        "A study's processor time by step, one thread, median:",
        "",
        "| step | ms | share |",
        "|---|---:|---:|",
    ]
    medians = {step: statistics.median(values) for step, values in steps.items()}
    for step, value in medians.items():
        said.append(f"| {step} | {value:.0f} | {value / sum(medians.values()):.0%} |")
    return "\n".join(said) + "\n"


if __name__ == "__main__":
    run_function(measure)
