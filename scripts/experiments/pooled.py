"""The testing predictions of a cross-validation's folds in one table: every child once, scored by a model that never saw it.

Fusion weights and threshold were chosen inside each fold, and each row keeps its fold's threshold and decision. Scores of
different folds come from different models: they need not be on one scale, which an AUC over all rows passes over. The column
`fold` lets it be computed within folds.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scripts.datalist import read_datalist
from scripts.errors import InputError
from scripts.experiments.model_run import ModelRun
from scripts.files import write_csv


def pool_folds(runs: Sequence[ModelRun], path: str | Path) -> None:
    """Write the folds' testing predictions as one predictions.csv with a further column, `fold`.

    Args:
        runs: of one model, one a fold, all evaluated.
        path: of the table.

    Raises:
        InputError: a case of a fold's testing part has no score, one that is not of it has, or a case is in several folds.
    """
    rows: list[dict[str, str]] = []
    columns: list[str] = []
    for run in runs:
        file = run.folder / "testing" / "predictions.csv"
        with file.open(newline="", encoding="utf-8") as stream:
            scored = list(csv.DictReader(stream))
        expected = {case["case"] for case in read_datalist(run.datalist)["testing"]}
        found = Counter(row["case"] for row in scored)
        if set(found) != expected or max(found.values()) > 1:
            odd = sorted(expected ^ set(found)) or sorted(case for case, times in found.items() if times > 1)
            raise _fault(
                file, f"{', '.join(odd[:5])}: not once", f"the testing part of fold {run.fold}, each case once"
            )
        columns += [column for column in scored[0] if column not in columns]
        rows += [{**row, "fold": str(run.fold)} for row in scored]
    several = sorted(case for case, times in Counter(row["case"] for row in rows).items() if times > 1)
    if several:
        raise _fault(Path(path), f"{', '.join(several[:5])} are in several folds", "every case in one testing part")
    write_csv(path, sorted(rows, key=lambda row: row["case"]), columns=["case", "fold", *columns[1:]])


def _fault(file: Path, found: str, expected: str) -> InputError:
    return InputError(found, expected=expected, remedy="Remove the folds' folders and run again.", file=file)
