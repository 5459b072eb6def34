"""A validation on one of two processes, or alone, and what it finds. A command: NUMBER FOLDER."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from ignite.engine import Engine
from torch import nn

from scripts.best_branches import BestBranches
from scripts.network import ETSCNet
from scripts.parallel import leave_group, wait_for_all

LOGITS = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.4, 0.9], [0.31, 0.2], [-2.0, 1.7]])
LABELS = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])


class Normed(nn.Module):
    """A branch with one batch norm, whose running statistics are its state."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm3d(1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        means: torch.Tensor = self.norm(image).mean(dim=(2, 3, 4))
        return means


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


if __name__ == "__main__":
    process(int(sys.argv[1]), sys.argv[2])
