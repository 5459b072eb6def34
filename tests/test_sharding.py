"""A cohort on two processes: one table as of one process, also after a process was killed, also with broken studies."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import BUNDLE
from tests.tiny_model import write_tiny_model
from tests.torchrun import alone, finish, start, table, two_processes

Model = tuple[Path, Path]  # weights, and the overlay of their backbone
CONFIGS = ("inference.json", "multi_gpu_inference.json")


@pytest.fixture(scope="module")
def broken(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort, of whose 20 studies the fourth has a damaged image."""
    folder = tmp_path_factory.mktemp("broken") / "cohort"
    shutil.copytree(cohort, folder)
    file = folder / "sub-03" / "anat" / "sub-03_T2w.nii.gz"
    file.write_bytes(file.read_bytes()[:2000])
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def one(broken: Path, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process writes."""
    folder = tmp_path_factory.mktemp("one")
    options = {"dataset_dir": str(broken), "checkpoint": str(model[0]), "output_dir": str(folder), "pictures": False}
    with pytest.raises(SystemExit, match="1 of 20 studies failed"):
        alone("inference", "inference.json", str(model[1]), **options)
    return folder


def results(folder: Path) -> dict[str, int]:
    """case -> when its result was written."""
    return {path.stem: path.stat().st_mtime_ns for path in folder.glob("sub-*.json")}


def kill_one_of(process: subprocess.Popen[str], folder: Path) -> None:
    """As the kernel does when memory is short, once the first results are there."""
    deadline = time.monotonic() + 120
    while len(results(folder)) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    workers = [child for child in psutil.Process(process.pid).children() if "monai.bundle" in child.cmdline()]
    assert len(workers) == 2
    workers[1].kill()


def test_two_processes_of_which_one_was_killed_write_what_one_writes(
    one: Path, broken: Path, model: Model, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"dataset_dir": broken, "checkpoint": model[0], "output_dir": tmp_path, "pictures": False}
    killed = start("inference", *CONFIGS, str(model[1]), **options)
    kill_one_of(killed, tmp_path)
    assert finish(killed)[0] != 0
    before = results(tmp_path)
    assert 2 <= len(before) < 19, "the run ended before it could be killed"
    assert not (tmp_path / "predictions.csv").exists(), "no table of half of the studies"

    status, said = two_processes("inference", *CONFIGS, str(model[1]), **options)
    assert status == 1 and "1 of 20 studies failed" in said and "sub-03" in said
    after = results(tmp_path)
    assert after.items() >= before.items(), "what was scored is not scored again"
    assert len(after) == 19, "each study once, the broken one not at all"
    assert table(tmp_path / "predictions.csv") == table(one / "predictions.csv")
    assert (tmp_path / "failures.csv").read_bytes() == (one / "failures.csv").read_bytes()
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {
        path.name for path in one.iterdir()
    }
    scores = {line.split(",")[2] for line in table(one / "predictions.csv")[1:]}
    assert len(scores) > 15, "weights that give all the same score would prove nothing"


def test_the_overlays_of_evaluation_and_inference_are_one() -> None:
    said = [
        json.loads((BUNDLE / "configs" / f"multi_gpu_{name}.json").read_text()) for name in ("evaluate", "inference")
    ]
    assert said[0] == said[1]
