"""`etscnet-edge benchmark`: how long a study takes on this device and what it holds, cold and warm, as JSON and as a table.

Cold: a fresh process a study, from its start to its result. Warm: one process that has the model loaded, after a warm-up. Without
a pair of files, the study is the golden case of the export, written as NIfTI: reading is part of every figure.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etscnet_edge import __version__
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import read_manifest
from etscnet_edge.memory import peak_mb
from etscnet_edge.tegrastats import Tegrastats

EXTENT_MM = (150.0, 180.0, 130.0)  # of the golden case
WARM_UP = 3
STAGES = ("read", "preprocess", "network", "study")
COLD = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from etscnet_edge.benchmark import once; once(sys.argv[2])"
Paths = dict[str, str]


@dataclass(frozen=True)
class Settings:
    """Of a classifier, and what it scores.

    Attributes:
        exports, runtime, form, threads, memory_mb, engines: as of `Classifier`.
        images, masks: modality -> NIfTI file; no images: the golden case.
    """

    exports: str
    runtime: str
    form: str | None
    threads: int
    memory_mb: float | None
    engines: str | None
    images: Paths
    masks: Paths

    def open(self) -> Classifier:
        """An export for timing will do: no score is reported."""
        return Classifier(
            self.exports,
            runtime=self.runtime,
            form=self.form,
            threads=self.threads,
            memory_mb=self.memory_mb,
            engines=self.engines,
            for_timing=True,
        )


def measure(settings: Settings, *, runs: int, cold_runs: int) -> dict[str, Any]:
    """Time studies.

    Args:
        settings: what is run.
        runs: warm ones.
        cold_runs: fresh processes; 0 for none.

    Returns:
        Fit for JSON: "machine", "model", "study", "cold" and "warm" with milliseconds and MB, "tegrastats" where there is one.

    Raises:
        InputError: what the classifier refuses, or fewer than one warm run.
    """
    if runs < 1 or cold_runs < 0:
        found = f"{runs} runs and {cold_runs} cold ones"
        raise InputError(found, expected="1 or more, and 0 or more", remedy="Correct --runs, --cold_runs.")
    with tempfile.TemporaryDirectory() as folder:
        if not settings.images:
            settings = _golden(settings, Path(folder))
        cold = [_cold(settings, number + 1, cold_runs) for number in range(cold_runs)]
        with settings.open() as classifier, Tegrastats() as tegrastats:
            for _ in range(WARM_UP):
                classifier.predict(settings.images, settings.masks)
            spent = []
            start = time.perf_counter()
            for number in range(runs):
                spent.append(_warm(classifier, settings))
                _progress("warm", number + 1, runs)
            seconds = time.perf_counter() - start
            model = classifier.model
    return {
        "package": __version__,
        "machine": _machine(),
        "model": model,
        "study": settings.images,
        "cold": _cold_summary(cold),
        "warm": {
            "runs": runs,
            "milliseconds": {stage: _percentiles([one[stage] for one in spent]) for stage in STAGES},
            "studies_per_second": round(runs / seconds, 2),
            "peak_memory_mb": peak_mb(),
        },
        "tegrastats": tegrastats.readings(),
    }


def table(result: dict[str, Any]) -> str:
    """For people, in Markdown."""
    model, machine, warm, cold = (result[key] for key in ("model", "machine", "warm", "cold"))
    how = f"{model['precision']}, {model['runtime']}, {model['threads']} threads"
    lines = [
        f"Model {model['version']}, form {model['form']}, {how}.  ",
        f"Machine: {machine['processor']}, {machine['cores']} cores, Python {machine['python']}, {machine['system']}.",
        "",
        "| milliseconds | p50 | p95 | p99 | least | runs |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    rows = [(f"warm: {stage}", warm["milliseconds"][stage], warm["runs"]) for stage in STAGES]
    if cold:
        rows.append(("cold: fresh process", cold["milliseconds"], cold["runs"]))
    for name, said, runs in rows:
        numbers = " | ".join(f"{said[key]:.1f}" for key in ("p50", "p95", "p99", "least"))
        lines.append(f"| {name} | {numbers} | {runs} |")
    lines += ["", f"{warm['studies_per_second']} studies a second; peak memory {warm['peak_memory_mb']} MB warm"]
    lines[-1] += f", {cold['peak_memory_mb']} MB cold." if cold else "."
    if readings := result["tegrastats"]:
        said = ", ".join(f"{name} {value['mean']:g} (at most {value['most']:g})" for name, value in readings.items())
        lines.append(f"tegrastats: {said}.")
    return "\n".join(lines)


def once(settings: str) -> None:
    """The fresh process: score one study, print what it took."""
    chosen = Settings(**json.loads(settings))
    with chosen.open() as classifier:
        result = classifier.predict(chosen.images, chosen.masks)
    print(json.dumps({"peak_memory_mb": result.peak_memory_mb, "milliseconds": result.milliseconds}))


def _cold(settings: Settings, number: int, of: int) -> dict[str, Any]:
    command = [sys.executable, "-c", COLD, json.dumps(sys.path), json.dumps(settings.__dict__)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    milliseconds = (time.perf_counter() - start) * 1e3
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        found = f"a fresh process failed ({said[-1] if said else f'status {done.returncode}'})"
        raise InputError(found, expected="a score", remedy="See what etscnet-edge predict says.")
    _progress("cold", number, of)
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": milliseconds}


def _cold_summary(cold: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if not cold:
        return None
    stages = cold[0]["milliseconds"]
    return {
        "runs": len(cold),
        "milliseconds": _percentiles([one["wall"] for one in cold]),
        "stages_p50": {stage: float(np.median([one["milliseconds"][stage] for one in cold])) for stage in stages},
        "peak_memory_mb": max((one["peak_memory_mb"] or 0.0) for one in cold),
    }


def _warm(classifier: Classifier, settings: Settings) -> dict[str, float]:
    start = time.perf_counter()
    spent = classifier.predict(settings.images, settings.masks).milliseconds
    return {**spent, "study": (time.perf_counter() - start) * 1e3}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    found = np.percentile(values, [50, 95, 99])
    named = dict(zip(("p50", "p95", "p99"), (round(float(value), 2) for value in found), strict=True))
    return {**named, "least": round(min(values), 2)}


def _golden(settings: Settings, folder: Path) -> Settings:
    import nibabel as nib

    manifest = read_manifest(settings.exports, for_timing=True)
    images = {}
    with np.load(manifest.file(manifest.said["golden"]), allow_pickle=False) as golden:
        for name in manifest.modalities:
            volume = golden[name]
            spacing = [extent / edge for extent, edge in zip(EXTENT_MM, volume.shape, strict=True)]
            images[name] = str(folder / f"golden_{name}.nii.gz")
            nib.save(nib.Nifti1Image(volume, np.diag([*spacing, 1.0])), images[name])
    return Settings(**{**settings.__dict__, "images": images, "masks": {}})


def _machine() -> dict[str, Any]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = next((line for line in lines if line.startswith(("model name", "Model"))), "")
    board = Path("/proc/device-tree/model")  # a Jetson's name
    processor = board.read_text().strip("\0\n") if board.is_file() else named.partition(":")[2].strip()
    return {
        "processor": processor or platform.machine(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def _progress(what: str, done: int, of: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{what}: {done}/{of} ", end="\n" if done == of else "", file=sys.stderr, flush=True)
