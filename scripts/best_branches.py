"""The best epoch of each branch, by its own validation: with one run for all branches, each keeps what a run of its own would."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from scripts.network import ETSCNet
from scripts.parallel import gathered, share_buffers
from scripts.stats.roc import auc


class BestBranches:
    """After each validation, keep every branch whose AUC is its best so far (ties: the lower loss), with its logits.

    Args:
        network: the branches are copied from it.

    Attributes:
        best: modality -> {"epoch", "auc", "loss", "state", "logits"}; logits (N,) in the order of `labels` (N,).
        latest: the last validation's figures, "auc_<modality>" and "loss_<modality>".
    """

    def __init__(self, network: ETSCNet) -> None:
        self.network = network
        self.best: dict[str, dict[str, Any]] = {}
        self.labels = torch.empty(0)
        self.latest: dict[str, float] = {}
        self.epoch = 0
        self._outputs: list[tuple[Tensor, Tensor]] = []

    def attach(self, engine: Engine) -> None:
        """Listen to the evaluator, whose outputs are lists of {"pred": logits (M,), "label": (1,)}."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._select)

    def state_dict(self) -> dict[str, Any]:
        """The selection so far."""
        return {"best": self.best, "labels": self.labels}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up an earlier selection."""
        self.best, self.labels = dict(state["best"]), state["labels"]

    def _start(self, _: Engine) -> None:
        self._outputs.clear()
        share_buffers(self.network)

    def _collect(self, engine: Engine) -> None:
        # Plain tensors on the engine's device: NCCL gathers nothing from the CPU.
        self._outputs += [
            (torch.as_tensor(item["pred"]), torch.as_tensor(item["label"])) for item in engine.state.output
        ]

    def _select(self, engine: Engine) -> None:
        logits = gathered(torch.stack([pred for pred, _ in self._outputs]))  # (N, M)
        self.labels = gathered(torch.stack([label for _, label in self._outputs]))[:, 0]
        for column, modality in enumerate(self.network.modalities):
            figures = _figures(logits[:, column], self.labels)
            for name, value in figures.items():
                self.latest[f"{name}_{modality}"] = engine.state.metrics[f"{name}_{modality}"] = value
            if self._improves(modality, figures):
                branch = {
                    name: value.detach().cpu().clone()
                    for name, value in self.network.branches[modality].state_dict().items()
                }
                self.best[modality] = {
                    "epoch": self.epoch,
                    **figures,
                    "state": branch,
                    "logits": logits[:, column].clone(),
                }

    def _improves(self, modality: str, figures: Mapping[str, float]) -> bool:
        best = self.best.get(modality)
        return best is None or (figures["auc"], -figures["loss"]) > (best["auc"], -best["loss"])


def _figures(logits: Tensor, labels: Tensor) -> dict[str, float]:
    loss = binary_cross_entropy_with_logits(logits.double(), labels.double())
    return {"auc": float(auc(labels.numpy(), logits.double().numpy())), "loss": float(loss)}


def best_network(network: ETSCNet, branches: BestBranches) -> ETSCNet:
    """A copy of the network with every branch from its best epoch."""
    best = copy.deepcopy(network).cpu().eval()
    for modality, branch in best.branches.items():
        branch.load_state_dict(branches.best[modality]["state"])
    return best
