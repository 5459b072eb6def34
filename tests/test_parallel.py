"""Several processes: their figures are those of one, and their networks are one."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from ignite.engine import Engine
from torch import nn

from scripts.errors import InputError
from scripts.network import ETSCNet
from scripts.parallel import in_group, join_group, leave_group, local_device, rank, share_of_batch, wait_for_all
from scripts.training import BestBranches
from tests.conftest import SMALL
from tests.torchrun import finish, start, table

Run = Callable[..., subprocess.CompletedProcess[str]]
LOGITS = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.4, 0.9], [0.31, 0.2], [-2.0, 1.7]])
LABELS = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])


class Normed(nn.Module):
    """A branch with one batch norm, whose running statistics are its state."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.norm(image).mean(dim=(2, 3, 4))


def validated(cases: list[int], seed: int) -> dict[str, Any]:
    """Figures of a validation of the cases, by a network whose batch norm has seen images of the seed; its statistics then."""
    torch.manual_seed(seed)
    network = ETSCNet(["flair", "t2w"], Normed).train()
    network(torch.randn(4, 2, 4, 4, 4))
    branches = BestBranches(network)
    engine = Engine(lambda engine, batch: batch)
    branches.attach(engine)
    engine.run([[{"pred": LOGITS[case], "label": LABELS[case : case + 1]}] for case in cases])
    statistics = {name: buffer.tolist() for name, buffer in network.named_buffers()}
    return {"latest": branches.latest, "statistics": statistics}


def process(number: int, folder: str) -> None:
    """One of two: it validates every second case, and says what it has found."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2)
    found = validated(list(range(number, len(LOGITS), 2)), seed=number)
    (Path(folder) / f"{number}.json").write_text(json.dumps(found))
    wait_for_all()
    leave_group()


def test_a_validation_of_two_processes_has_the_figures_of_one_and_is_of_one_network(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=process, args=(number, str(tmp_path))) for number in range(2)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(120)
    assert [one.exitcode for one in processes] == [0, 0]
    first, second = (json.loads((tmp_path / f"{number}.json").read_text()) for number in range(2))
    alone = [validated(list(range(len(LOGITS))), seed=seed) for seed in range(2)]
    assert alone[0]["statistics"] != alone[1]["statistics"], "else the next line would prove nothing"
    assert first["statistics"] == second["statistics"] == alone[0]["statistics"]
    assert first["latest"] == second["latest"]
    for name, value in alone[0]["latest"].items():
        # Five cases, three and two of them, none twice. The order of a sum in double precision differs.
        assert first["latest"][name] == pytest.approx(value, abs=1e-12), name


def test_an_evaluation_of_two_processes_writes_the_metrics_of_one(
    cohort: Path, run_bundle: Run, tmp_path: Path
) -> None:
    options = {"dataset_dir": cohort, "fractions": SMALL["fractions"], "part": "training", "device": "cpu"}
    run_bundle("evaluating", "train.json", "evaluate.json", output_dir=tmp_path / "one", **options)
    configs = ("train.json", "evaluate.json", "multi_gpu_evaluate.json")
    status, said = finish(start("evaluating", *configs, output_dir=tmp_path / "two", **options))
    assert status == 0, said[-3000:]
    for name in ("metrics.json", "failures.csv", "roc.png"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    assert table(tmp_path / "two" / "predictions.csv") == table(tmp_path / "one" / "predictions.csv")
    assert json.loads((tmp_path / "two" / "metrics.json").read_text())["fused"]["n"] == 12


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
