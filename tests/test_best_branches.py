"""Every branch keeps its own best epoch, whatever the others do."""

from __future__ import annotations

import torch
from ignite.engine import Engine
from torch import Tensor, nn

from scripts.best_branches import BestBranches, best_network
from scripts.network import ETSCNet


class Scale(nn.Module):
    """One weight, so that a branch's state is a number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, image: Tensor) -> Tensor:
        return self.scale * image.mean(dim=(2, 3, 4))


def scale_of(branch: nn.Module) -> Tensor:
    assert isinstance(branch, Scale)
    return branch.scale


def validate(branches: BestBranches, epoch: int, logits: list[list[float]], labels: list[int]) -> None:
    """One validation whose outputs are given; the branches' weight is the epoch's number."""
    for branch in branches.network.branches.values():
        nn.init.constant_(scale_of(branch), float(epoch))
    branches.epoch = epoch
    outputs = [
        [{"pred": torch.tensor(row), "label": torch.tensor([float(label)])}]
        for row, label in zip(logits, labels, strict=True)
    ]
    engine = Engine(lambda engine, batch: batch)
    branches.attach(engine)
    engine.run(outputs)


def test_every_branch_keeps_its_own_best_epoch_and_ties_go_to_the_lower_loss() -> None:
    network = ETSCNet(["flair", "t2w"], Scale)
    branches = BestBranches(network)
    labels = [0, 0, 1, 1]
    validate(branches, 1, [[-1, 1], [-1, 1], [1, -1], [1, -1]], labels)  # flair AUC 1, t2w AUC 0
    validate(branches, 2, [[-1, -1], [1, 1], [-1, 1], [1, 1]], labels)  # flair falls, t2w AUC 0.75
    validate(
        branches, 3, [[-3, -1], [-3, 1], [3, 3], [3, 0]], labels
    )  # flair AUC 1 again, lower loss; t2w AUC 0.75 again, higher
    validate(branches, 4, [[-2, -1], [-2, 5], [2, 3], [2, 0]], labels)  # flair AUC 1, higher loss than 3; t2w falls
    assert branches.best["flair"]["epoch"] == 3
    assert branches.best["t2w"]["epoch"] == 2
    best = best_network(network, branches)
    assert [float(scale_of(branch)) for branch in best.branches.values()] == [3.0, 2.0]
    assert branches.best["t2w"]["logits"].tolist() == [-1, 1, 1, 1]
    assert branches.labels.tolist() == labels
    assert float(scale_of(network.branches["flair"])) == 4.0, "the network in training stays as it is"
