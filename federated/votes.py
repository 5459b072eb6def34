"""What the sites' validation parts say together: first where their scores lie, then histograms over bins laid there."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from federated.asking import Answer, Ask
from federated.declared import Declared
from federated.histograms import Edges, Spread, Told, understood, understood_spread
from federated.plan import Plan
from scripts.fusion import simplex

Summed = TypeVar("Summed", Spread, Told)


def summed(ones: Iterable[Summed]) -> Summed:
    """Of all sites; one or more."""
    return functools.reduce(operator.add, ones)


class Votes:
    """Reads what sites say of their validation parts.

    Args:
        plan: modalities, bins, patience.
        declared: the sites, whose numbers of children the answers must have.

    Attributes:
        edges: of the last histograms, by kind ("branches", "fused").
    """

    def __init__(self, plan: Plan, declared: Mapping[str, Declared]) -> None:
        self.plan, self.declared = plan, declared
        self.edges: dict[str, Edges] = {}

    def spread(self, site: str, message: Any, *, rows: int | None = None) -> Spread | str:
        """Where a site's scores lie, or why that cannot be used; `rows`: scores a child, by default one a modality."""
        number = sum(self.declared[site].children["validation"])
        return understood_spread(message, rows=rows or len(self.plan.modalities), number=number)

    def counted(self, ask: Ask, spreads: Mapping[str, Mapping[str, Spread]]) -> dict[str, dict[str, Told]]:
        """Histograms over common bins, from the sites whose scores' places are known: kind -> site -> told."""
        sites = set.intersection(*(set(one) for one in spreads.values()))
        self.edges = {
            kind: summed(one[site] for site in sorted(sites)).edges(self.plan.bins)
            for kind, one in spreads.items()
            if sites
        }
        if not sites:
            return {kind: {} for kind in spreads}
        numbers = {"edges": {kind: one.tolist() for kind, one in self.edges.items()}}
        timeout = self.plan.round_timeout_s
        answers = ask("count", weights=None, numbers=numbers, timeout_s=timeout, sites=sorted(sites))
        found: dict[str, dict[str, Told]] = {kind: {} for kind in spreads}
        for site, answer in sorted(answers.items()):
            told = {
                kind: self.told(site, answer.data.get(kind), rows=len(self.edges[kind]))
                for kind in spreads
                if self.usable(site, answer)
            }
            if told and not any(isinstance(one, str) for one in told.values()):
                for kind, one in told.items():
                    if isinstance(one, Told):
                        found[kind][site] = one
        return found

    def told(self, site: str, message: Any, *, rows: int | None = None) -> Told | str:
        """A site's histograms, or why they cannot be used."""
        children = self.declared[site].children["validation"]
        return understood(message, rows=rows or len(self.plan.modalities), bins=self.plan.bins, children=children)

    def usable(self, site: str, answer: Answer) -> bool:
        """Whether it is an answer, of a site that described itself."""
        return answer.kind == "answer" and site in self.declared

    def spreads_of(self, site: str, answer: Answer) -> dict[str, Spread] | str:
        """What a site answers to "fuse", or why it cannot be used."""
        if not self.usable(site, answer):
            return answer.reason or "it never described itself"
        rows = {"fused": len(simplex(len(self.plan.modalities))), "branches": len(self.plan.modalities)}
        said = {name: self.spread(site, answer.data.get(name), rows=count) for name, count in rows.items()}
        faults = [one for one in said.values() if isinstance(one, str)]
        return faults[0] if faults else {name: one for name, one in said.items() if isinstance(one, Spread)}
