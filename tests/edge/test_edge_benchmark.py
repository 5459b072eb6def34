"""The device's benchmark: cold and warm, as JSON and as a table, with what tegrastats says where there is one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from etscnet_edge.tegrastats import Tegrastats

from tests.conftest import ROOT

LINE = (
    "11-25-2026 16:00:00 RAM 3219/7620MB (lfb 4x2MB) SWAP 0/3810MB CPU [2%@729,0%@729] GR3D_FREQ 12% "
    "cpu@45.5C gpu@44.2C VDD_IN 5200mW/5100mW VDD_CPU_GPU_CV 900mW/850mW"
)


@pytest.fixture
def tegrastats(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "tegrastats"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{LINE}'\necho '{LINE.replace('12%', '90%')}'\nexec sleep 600\n")
    program.chmod(0o755)
    return program.parent


def test_cold_and_warm_of_the_golden_case(exports: Path, tmp_path: Path, tegrastats: Path) -> None:
    command = [sys.executable, "-m", "etscnet_edge", "benchmark", "--exports", str(exports)]
    command += ["--runs", "3", "--cold_runs", "2", "--output", str(tmp_path / "benchmark.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge"), "PATH": f"{tegrastats}:{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    said = json.loads((tmp_path / "benchmark.json").read_text())
    warm, cold = said["warm"], said["cold"]
    assert (warm["runs"], cold["runs"]) == (3, 2)
    for stage in ("read", "preprocess", "network", "study"):
        figures = warm["milliseconds"][stage]
        assert 0 < figures["least"] <= figures["p50"] <= figures["p95"] <= figures["p99"]
    assert warm["milliseconds"]["study"]["p50"] < cold["milliseconds"]["p50"]
    assert warm["peak_memory_mb"] > 50 and cold["peak_memory_mb"] > 50 and warm["studies_per_second"] > 0
    assert said["tegrastats"]["GPU load (%)"] == {"mean": 51.0, "most": 90.0}
    assert "score" not in json.dumps(said)
    assert "| cold: fresh process |" in done.stdout and "tegrastats: RAM (MB) 3219" in done.stdout
    assert f"Model {said['model']['version']}, form {said['model']['form']}" in done.stdout


def test_readings_of_tegrastats(tegrastats: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tegrastats}:{os.environ['PATH']}")
    with Tegrastats() as running:
        while not running.lines:
            pass
    readings = running.readings()
    assert readings is not None
    assert readings["cpu (C)"]["most"] == 45.5 and readings["VDD_IN (mW)"]["most"] == 5200


def test_no_tegrastats_no_readings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with Tegrastats() as running:
        pass
    assert running.readings() is None


@pytest.mark.parametrize(
    ("options", "status", "words"), [(["--runs", "0"], 2, "--runs 0"), (["--flair", "a.nii"], 1, "images of")]
)
def test_what_can_not_be_measured_is_said(exports: Path, options: list[str], status: int, words: str) -> None:
    command = [
        sys.executable,
        "-m",
        "etscnet_edge",
        "benchmark",
        "--exports",
        str(exports),
        "--cold_runs",
        "0",
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == status and words in done.stderr and "Traceback" not in done.stderr
