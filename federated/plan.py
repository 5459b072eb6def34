"""What a federated training is: the numbers that the server sends to every site with every task, and nothing else of it.

No path, no code and no configuration travels: each site has the bundle beforehand and sets these numbers in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from scripts.bids import check_modalities
from scripts.errors import InputError
from scripts.experiments.options import image_size, several, whole_number

LOCAL_BATCH_NORM = ("none", "statistics", "all")


@dataclass(frozen=True)
class Plan:
    """The settings of one federated training.

    Attributes:
        modalities: inputs in their order.
        spatial_size: of the images that the network sees.
        rounds: times that the sites' weights are averaged.
        local_epochs: over a site's training part in a round.
        batch_size, learning_rate, learning_rate_decay, seed: as in train.json; the decay runs over rounds * local_epochs.
        proximal: mu of FedProx (Li T et al., MLSys 2020): mu / 2 times the squared distance to the round's global weights is
            added to the loss; 0 is FedAvg (McMahan B et al., AISTATS 2017).
        local_batch_norm: what of batch norm stays at a site and is never averaged: "none", "statistics" (running mean and
            variance: SiloBN, Andreux M et al. 2020) or "all" (FedBN, Li X et al., ICLR 2021).
        bins: of a score histogram over [0, 1].
        min_children: a site with fewer of either outcome in a part sends no histogram and no metric of it.
        min_sites: fewer usable answers leave the global weights as they were.
        round_timeout_s: a site that has not answered by then is left out of the round.
    """

    modalities: tuple[str, ...] = ("flair", "t2w")
    spatial_size: tuple[int, int, int] = (256, 256, 128)
    rounds: int = 50
    local_epochs: int = 2
    batch_size: int = 4
    learning_rate: float = 0.001
    learning_rate_decay: float = 0.0
    seed: int = 0
    proximal: float = 0.0
    local_batch_norm: str = "none"
    bins: int = 50
    min_children: int = 3
    min_sites: int = 2
    round_timeout_s: int = 3600

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Plan:
        """Settings as a command line, a file or a message gives them.

        Raises:
            InputError: one that is unknown, or out of its range.
        """
        unknown = sorted(set(said) - {field.name for field in fields(cls)})
        if unknown:
            known = ", ".join(field.name for field in fields(cls))
            raise InputError(f"settings {', '.join(unknown)}", expected=known, remedy="Correct or remove them.")
        plan = cls(**{**said, **{name: _tuple(said[name]) for name in ("modalities", "spatial_size") if name in said}})
        check_modalities(plan.modalities)
        image_size(plan.spatial_size)
        for name in ("rounds", "local_epochs", "batch_size", "min_children", "min_sites", "round_timeout_s"):
            whole_number(name, getattr(plan, name))
        whole_number("bins", plan.bins, least=2)
        whole_number("seed", plan.seed, least=0)
        for name in ("learning_rate", "learning_rate_decay", "proximal"):
            value = getattr(plan, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InputError(f"{name} is {value!r}", expected="a number, 0 or more", remedy=f"Correct --{name}.")
        if plan.local_batch_norm not in LOCAL_BATCH_NORM:
            raise InputError(
                f"local_batch_norm is {plan.local_batch_norm!r}",
                expected=f"one of {', '.join(LOCAL_BATCH_NORM)}",
                remedy="Correct --local_batch_norm.",
            )
        return plan

    def to_dict(self) -> dict[str, Any]:
        """For JSON and for messages."""
        return {
            **asdict(self),
            "modalities": list(self.modalities),
            "spatial_size": list(self.spatial_size),
        }


def _tuple(value: Any) -> tuple[Any, ...]:
    return several(value)
