"""The options of the bundle's workflows: the values at the head of a configuration that its run reads, with their defaults.

Names and defaults come from the JSON, so that they are nowhere else; what an option means is in `docs/commands/options.tsv`.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts.config import references

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "bundle" / "configs"
MEANINGS = ROOT / "docs" / "commands" / "options.tsv"
WORKFLOWS = {  # run id -> its configuration, overlays after their base
    "inference": ("inference.json",),
    "training": ("train.json",),
    "evaluating": ("train.json", "evaluate.json"),
}
MACHINERY = {"_meta_", "imports", "code_path"}  # at the head, but nobody's choice
FIRST_NOUN = "backbone"  # here the values end and the components begin


@dataclass(frozen=True)
class Option:
    """One option: its name, its default as the JSON has it, and what it means."""

    name: str
    default: str
    meaning: str


def meanings() -> dict[str, str]:
    """Name -> what the option means, of all workflows."""
    with MEANINGS.open(newline="") as file:
        return {row["option"]: row["meaning"] for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)}


def options(workflow: str) -> list[Option]:
    """What can be set for a workflow, in the order of its configuration.

    Args:
        workflow: one of `WORKFLOWS`.

    Raises:
        KeyError: an option without a meaning.
    """
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / name) for name in WORKFLOWS[workflow]])
    config, read, said = parser.get(), _reached(parser.get(), workflow), meanings()
    head = list(config).index(FIRST_NOUN)
    names = [name for place, name in enumerate(config) if place < head or _is_plain(config[name])]
    return [
        Option(name, _default(config[name]), said[name]) for name in names if name in read and name not in MACHINERY
    ]


def overlay_options(overlay: str) -> list[Option]:
    """What a configuration that is laid over another sets, and what it adds, components left out.

    Args:
        overlay: the file's name in the bundle's `configs`.

    Raises:
        KeyError: an option without a meaning.
    """
    config, said = json.loads((CONFIGS / overlay).read_text()), meanings()
    return [Option(name, _default(value), said[name]) for name, value in config.items() if _is_plain(value, "%@")]


def _is_plain(value: Any, marks: str = "%$@") -> bool:
    """A number, a yes or no, or a text that is none of MONAI's references."""
    return isinstance(value, bool | int | float) or (isinstance(value, str) and not value.startswith(tuple(marks)))


def _default(value: Any) -> str:
    if isinstance(value, dict):  # a component that finds it
        return f"{value['_target_']}(...)"
    return value.removeprefix("$") if isinstance(value, str) else json.dumps(value)


def _reached(config: dict[str, Any], start: str) -> set[str]:
    """The top-level ids that a run comes by, from its own list on along every reference."""
    found: set[str] = set()
    ahead = [start]
    while ahead:
        name = ahead.pop()
        if name in config and name not in found:
            found.add(name)
            ahead += [reference.split("::")[0] for reference in references(config[name])]
    return found
