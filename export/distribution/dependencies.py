"""What the bundle and the edge package stand on: every distribution that their requirements lead to, as it is installed here.

Extras and markers are followed for this Python and this system, so that the answer is that of one environment: a CUDA build of
torch brings NVIDIA's packages, which the CPU build does not.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

from export.distribution.layout import CHECKOUT
from export.distribution.metadata import normal
from scripts.errors import InputError

EDGE_EXTRAS = ("cpu", "server", "png")  # not "gpu": its ONNX Runtime is another distribution of the same


@dataclass(frozen=True)
class Dependency:
    """An installed distribution that something needs.

    Attributes:
        name: in normal form (PEP 503).
        version: as it is installed.
        needs: names of the distributions that it needs itself, sorted.
        direct: whether a requirement of ours names it.
        distribution: its metadata.
    """

    name: str
    version: str
    needs: tuple[str, ...]
    direct: bool
    distribution: Distribution


def requirements(checkout: str | Path = CHECKOUT) -> dict[str, list[str]]:
    """What each part requires: "bundle" (the group `run`), "edge" (the edge package with its extras)."""
    root = Path(checkout)
    groups = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    edge = tomllib.loads((root / "edge" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [requirement for extra in EDGE_EXTRAS for requirement in edge["optional-dependencies"][extra]]
    return {"bundle": list(groups["run"]), "edge": [*edge["dependencies"], *extras]}


def closure(required: Iterable[str], *, installed: Mapping[str, Distribution] | None = None) -> list[Dependency]:
    """All that requirements lead to, sorted by name.

    Args:
        required: requirements (PEP 508).
        installed: distributions by their name in normal form; None: those of this environment.

    Raises:
        InputError: one of them is not installed, or in another version than is required.
    """
    known = installed_distributions() if installed is None else installed
    direct = {normal(item.name) for item in _applying(required, extras=())}
    needs: dict[str, set[str]] = {}
    done: set[tuple[str, str]] = set()
    todo = [(requirement, "the project") for requirement in _applying(required, extras=())]
    while todo:
        requirement, by = todo.pop()
        name = normal(requirement.name)
        found = known.get(name)
        if found is None or not requirement.specifier.contains(found.version, prereleases=True):
            said = "is not installed" if found is None else f"is installed as {found.version}"
            expected, remedy = f"{requirement}, which {by} needs", "make setup"
            raise InputError(f"{name} {said}", expected=expected, remedy=remedy)
        needs.setdefault(name, set())
        for extra in ("", *sorted(requirement.extras)):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            for item in _applying(found.requires or (), extras=(extra,)):
                needs[name].add(normal(item.name))
                todo.append((item, name))
    return [
        Dependency(name, known[name].version, tuple(sorted(needs[name] - {name})), name in direct, known[name])
        for name in sorted(needs)
    ]


def installed_distributions() -> dict[str, Distribution]:
    """Of this environment, by name in normal form."""
    return {normal(found.metadata["Name"]): found for found in distributions() if found.metadata["Name"]}


def _applying(required: Iterable[str], *, extras: Iterable[str]) -> list[Requirement]:
    """Those requirements that hold here; with extras, those that one of these asks for or that need none."""
    parsed = [Requirement(text) for text in required]
    wanted = list(extras) or [""]
    return [
        item
        for item in parsed
        if item.marker is None or any(item.marker.evaluate({"extra": extra}) for extra in wanted)
    ]
