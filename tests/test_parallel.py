"""Several processes: their figures are those of one, and their networks are one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.errors import InputError
from scripts.parallel import in_group, join_group, leave_group, local_device, rank, share_of_batch, wait_for_all
from tests import two_ranks
from tests.conftest import ROOT
from tests.processes import Running
from tests.tiny_model import write_tiny_model
from tests.torchrun import alone, table, two_processes


def test_a_validation_of_two_processes_has_the_figures_of_one_and_is_of_one_network(tmp_path: Path) -> None:
    begun = [Running("tests.two_ranks", [str(number), str(tmp_path)], cwd=ROOT) for number in range(2)]
    done = [one.finish(timeout=120) for one in begun]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr + done[1].stderr
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2))
    alone = [two_ranks.validated(list(range(len(two_ranks.LOGITS))), seed=seed) for seed in range(2)]
    assert alone[0]["statistics"] != alone[1]["statistics"], "else the next line would prove nothing"
    assert first["statistics"] == second["statistics"] == alone[0]["statistics"]
    assert first["latest"] == second["latest"]
    for name, value in alone[0]["latest"].items():
        # Five cases, three and two of them, none twice. The order of a sum in double precision differs.
        assert first["latest"][name] == pytest.approx(value, abs=1e-12), name


def test_an_evaluation_of_two_processes_writes_the_metrics_of_one(cohort: Path, tmp_path: Path) -> None:
    weights, overlay = write_tiny_model(tmp_path)
    options: dict[str, Any] = {"dataset_dir": str(cohort), "checkpoint": str(weights), "part": "testing"}
    options["fractions"] = [0.4, 0.2, 0.4]
    alone("evaluating", "train.json", "evaluate.json", str(overlay), output_dir=str(tmp_path / "one"), **options)
    configs = ("train.json", "evaluate.json", "multi_gpu_evaluate.json", str(overlay))
    status, said = two_processes("evaluating", *configs, output_dir=tmp_path / "two", **options)
    assert status == 0, said[-3000:]
    for name in ("metrics.json", "failures.csv", "roc.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    assert table(tmp_path / "two" / "predictions.csv") == table(tmp_path / "one" / "predictions.csv")
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["fused"]["n"] == len(set(table(tmp_path / "two" / "predictions.csv")[1:])) == 8


def test_a_batch_is_shared_evenly_or_refused() -> None:
    assert [share_of_batch(8, processes) for processes in (1, 2, 4, 8)] == [8, 4, 2, 1]
    for batch, processes in ((4, 8), (5, 2), (0, 1)):
        with pytest.raises(InputError, match=f"a batch of {batch} for {processes} processes"):
            share_of_batch(batch, processes)


def test_alone_there_is_no_group_and_nobody_to_wait_for() -> None:
    assert not in_group() and rank() == 0
    wait_for_all()
    leave_group()


def test_joining_twice_is_joining_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    join_group()
    try:
        join_group()
        assert in_group() and rank() == 0
    finally:
        leave_group()
    assert not in_group()


def test_more_processes_than_gpus_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    found = []
    for number in range(5):
        monkeypatch.setenv("LOCAL_RANK", str(number))
        found.append(local_device().index)
    assert found == [0, 1, 0, 1, 0]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert local_device() == torch.device("cpu")
