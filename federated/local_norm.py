"""Batch norm that stays at its site: which weights these are, and how they were in each round."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from scripts.checkpoint import save

STATISTICS = ("running_mean", "running_var")


def local_names(network: nn.Module, kind: str) -> frozenset[str]:
    """The names of the weights that stay at a site.

    Args:
        network: the whole.
        kind: "none", "statistics" or "all".
    """
    kept = {"none": (), "statistics": STATISTICS, "all": (*STATISTICS, "weight", "bias")}[kind]
    norms = [name for name, module in network.named_modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    there = network.state_dict().keys()
    return frozenset(f"{norm}.{name}" for norm in norms for name in kept if f"{norm}.{name}" in there)


class LocalNorm:
    """What of a network's batch norm stays here.

    Args:
        network: the live one.
        kind: as of `local_names`.
        folder: of the states: `latest.pt` after a training, `round-N.pt` when the weights of round N were validated.
    """

    def __init__(self, network: nn.Module, kind: str, folder: Path) -> None:
        self.network, self.names, self.folder = network, local_names(network, kind), folder

    def keep(self) -> None:
        """The network was trained: this is the latest state."""
        self._write("latest")

    def remember(self, round_: int) -> None:
        """The weights of this round are being validated, with the latest state."""
        self._write(f"round-{round_:05d}")

    def state(self, best_rounds: Mapping[str, int] | None = None) -> dict[str, Tensor]:
        """The latest state, or for every branch that of a round: if the site missed it, of the last one before.

        Tensors in their layers' shapes. Empty where nothing stays here, or nothing was trained.
        """
        if best_rounds is None:
            return self._read(self.folder / "latest.pt")
        result: dict[str, Tensor] = {}
        for modality, round_ in best_rounds.items():
            known = [file for file in sorted(self.folder.glob("round-*.pt")) if _number(file) <= round_]
            state = self._read(known[-1] if known else self.folder / "latest.pt")
            result |= {name: value for name, value in state.items() if name.startswith(f"branches.{modality}.")}
        return result

    def _write(self, name: str) -> None:
        if self.names:
            state = self.network.state_dict()
            save({key: state[key].detach().cpu().clone() for key in sorted(self.names)}, self.folder / f"{name}.pt")

    def _read(self, file: Path) -> dict[str, Tensor]:
        if not self.names or not file.is_file():
            return {}
        return dict(torch.load(file, map_location="cpu", weights_only=True))


def _number(file: Path) -> int:
    found = re.search(r"\d+", file.stem)
    return int(found[0]) if found else 0
