"""Table 3: what is counted is what a hand computes, what does not fit says so, and nothing else is lost by it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import InputError
from scripts.experiments.resources import measure_resources
from scripts.machine import available_bytes, forget_peak, resident_bytes
from tests.conftest import BUNDLE, ROOT
from tests.processes import run_module


def worker(*, forked: bool = True, **changes: Any) -> dict[str, Any]:
    """What a measurement says; where not forked, in a process of its own from the start, as memory is measured."""
    order = {
        "task": "inference",
        "configs": [str(BUNDLE / "configs" / "train.json")],
        "bundle_root": str(BUNDLE),
        "modalities": ["flair"],
        "spatial_size": [32, 32, 32],
        "batch_size": 2,
        "device": "cpu",
        "runs": 1,
        "budget_s": 1e9,
        "memory_limit_bytes": 0,
        **changes,
    }
    module = "scripts.experiments.resource_worker"
    if forked:
        done = run_module(module, [json.dumps(order)], cwd=ROOT, timeout=300)
    else:
        command = [sys.executable, "-m", module, json.dumps(order)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    said: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return said


def test_parameters_are_the_papers_and_multiply_adds_grow_with_the_voxels() -> None:
    configs = [str(BUNDLE / "configs" / name) for name in ("train.json", "resnet18.json")]
    small = worker(task="describe", configs=configs)
    large = worker(task="describe", configs=configs, spatial_size=[64, 64, 32], modalities=["flair", "t2w"])
    assert small["parameters"] == small["trainable"] == 33_141_185 and small["parameter_bytes"] == 4 * 33_141_185
    assert large["parameters"] == 2 * 33_141_185
    # Two branches and four times the voxels; each branch's last layer has one product of 512 whatever the size.
    assert large["multiply_adds"] - 2 * 512 == 8 * (small["multiply_adds"] - 512)


def test_a_training_step_takes_more_memory_than_a_score_and_both_more_than_the_parameters() -> None:
    scored, trained = worker(batch_size=1, forked=False), worker(task="training", forked=False)
    added = [said["resident_peak_bytes"] - said["resident_before_bytes"] for said in (scored, trained)]
    assert 4 * 4_689_661 < added[0] < added[1]
    # Parameters, gradients and Adam's two moments are there at once.
    assert added[1] > 4 * 4 * 4_689_661
    for said in (scored, trained):
        assert len(said["seconds"]) == len(said["cpu_seconds"]) == 1 and said["precision"] == "float32"
        assert "cuda_allocated_bytes" not in said


def test_what_does_not_fit_the_limit_says_so() -> None:
    assert "did_not_fit" not in worker(task="training", memory_limit_bytes=2**30)
    said = worker(task="training", spatial_size=[256, 256, 128], memory_limit_bytes=2**30)
    assert "allocate memory" in said["did_not_fit"] and "seconds" not in said


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The worker's processes are replaced: a batch of more than 1 does not fit, the dual ResNet's training never does."""
    seen: list[tuple[str, str, int]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        order = json.loads(command[-1])
        task, batch, dual = order["task"], order["batch_size"], len(order["modalities"]) == 2
        name = "resnet18" if len(order["configs"]) == 2 else "efficientnet"
        seen.append((f"{'dual ' * dual}{name}", task, batch))
        said: dict[str, Any] = {"seconds": [0.1 * (n + 1) for n in range(5)], "cpu_seconds": [0.3] * 5, "threads": 2}
        said |= {"precision": "float32", "resident_peak_bytes": 700 * 2**20, "resident_before_bytes": 400 * 2**20}
        if task == "describe":
            said = {"parameters": 10**6, "trainable": 10**6, "parameter_bytes": 4 * 10**6, "multiply_adds": 2 * 10**9}
        if task == "training" and dual and name == "resnet18":
            return subprocess.CompletedProcess(command, -9, "", "")
        if batch > 1:
            said = {"did_not_fit": "can't allocate memory"}
        return subprocess.CompletedProcess(command, 0, f"a library's words\n{json.dumps(said)}\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    return seen


def test_a_training_that_does_not_fit_is_tried_with_half_the_batch(
    asked: list[tuple[str, str, int]], tmp_path: Path
) -> None:
    said = measure_resources(str(tmp_path), spatial_size=(64, 64, 32)).text
    assert [(name, batch) for name, task, batch in asked if task == "training"] == [
        (name, batch)
        for name in ("resnet18", "efficientnet", "dual resnet18", "dual efficientnet")
        for batch in (4, 2, 1)
    ]
    content = json.loads((tmp_path / "table3.json").read_text())
    assert [row["training"]["batch_size"] for row in content["rows"]] == [1, 1, 1, 1]
    assert "seconds" in content["rows"][0]["training"] and "did_not_fit" in content["rows"][2]["training"]
    assert (tmp_path / "table3.md").read_text() == said + "\n"
    assert (tmp_path / "table3.csv").read_text().startswith(",ResNet3D,EfficientNet3D-B0,dual ResNet3D,eTSC-Net\n")
    assert "dual ResNet3D, training: a batch of 1 did not fit (the process was killed" in said
    assert "1 (more did not fit)" in said


def test_a_measurement_that_fails_otherwise_is_no_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nRuntimeError: no such device\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(InputError, match="flair-resnet18, describe: RuntimeError: no such device"):
        measure_resources(str(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", [{"runs": 4}, {"spatial_size": (100, 64, 32)}, {"batch_size": 0}])
def test_an_option_out_of_range_is_refused(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError):
        measure_resources(str(tmp_path), **option)


def test_the_peak_of_resident_memory_begins_anew() -> None:
    block = bytearray(200 * 2**20)
    block[:: 2**12] = b"1" * len(block[:: 2**12])
    high = resident_bytes("VmHWM")
    del block
    if not forget_peak():
        pytest.skip("this system does not allow it")
    assert resident_bytes("VmHWM") < high - 100 * 2**20
    assert 0 < resident_bytes() < available_bytes() * 100
