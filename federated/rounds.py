"""The record of a federated training: what became of every round, for JSON, a table and a reader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scripts.files import write_csv


@dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
        number: from 0.
        accepted: site -> training cases whose update is in the average.
        refused: site -> why what it sent was not used.
        failed: site -> why it could not do its part, in its own words.
        silent: sites that had not answered in time, or are gone.
        offences: site -> rounds so far in which it was refused.
        changed: whether the global weights changed: not with fewer than `min_sites` accepted.
        loss: mean of the sites' training losses, weighted by cases; None without one.
        validation: modality -> AUC over the answering sites' validation parts, of the weights that the round began with.
        bound: modality -> how far that AUC can be from the scores' own.
        voters: sites whose histograms these are.
        seconds: that the round took.
    """

    number: int
    accepted: dict[str, int]
    refused: dict[str, str]
    failed: dict[str, str]
    silent: tuple[str, ...]
    offences: dict[str, int]
    changed: bool
    loss: float | None
    validation: dict[str, float] = field(default_factory=dict)
    bound: dict[str, float] = field(default_factory=dict)
    voters: tuple[str, ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "silent": list(self.silent), "voters": list(self.voters)}

    @classmethod
    def from_dict(cls, said: dict[str, Any]) -> Round:
        """As `to_dict` wrote it."""
        return cls(**{**said, "silent": tuple(said["silent"]), "voters": tuple(said["voters"])})

    def __str__(self) -> str:
        said = [
            f"round {self.number}: average of {len(self.accepted)} sites"
            if self.changed
            else f"round {self.number}: void"
        ]
        said += [f"{site} refused ({reason}; {self.offences[site]} so far)" for site, reason in self.refused.items()]
        said += [f"{site} failed ({reason})" for site, reason in self.failed.items()]
        said += [f"{site} silent" for site in self.silent]
        said += [f"AUC {name} {value:.3f}" for name, value in self.validation.items()]
        return ", ".join(said)


def write_rounds(path: str | Path, rounds: Sequence[Round], modalities: Sequence[str]) -> None:
    """A row a round."""
    rows = [
        {
            "round": one.number,
            "changed": int(one.changed),
            "accepted": " ".join(one.accepted),
            "refused": "; ".join(f"{site}: {reason}" for site, reason in one.refused.items()),
            "failed": "; ".join(f"{site}: {reason}" for site, reason in one.failed.items()),
            "silent": " ".join(one.silent),
            "loss": "" if one.loss is None else f"{one.loss:.6f}",
            **{f"auc_{name}": f"{value:.6f}" for name, value in one.validation.items()},
            "seconds": f"{one.seconds:.1f}",
        }
        for one in rounds
    ]
    columns = ["round", "changed", "accepted", "refused", "failed", "silent", "loss"]
    write_csv(path, rows, columns=[*columns, *(f"auc_{name}" for name in modalities), "seconds"])
