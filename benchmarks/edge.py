"""The edge package against MONAI and its stock ONNX export: real studies in fresh processes, in turn; then warm, in the server.

.venv/bin/python -m benchmarks.edge --mri MRI_DIR --exports EXPORTS --output_dir OUTPUT_DIR

Processes are timed from outside, interpreter and imports included; memory is the largest resident set that the kernel saw.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from export.stock import stock_export
from scripts.command_line.commands import run_function
from tests.real_mri import real_cases

ROUNDS = 7
WARM_UP = 3
MODALITIES = ("flair", "t2w")
CASES = ("sub-mni07", "sub-long12_ses-1")  # brain-extracted at 1 mm, and with its skull, of thick slices
EDGE = """
import json, sys
from etscnet_edge.classifier import Classifier
images, masks = json.loads(sys.argv[2])
with Classifier(sys.argv[1], for_timing=True) as classifier:
    print(json.dumps(classifier.predict(images, masks).to_dict()))
"""
SERVER = """
import sys
from etscnet_edge.classifier import Classifier
from etscnet_edge.server.body import BodyLimits
from etscnet_edge.server.serve import run_server
load = lambda: Classifier(sys.argv[1], for_timing=True)
run_server(load, host="127.0.0.1", port=0, waiting=4, limits=BodyLimits(100 * 10**6, 60), token_file=None, tls=None)
"""


@dataclass(frozen=True)
class Run:
    """One process: wall time in ms, largest resident memory in MB, what it printed."""

    ms: float
    mb: float
    said: dict[str, Any]


def fresh(command: list[str], environment: dict[str, str]) -> Run:
    """Run a command to its end."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        ms = (time.perf_counter() - start) * 1e3
        out.seek(0)
        said = out.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"error: {command[:4]} ended with status {process.returncode}.")
    return Run(ms, usage.ru_maxrss * 1.024e-3, json.loads(said.decode().splitlines()[-1]))


@contextmanager
def server(exports: Path, log: Path, environment: dict[str, str]) -> Iterator[str]:
    """The server of the export, ready."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(exports)], stdout=out, stderr=out, env=environment
        )
        try:
            found = None
            while found is None or requests.get(f"{found[1]}/v2/health/ready", timeout=30).status_code != 200:
                time.sleep(0.1)
                found = re.search(r"running on (http://\S+)", log.read_text())
            yield found[1]
        finally:
            process.terminate()
            process.wait()


def warm(url: str, files: dict[str, str]) -> list[float]:
    """Milliseconds of a study over HTTP, uploaded and all."""
    spent = []
    for number in range(WARM_UP + ROUNDS):
        form = {key: (Path(path).name, Path(path).read_bytes()) for key, path in files.items()}
        start = time.perf_counter()
        requests.post(f"{url}/v1/studies", files=form, timeout=120).raise_for_status()
        if number >= WARM_UP:
            spent.append((time.perf_counter() - start) * 1e3)
    return spent


def race(mri: Path, exports: Path, output_dir: Path) -> None:
    """Race the edge package against MONAI and its stock ONNX export on real studies, and print the table.

    Args:
        mri: folder of the real pairs.
        exports: folder of etscnet.json.
        output_dir: folder of edge.json, and of MONAI's stock export.

    Example:
        python -m benchmarks.edge --mri ../shared/mri --exports results/exports --output_dir results/edge/full
    """
    output = output_dir
    output.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((exports / "etscnet.json").read_text())
    size = manifest["spatial_size"]
    stock = stock_export("bundle", output, spatial_size=size)
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}{os.pathsep}{Path.cwd() / 'edge'}", "OMP_NUM_THREADS": "2"}
    rows = []
    for case in [case for case in real_cases(mri.resolve()) if case["case"] in CASES]:
        files = {key: case[key] for name in MODALITIES for key in (name, f"{name}_mask") if key in case}
        images = {name: files[name] for name in MODALITIES}
        masks = {name: files[f"{name}_mask"] for name in MODALITIES if f"{name}_mask" in files}
        (output / "case.json").write_text(json.dumps(case))
        commands = {
            "edge": [sys.executable, "-c", EDGE, str(exports), json.dumps([images, masks])],
            "monai": [
                sys.executable,
                "-m",
                "benchmarks.monai_stock",
                str(output / "case.json"),
                str(stock),
                _joined(size),
            ],
        }
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for number in range(ROUNDS + 1):  # the first fills the page cache
            for name, command in commands.items():
                run = fresh(command, environment)
                runs[name] += [run] * bool(number)
        with server(exports, output / "server.log", environment) as url:
            served = warm(url, files)
        rows.append(
            {
                "case": case["case"],
                "runs": {name: [vars(run) for run in all_] for name, all_ in runs.items()},
                "warm": served,
            }
        )
    record = {
        "size": size,
        "form": rows[0]["runs"]["edge"][0]["said"]["model"]["form"],
        "rounds": ROUNDS,
        "studies": rows,
    }
    (output / "edge.json").write_text(json.dumps(record, indent=1) + "\n")
    print(table(record))


def table(record: dict[str, Any]) -> str:
    """For people, in Markdown."""
    lines = [
        f"Voxels {_joined(record['size'])}, form {record['form']}, 2 threads, medians of {record['rounds']}, in turn.",
        "",
        "| study | MONAI + stock (ms) | edge (ms) | x faster (least) | MONAI peak (MB) | edge peak (MB) | in the server (ms) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    stages = ["", "| study | route | milliseconds by stage, medians |", "|---|---|---|"]
    for row in record["studies"]:
        edge, monai = row["runs"]["edge"], row["runs"]["monai"]
        whole = {name: _median(row["runs"][name], lambda run: run["ms"]) for name in ("edge", "monai")}
        ratios = [other["ms"] / own["ms"] for own, other in zip(edge, monai, strict=True)]
        served = statistics.median(row["warm"])
        peaks = " | ".join(f"{max(_peak_mb(run) for run in all_):.0f}" for all_ in (monai, edge))
        faster = f"{statistics.median(ratios):.1f} ({min(ratios):.1f})"
        lines.append(
            f"| {row['case']} | {whole['monai']:.0f} | {whole['edge']:.0f} | {faster} | {peaks} "
            f"| {served:.0f} ({served / whole['edge']:.0%} of fresh) |"
        )
        for name, all_ in (("MONAI + stock", monai), ("edge", edge)):
            keys = all_[0]["said"]["milliseconds"]
            split = ", ".join(
                f"{key} {_median(all_, lambda run, key=key: run['said']['milliseconds'][key]):.0f}" for key in keys
            )
            stages.append(f"| {row['case']} | {name} | {split} |")
    return "\n".join([*lines, *stages])


def _peak_mb(run: dict[str, Any]) -> float:
    """What the process says itself; else the kernel's figure, which counts this benchmark's own memory at the fork, too."""
    return float(run["said"].get("peak_memory_mb", run["mb"]))


def _median(runs: list[dict[str, Any]], value: Callable[..., float]) -> float:
    return statistics.median(value(run) for run in runs)


def _joined(size: list[int]) -> str:
    return ",".join(str(edge) for edge in size)


if __name__ == "__main__":
    run_function(race)
