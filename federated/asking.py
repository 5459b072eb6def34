"""How the server asks its sites, whatever carries the message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from federated.aggregation import Weights


@dataclass(frozen=True)
class Answer:
    """What came back from a site.

    Attributes:
        kind: "answer", or "fault" where it could not do what it was asked; sites that are silent have none.
        data: the answer.
        reason: of the fault, in the site's words.
    """

    kind: Literal["answer", "fault"]
    data: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""


class Ask(Protocol):
    """Sends a task with weights and a few numbers to all sites or some, and gives the answers that came in time, by site."""

    def __call__(
        self,
        task: str,
        *,
        weights: Weights | None,
        numbers: Mapping[str, Any],
        timeout_s: int,
        sites: Collection[str] | None = None,
    ) -> Mapping[str, Answer]: ...
