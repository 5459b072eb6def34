"""The clinical variables: the columns of participants.tsv that Table 1 of Zhao et al. 2026 prints, declared here alone.

Columns of the user's own are declared in the BIDS sidecar participants.json: `Levels` makes one categorical, `Units`
continuous.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from scripts.bids import read_participant_rows
from scripts.errors import InputError

UNKNOWN = ("n/a", "")
LABEL = "label"  # the column of the outcome: 1 controlled, 0 uncontrolled, <NA> not known


@dataclass(frozen=True)
class Level:
    """One value of a categorical variable, and how else files may spell it (in any case)."""

    value: str
    title: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """One column of participants.tsv.

    Attributes:
        name: of the column.
        title: as it is printed, without the unit.
        kind: a binary variable has two levels, of which tables show the second; in the data it is 1.
        unit: of a continuous one.
        levels: of a categorical or binary one, in the order of the tables.
        limits: of a continuous one, both possible; what lies outside is an error (ages in days, a slipped decimal point).
        remedy: what is likely where the limits are left.
        before_treatment: whether it is known before treatment begins: a baseline must use no other.
    """

    name: str
    title: str
    kind: Literal["continuous", "categorical", "binary"]
    unit: str = ""
    levels: tuple[Level, ...] = ()
    limits: tuple[float, float] = (-math.inf, math.inf)
    remedy: str = "Correct it, or write n/a where it is not known."
    before_treatment: bool = True


_NO_YES = (Level("0", "no", ("no", "false")), Level("1", "yes", ("yes", "true")))
_SEX = (Level("F", "female", ("female",)), Level("M", "male", ("male",)))
_MONTHS: tuple[float, float] = (0, 480)
_AGE_REMEDY = "Give ages in months: days / 30.44, years * 12; 480 months are 40 years. Write n/a where it is not known."


def _age(name: str, title: str) -> Variable:
    return Variable(name, title, "continuous", unit="months", limits=_MONTHS, remedy=_AGE_REMEDY)


def _sign(name: str, title: str, *, before_treatment: bool = True) -> Variable:
    return Variable(name, title, "binary", levels=_NO_YES, before_treatment=before_treatment)


CLINICAL = (
    Variable("sex", "Male", "binary", levels=_SEX),
    _age("age_onset_months", "Age at onset"),
    _age("age_mri_months", "Age at MRI"),
    _sign("infantile_spasms", "Infantile spasms"),
    Variable(
        "gene",
        "Gene",
        "categorical",
        levels=(Level("negative", "negative", ("none",)), Level("TSC1", "TSC1"), Level("TSC2", "TSC2")),
    ),
    Variable("tubers", "Tubers", "continuous", limits=(0, 300)),
    _sign("three_or_more_medications", "Three or more medications", before_treatment=False),
    _sign("eeg_left_frontal", "EEG left frontal"),
    _sign("eeg_right_frontal", "EEG right frontal"),
    _sign("eeg_left_temporal", "EEG left temporal"),
    _sign("eeg_right_temporal", "EEG right temporal"),
    _sign("eeg_left_parieto_occipital", "EEG left parieto-occipital"),
    _sign("eeg_right_parieto_occipital", "EEG right parieto-occipital"),
)


def own_variables(cohort: str | Path, names: Sequence[str]) -> tuple[Variable, ...]:
    """Further columns as the sidecar participants.json declares them.

    Args:
        cohort: the folder that holds participants.tsv and participants.json.
        names: of columns. `Levels` there makes one categorical (binary where the levels are 0 and 1), `Units` continuous;
            LongName or Description is its title.

    Raises:
        InputError: there is no sidecar, or it declares no Levels and no Units, or both, of a column; the file lacks it.
    """
    path = Path(cohort) / "participants.json"
    example = 'for each column of --variables {"LongName": ..., "Levels": {...}} or {"LongName": ..., "Units": ...}'
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"it cannot be read ({error})", expected=example, remedy="Write the sidecar.", file=path
        ) from error
    rows = read_participant_rows(path.with_suffix(".tsv"))
    known = {variable.name for variable in CLINICAL} | {"participant_id", "outcome", LABEL}
    made = []
    for name in dict.fromkeys(names):
        if name in known:
            remedy = "Leave it out of --variables."
            raise InputError(f"{name} is no further column", expected="columns of your own", remedy=remedy)
        if not all(name in fields for fields in rows.values()):
            remedy = "Correct --variables, or add the column."
            raise InputError(
                f"there is no column {name}", expected="it in row 1", remedy=remedy, file=path.with_suffix(".tsv")
            )
        made.append(_declared(name, sidecar.get(name) if isinstance(sidecar, dict) else None, path, example))
    return tuple(made)


def _declared(name: str, entry: object, path: Path, example: str) -> Variable:
    levels, unit = (entry.get("Levels"), entry.get("Units")) if isinstance(entry, Mapping) else (None, None)
    if (
        not isinstance(entry, Mapping)
        or (levels is None) == (unit is None)
        or (levels is not None and (not isinstance(levels, Mapping) or len(levels) < 2))
    ):
        found = f"it declares of {name} {json.dumps(entry)}"
        raise InputError(found, expected=example, remedy="Correct the sidecar.", file=path)
    title = str(entry.get("LongName") or entry.get("Description") or name)
    if levels is None:
        return Variable(name, title, "continuous", unit=str(unit))
    levels = {str(value): text for value, text in levels.items() if value not in UNKNOWN}
    if set(levels) == {"0", "1"}:
        return _sign(name, title)
    return Variable(
        name,
        title,
        "categorical",
        levels=tuple(Level(str(value), _level_title(value, text)) for value, text in levels.items()),
    )


def _level_title(value: str, text: object) -> str:
    # BIDS has a level's text, or an object that holds it and a link to a term.
    described = text.get("Description", value) if isinstance(text, Mapping) else text
    return str(described) or value
