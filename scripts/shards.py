"""One cohort on several processes or machines: which studies are whose, and all their results in one table. No torch.

Process RANK of WORLD_SIZE takes every WORLD_SIZE-th study from the RANK-th on, so that the assignment needs no word between them.
All write into one folder. What each has done it says in `shards/RANK-of-WORLD_SIZE.json` at its end:

    {"run": fingerprint, "rank": 0, "world_size": 2, "studies": of all, "modalities": [...],
     "done": [{"case": name, "fingerprint": of its CASE.json} or {"case": name, "reason": of its failure}, ...]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from scripts.answer import Answer
from scripts.errors import InputError
from scripts.files import write_atomically
from scripts.prediction_table import write_tables

Item = TypeVar("Item")
FOLDER = "shards"


@dataclass(frozen=True)
class Shard:
    """What one process has done.

    Attributes:
        run: `fingerprint.run_fingerprint`, the same for all.
        rank, world_size: which of how many.
        studies: of all of them together.
        modalities: of the network.
        done: its studies in their order, see the module.
    """

    run: str
    rank: int
    world_size: int
    studies: int
    modalities: list[str]
    done: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """As in the file."""
        return asdict(self)


@dataclass(frozen=True)
class Merged:
    """All of a cohort: results in the cohort's order, failures, and the modalities."""

    results: list[dict[str, Any]]
    failures: list[dict[str, str]]
    modalities: list[str]


def check_shard(rank: int, world_size: int) -> None:
    """Refuse numbers that are no part of a whole.

    Raises:
        InputError: not 0 <= rank < world_size.
    """
    if not isinstance(rank, int) or not isinstance(world_size, int) or not 0 <= rank < world_size:
        raise InputError(
            f"rank {rank!r} of world_size {world_size!r}",
            expected="whole numbers, the rank from 0 to world_size - 1",
            remedy="Correct --rank and --world_size.",
        )


def own(items: Sequence[Item], rank: int, world_size: int) -> list[Item]:
    """Those of one process."""
    return list(items[rank::world_size])


def forget(folder: str | Path, rank: int, world_size: int) -> None:
    """At a process's start: what it, or another number of processes, said in `folder` earlier."""
    for path in _files(folder):
        if path.name == _name(rank, world_size) or not path.name.endswith(f"-of-{world_size}.json"):
            path.unlink(missing_ok=True)


def forget_all(folder: str | Path) -> None:
    """Once all is in one table."""
    for path in _files(folder):
        path.unlink(missing_ok=True)
    if (Path(folder) / FOLDER).is_dir() and not any((Path(folder) / FOLDER).iterdir()):
        (Path(folder) / FOLDER).rmdir()


def write_shard(folder: str | Path, shard: Shard) -> None:
    """Say what a process has done."""
    path = Path(folder) / FOLDER / _name(shard.rank, shard.world_size)
    write_atomically(path, json.dumps(shard.to_dict(), indent=1) + "\n")


def read_all(folder: str | Path) -> Merged:
    """All processes' studies in the cohort's order, each once.

    Raises:
        InputError: a process has not finished, they ran with different settings, or a result was changed since.
    """
    shards = sorted((_read(path) for path in _files(folder)), key=lambda shard: shard.rank)
    _check_whole(shards, Path(folder))
    rows = [row for several in zip_longest(*(shard.done for shard in shards)) for row in several if row is not None]
    names = [row["case"] for row in rows]
    if len(set(names)) != len(names) or len(names) != shards[0].studies:
        raise _unlike(f"{len(names)} studies, {len(set(names))} different ones", f"{shards[0].studies}", Path(folder))
    results = [_result(Path(folder), row) for row in rows if "reason" not in row]
    return Merged(results, [row for row in rows if "reason" in row], shards[0].modalities)


def merge(output_dir: str | Path) -> Answer:
    """Make one predictions.csv and failures.csv of what several processes wrote into one folder.

    Args:
        output_dir: the folder, the same that all of them were given.

    Example:
        python -m scripts merge --output_dir results/scores

    Returns:
        How many were scored, and the failures.

    Raises:
        InputError: as `read_all`.
    """
    merged = read_all(str(output_dir))
    write_tables(output_dir, merged.results, merged.failures, modalities=merged.modalities)
    table = Path(str(output_dir)) / "predictions.csv"
    text = f"{len(merged.results)} scored, {len(merged.failures)} failed: {table}"
    text = "\n".join([text, *(f"  {failure['reason']}" for failure in merged.failures[:20])])
    data = {"table": table, "scored": len(merged.results), "failures": merged.failures}
    return Answer(text, data, failed=bool(merged.failures))


def _files(folder: str | Path) -> list[Path]:
    found = (Path(folder) / FOLDER).glob("*-of-*.json")
    return sorted(path for path in found if re.fullmatch(r"\d+-of-\d+\.json", path.name))


def _name(rank: int, world_size: int) -> str:
    return f"{rank}-of-{world_size}.json"


def _read(path: Path) -> Shard:
    try:
        return Shard(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        remedy = "Run that process again: what it has scored is kept."
        raise InputError(f"it cannot be read ({error})", expected="a shard", remedy=remedy, file=path) from error


def _check_whole(shards: Sequence[Shard], folder: Path) -> None:
    remedy = "Run the missing ones with the same settings, then merge: what they have scored is kept."
    if not shards:
        raise InputError(
            "no process of several has finished here", expected="shards/0-of-N.json, ...", remedy=remedy, file=folder
        )
    sizes = sorted({shard.world_size for shard in shards})
    missing = sorted(set(range(sizes[0])) - {shard.rank for shard in shards})
    if len(sizes) > 1 or missing:
        found = (
            f"of world_size {sizes[0]} the ranks {missing} are missing" if len(sizes) == 1 else f"world_size {sizes}"
        )
        raise InputError(found, expected="all ranks of one world_size", remedy=remedy, file=folder / FOLDER)
    if len({(shard.run, shard.studies, tuple(shard.modalities)) for shard in shards}) > 1:
        raise _unlike("processes of different weights, settings or cohorts", "one run", folder)


def _result(folder: Path, row: Mapping[str, str]) -> dict[str, Any]:
    path = folder / f"{row['case']}.json"
    try:
        result: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise _unlike(f"no result of {row['case']} ({error})", "what the process wrote", folder) from error
    if result.get("fingerprint") != row["fingerprint"]:
        raise _unlike(f"another result of {row['case']}", "the one that the process wrote", folder)
    return result


def _unlike(found: str, expected: str, folder: Path) -> InputError:
    remedy = "Run all processes again with the same settings and files: what is of them is kept."
    return InputError(found, expected=expected, remedy=remedy, file=folder)
