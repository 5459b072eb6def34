"""What a server that was stopped goes on from, and the record of the rounds beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from federated.aggregation import Weights
from federated.plan import Plan
from federated.rounds import Round, write_rounds
from scripts.checkpoint import save
from scripts.errors import InputError
from scripts.files import write_atomically


@dataclass(frozen=True)
class Best:
    """A branch's best round so far: its AUC and loss over the sites' validation parts, its weights."""

    round: int
    auc: float
    loss: float
    weights: Weights


@dataclass(frozen=True)
class State:
    """A training after a round.

    Attributes:
        weights: the global ones.
        best: modality -> its best round.
        rounds: all so far.
    """

    weights: Weights
    best: dict[str, Best]
    rounds: list[Round]


def write_state(folder: Path, plan: Plan, state: State) -> None:
    """state.pt, rounds.json, rounds.csv."""
    rounds = [one.to_dict() for one in state.rounds]
    content = {
        "plan": json.dumps(plan.to_dict(), sort_keys=True),
        "weights": _tensors(state.weights),
        "best": {name: {**vars(one), "weights": _tensors(one.weights)} for name, one in state.best.items()},
        "rounds": json.dumps(rounds),
    }
    save(content, folder / "state.pt")
    said = {"plan": plan.to_dict(), "rounds": rounds}
    write_atomically(folder / "rounds.json", json.dumps(said, indent=1) + "\n")
    write_rounds(folder / "rounds.csv", state.rounds, plan.modalities)


def read_state(folder: Path, plan: Plan) -> State | None:
    """The state of the training that was begun here; None where none was.

    Raises:
        InputError: it was begun with other settings.
    """
    file = folder / "state.pt"
    if not file.is_file():
        return None
    said = torch.load(file, map_location="cpu", weights_only=True)
    begun, wanted = json.loads(said["plan"]), plan.to_dict()
    different = sorted(name for name, value in wanted.items() if begun.get(name) != value)
    if different:
        raise InputError(
            "a training was begun here with " + ", ".join(f"{name} {begun.get(name)!r}" for name in different),
            expected=", ".join(f"{name} {wanted[name]!r}" for name in different),
            remedy="Go on with the same settings, or give another --output_dir.",
            file=file,
        )
    best = {name: Best(**{**one, "weights": _arrays(one["weights"])}) for name, one in said["best"].items()}
    return State(_arrays(said["weights"]), best, [Round.from_dict(one) for one in json.loads(said["rounds"])])


def _tensors(weights: Weights) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in weights.items()}


def _arrays(tensors: dict[str, torch.Tensor]) -> Weights:
    return {name: value.numpy() for name, value in tensors.items()}
