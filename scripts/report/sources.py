"""The files of a report: predictions, and beside them what a run of the bundle left there.

Of `RUN/testing/predictions.csv` (the layout of `python -m scripts models`) or `RUN/predictions.csv` also these are read where
they are there: `RUN/validation/predictions.csv`, `RUN/training.csv`, `RUN/model.json`, and `failures.csv` beside the predictions.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from scripts.errors import InputError
from scripts.report.study import Model, read_model
from scripts.split import PARTS

Made = TypeVar("Made")
PART_FOLDERS = (*PARTS, "evaluation")


@dataclass(frozen=True)
class Run:
    """One model, and what its run left.

    Attributes:
        model: its predictions.
        validation: the same model on the validation part; None where there are none.
        history: rows of training.csv; empty where there is none.
        origin: model.json of these very weights; empty where there is none.
        failures: case -> reason of the studies that it could not score.
    """

    model: Model
    validation: Model | None = None
    history: Sequence[Mapping[str, float]] = ()
    origin: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)


def read_runs(
    predictions: str | Path | Sequence[str | Path],
    outcomes: Mapping[str, int | None],
    *,
    names: str | Sequence[str] | None = None,
    common: bool = False,
) -> tuple[Run, ...]:
    """All runs, on the same children.

    Args:
        predictions: one predictions.csv or several; the first is the one that the others are compared with.
        outcomes: of participants.tsv (`scripts.bids.read_outcomes`).
        names: of the models, in the same order; default: the runs' folders.
        common: keep only the children that every file has a score of.

    Raises:
        InputError: as `read_model`; a name is there twice; the files are not about the same children and `common` is off.
    """
    paths = [Path(str(path)) for path in ([predictions] if isinstance(predictions, str | Path) else predictions)]
    said = [names] if isinstance(names, str) else names
    given = list(said or (_run_folder(path).resolve().name for path in paths))
    twice = [name for name, times in Counter(given).items() if times > 1]
    if len(given) != len(paths) or twice or not paths:
        raise InputError(
            f"{len(paths)} files of predictions, names {given}",
            expected="one name a file, each once",
            remedy="Give --names NAME NAME ... in the order of the files.",
        )
    runs = [_read_run(path, outcomes, name=name) for path, name in zip(paths, given, strict=True)]
    everywhere = set(runs[0].model.subjects).intersection(*(run.model.subjects for run in runs))
    anywhere = set().union(*(run.model.subjects for run in runs))
    if everywhere == anywhere:
        return tuple(runs)
    if not common or not everywhere:
        lacking = {run.model.name: sorted(anywhere - set(run.model.subjects)) for run in runs}
        said = "; ".join(f"{name} lacks {', '.join(s[:5])} ({len(s)})" for name, s in lacking.items() if s)
        raise InputError(
            f"the files are not about the same children: {said}",
            expected="a score of every child from every model: models are compared on the same children alone",
            remedy="See failures.csv of the run that lacks them and score again"
            + (", or give --common to leave out who is not in all files." if everywhere else "."),
        )
    return tuple(
        Run(run.model.of(sorted(everywhere)), run.validation, run.history, run.origin, run.failures) for run in runs
    )


def _read_run(path: Path, outcomes: Mapping[str, int | None], *, name: str) -> Run:
    folder = _run_folder(path)
    model = read_model(path, outcomes, name=name)
    validation = folder / "validation" / "predictions.csv"
    return Run(
        model=model,
        validation=read_model(validation, outcomes, name=name) if validation.is_file() and validation != path else None,
        history=_history(folder / "training.csv"),
        origin=_origin(folder / "model.json", model),
        failures={row["case"]: row["reason"] for row in _table(path.with_name("failures.csv"))},
    )


def _run_folder(path: Path) -> Path:
    return path.parent.parent if path.parent.name in PART_FOLDERS else path.parent


def _table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def from_json(path: str | Path, make: Callable[[Any], Made], *, expected: str, remedy: str) -> Made:
    """What `make` makes of a JSON file.

    Raises:
        InputError: the file cannot be read, or `make` finds in it less or something else than it looks for.
    """
    try:
        return make(json.loads(Path(path).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"it cannot be read ({type(error).__name__}: {error})"
        raise InputError(found, expected=expected, remedy=remedy, file=path) from error


def _history(path: Path) -> list[dict[str, float]]:
    try:
        return [{key: float(value) for key, value in row.items() if value} for row in _table(path)]
    except ValueError as error:
        raise InputError(
            f"a value is no number ({error})", expected="training.csv of a run", remedy="Remove it.", file=path
        ) from error


def _origin(path: Path, model: Model) -> dict[str, Any]:
    """model.json, if it speaks of the weights that the predictions came from."""
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(
            f"it is not JSON ({error})", expected="model.json", remedy="Copy it again.", file=path
        ) from error
    digits = str(said.get("sha256", ""))[:8]
    return said if digits and any(version.endswith(f"+{digits}") for version in model.versions) else {}
