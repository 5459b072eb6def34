"""participants.tsv as a table of numbers: the outcome and the clinical variables of every child.

"n/a" and an empty field are a value that is not known; anything else that cannot be read is an error, never a missing value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scripts.bids import outcomes_of, read_participant_rows
from scripts.errors import CohortError, InputError
from scripts.report.variables import CLINICAL, LABEL, UNKNOWN, Variable

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def read_participants(path: str | Path, variables: Sequence[Variable] = CLINICAL) -> pd.DataFrame:
    """Read participants.tsv.

    Args:
        path: the file, or the cohort's folder that holds it.
        variables: the columns to read. Those that the file lacks the result lacks too: see `absent`.

    Returns:
        Indexed by participant_id and sorted by it, whatever the order of the rows. `label` (Int64) 1 controlled, 0
        uncontrolled, <NA> not known; continuous and binary variables float64 (binary: 1 the second level), NaN where not
        known; categorical ones as ordered categories of the levels' values.

    Raises:
        InputError, CohortError (several): as of `scripts.bids.read_participant_rows`; no column outcome; a value that is
            no number, no level, or outside the limits.
    """
    path = Path(path)
    path = path / "participants.tsv" if path.is_dir() else path
    rows = dict(sorted(read_participant_rows(path, needed=("outcome",)).items()))
    if not rows:
        raise InputError("it holds no participant", expected="one row a child", remedy="Add them.", file=path)
    labels = outcomes_of(rows, file=path)
    columns: dict[str, Any] = {LABEL: pd.array([labels[subject] for subject in rows], dtype="Int64")}
    errors: list[InputError] = []
    header = next(iter(rows.values())).keys()
    for variable in variables:
        if variable.name in header:
            read = [_value(variable, subject, fields[variable.name], path) for subject, fields in rows.items()]
            errors += [value for value in read if isinstance(value, InputError)]
            columns[variable.name] = _column(variable, read)
    if errors:
        raise errors[0] if len(errors) == 1 else CohortError(errors)
    return pd.DataFrame(columns, index=pd.Index(list(rows), name="participant_id"))


def absent(participants: pd.DataFrame, variables: Sequence[Variable] = CLINICAL) -> tuple[Variable, ...]:
    """The variables that the cohort has no column of."""
    return tuple(variable for variable in variables if variable.name not in participants.columns)


def present(participants: pd.DataFrame, variables: Sequence[Variable] = CLINICAL) -> tuple[Variable, ...]:
    """The variables that the cohort has a column of, in their order."""
    return tuple(variable for variable in variables if variable.name in participants.columns)


def _value(variable: Variable, subject: str, text: str, file: Path) -> float | str | InputError | None:
    """The value, None where it is not known, or what is wrong with it."""
    if text in UNKNOWN:
        return None
    if variable.kind == "continuous":
        number = float(text) if _NUMBER.fullmatch(text) else math.nan
        low, high = variable.limits
        if math.isfinite(number) and low <= number <= high:
            return number
        span = "" if math.isinf(high) else f" from {low:g} to {high:g}"
        unit = f" ({variable.unit})" if variable.unit else ""
        expected = f'a number{span}{unit}, with a decimal point, or "n/a"'
    else:
        for level in variable.levels:
            if text == level.value or text.lower() in {level.value.lower(), *level.also}:
                return level.value
        expected = ", ".join(f'"{level.value}"' for level in variable.levels) + ' or "n/a"'
    return InputError(
        f"{variable.name} is {text!r}", expected=expected, remedy=variable.remedy, case=subject, file=file
    )


def _column(variable: Variable, read: Sequence[object]) -> Any:
    values = [None if isinstance(value, InputError) else value for value in read]
    if variable.kind == "continuous":
        return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
    levels = [level.value for level in variable.levels]
    if variable.kind == "binary":
        return np.array([math.nan if value is None else float(value == levels[1]) for value in values])
    return pd.Categorical(values, categories=levels, ordered=True)
