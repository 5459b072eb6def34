"""The licence of every dependency, from the metadata that its makers wrote: the SPDX expression, else the short licence field,
else the classifiers. A dependency that says none is an error that names it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

from export.distribution.dependencies import Dependency, closure, requirements
from export.distribution.layout import CHECKOUT
from scripts.errors import InputError
from scripts.files import write_atomically

SHORT = 80  # characters: a longer licence field is the licence's text, not its name
PREFIX = "License :: "


@dataclass(frozen=True)
class Licence:
    """What a distribution says of its licence.

    Attributes:
        package: its name.
        version: as it is installed.
        licence: SPDX expression or name.
        source: "expression" (SPDX), "field" or "classifier".
        files: licence texts that it brings, paths in its own metadata.
    """

    package: str
    version: str
    licence: str
    source: str
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def licence_of(name: str, distribution: Distribution) -> Licence:
    """A distribution's licence.

    Raises:
        InputError: it says none.
    """
    said = distribution.metadata
    expression, field = (" ".join(said.get_all(name) or []).strip() for name in ("License-Expression", "License"))
    classified = [line.split(" :: ")[-1] for line in said.get_all("Classifier") or [] if line.startswith(PREFIX)]
    files = tuple(said.get_all("License-File") or ())
    if expression:
        return Licence(name, distribution.version, expression, "expression", files)
    if field and len(field) <= SHORT and "\n" not in field and field.upper() != "UNKNOWN":
        return Licence(name, distribution.version, field, "field", files)
    if classified:
        return Licence(name, distribution.version, "; ".join(classified), "classifier", files)
    raise InputError(
        f"{name} {distribution.version} says no licence",
        expected="License-Expression, License or a classifier in its metadata",
        remedy="Find out under which licence it is, or do without it.",
    )


def licences(dependencies: Iterable[Dependency]) -> list[Licence]:
    """Of all dependencies.

    Raises:
        InputError: some say none; all of them are named.
    """
    found, silent = [], []
    for dependency in dependencies:
        try:
            found.append(licence_of(dependency.name, dependency.distribution))
        except InputError as error:
            silent.append(error)
    if silent:
        names = "; ".join(error.found for error in silent)
        raise InputError(names, expected=silent[0].expected, remedy=silent[0].remedy)
    return found


def table(parts: Mapping[str, Sequence[Licence]]) -> str:
    """Markdown: one row a package, with the parts that need it."""
    rows: dict[str, tuple[Licence, list[str]]] = {}
    for part, listed in parts.items():
        for licence in listed:
            rows.setdefault(licence.package, (licence, []))[1].append(part)
    lines = ["| package | version | licence | said by | needed by |", "|---|---|---|---|---|"]
    for name, (licence, needed_by) in sorted(rows.items()):
        said = licence.licence.replace("|", "\\|")
        lines.append(f"| {name} | {licence.version} | {said} | {licence.source} | {', '.join(needed_by)} |")
    return "\n".join(lines)


def write_licences(output_dir: str | Path = "dist/licences", *, checkout: str | Path = CHECKOUT) -> str:
    """Write the licences of all that bundle and edge package stand on: licences.md and licences.json.

    Args:
        output_dir: folder of both.
        checkout: folder that holds `pyproject.toml` and `edge`; by default this one.

    Example:
        python -m export licences --output_dir dist/licences

    Returns:
        The table.

    Raises:
        InputError: a dependency is missing, or says no licence.
    """
    parts = {part: licences(closure(required)) for part, required in requirements(checkout).items()}
    target = Path(output_dir)
    said = {part: [licence.to_dict() for licence in listed] for part, listed in parts.items()}
    write_atomically(target / "licences.json", json.dumps(said, indent=2) + "\n")
    write_atomically(target / "licences.md", f"# Licences of the dependencies\n\n{NOTE}\n\n{table(parts)}\n")
    return f"{table(parts)}\nwritten to {target}"


NOTE = (
    "As installed where this was made: Python and system decide on some of them. torch's CUDA builds bring NVIDIA's packages "
    "besides, under NVIDIA's own licences; TensorRT, too. HD-BET's package and weights are installed apart (`make hd-bet`)."
)
