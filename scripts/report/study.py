"""What a report speaks of: the children with an outcome, and what each model said of them.

One row a child: DeLong's test, McNemar's and the intervals take the cases as independent, which two scans of one child
are not.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.files import sha256
from scripts.outcome import OUTCOMES

_REMEDY = "Give the predictions.csv of an inference or an evaluation, as it was written."


@dataclass(frozen=True)
class Model:
    """What one model said of N children, sorted by subject: one predictions.csv, or a baseline that the report made.

    Attributes:
        name: for tables and figures.
        file, sha256: where it was read, and its content; None where the scores were made by the report itself.
        versions: of the weights, one or (folds of a cross-validation) several.
        subjects: (N,) participant_id.
        labels: (N,) 1 = controlled, 0 = uncontrolled, from participants.tsv.
        scores: (N,) fused score that seizures will be controlled.
        branches: modality -> (N,) its own score.
        decisions: (N,) 1 = called controlled.
        thresholds: (N,) that the decisions were made at; one value but in a cross-validation.
        calibrated: (N,) probability after temperature scaling; None where the weights came without a temperature.
        unlike: (N,) 1 = unlike the training cohort, in intensities, geometry or features; None where nobody could tell.
        folds: (N,) fold of a cross-validation whose networks did not see the child; None for a single split.
        unlabelled: cases in the file whose subject has no outcome; they are not among the N.
    """

    name: str
    file: Path | None
    sha256: str | None
    versions: tuple[str, ...]
    subjects: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    branches: Mapping[str, NDArray[np.float64]]
    decisions: NDArray[np.int64]
    thresholds: NDArray[np.float64]
    calibrated: NDArray[np.float64] | None = None
    unlike: NDArray[np.int64] | None = None
    folds: NDArray[np.int64] | None = None
    unlabelled: tuple[str, ...] = ()

    def of(self, subjects: Sequence[str]) -> Model:
        """The same model for these subjects alone, in their order; each must be there."""
        at = [self.subjects.index(subject) for subject in subjects]
        return replace(
            self,
            subjects=tuple(subjects),
            labels=self.labels[at],
            scores=self.scores[at],
            branches={name: values[at] for name, values in self.branches.items()},
            decisions=self.decisions[at],
            thresholds=self.thresholds[at],
            calibrated=None if self.calibrated is None else self.calibrated[at],
            unlike=None if self.unlike is None else self.unlike[at],
            folds=None if self.folds is None else self.folds[at],
        )


def read_model(path: str | Path, outcomes: Mapping[str, int | None], *, name: str) -> Model:
    """Read a predictions.csv and check it against the outcomes.

    Args:
        path: columns case, score, decision, threshold, model_version; score_<modality>, label and fold where they are there.
        outcomes: participant_id -> label of participants.tsv (`scripts.bids.read_outcomes`), None where not known.
        name: of the model, in tables and figures.

    Raises:
        InputError: the file cannot be read or lacks a column; a number is not one, or is outside [0, 1]; a subject is not
            in participants.tsv or is there twice; a label or a decision contradicts the outcome or the threshold.
    """
    path = Path(path)
    rows = _rows(path)
    columns = set(rows[0])
    missing = {"case", "score", "decision", "threshold", "model_version"} - columns
    if missing:
        raise InputError(
            f"it lacks {', '.join(sorted(missing))}", expected="a predictions.csv", remedy=_REMEDY, file=path
        )
    subjects = [row["case"].split("_")[0] for row in rows]
    strangers = sorted({subject for subject in subjects if subject not in outcomes})
    if strangers:
        raise InputError(
            f"{len(strangers)} subjects are not in participants.tsv: {', '.join(strangers[:10])}",
            expected="predictions of this cohort",
            remedy="Give the cohort that was scored, or add the subjects to its participants.tsv (outcome n/a to leave one out).",
            file=path,
        )
    twice = (
        sorted({subject for subject in subjects if subjects.count(subject) > 1})
        if len(set(subjects)) < len(rows)
        else []
    )
    if twice:
        raise InputError(
            f"{', '.join(twice[:10])}: several rows for one child",
            expected="one row a child: the tests and intervals take the rows as independent",
            remedy="Keep the session that the outcome speaks of, and remove the other rows.",
            file=path,
        )
    kept = sorted(
        ((subject, row) for subject, row in zip(subjects, rows, strict=True) if outcomes[subject] is not None),
        key=lambda pair: pair[0],
    )
    if not kept:
        raise InputError(
            "none of its subjects has an outcome",
            expected="outcomes in participants.tsv",
            remedy="Fill them in.",
            file=path,
        )
    labels = np.array([int(outcomes[subject] or 0) for subject, _ in kept], dtype=np.int64)
    for (subject, row), label in zip(kept, labels, strict=True):
        if row.get("label", "") not in ("", str(label)):
            raise InputError(
                f"its label is {row['label']}, participants.tsv says {label}",
                expected="one outcome a child",
                remedy="The outcome was changed after the evaluation: evaluate again.",
                case=subject,
                file=path,
            )
    scores, thresholds = (_numbers(kept, column, path) for column in ("score", "threshold"))
    decisions = np.array([_decision(subject, row, path) for subject, row in kept], dtype=np.int64)
    # Written with six digits: a score that was rounded onto the threshold may have been on either side of it.
    wrong = (decisions != (scores >= thresholds)) & (np.abs(scores - thresholds) > 2e-6)
    if wrong.any():
        subject, row = kept[int(np.argmax(wrong))]
        raise InputError(
            f"score {row['score']} and threshold {row['threshold']} are called {row['decision']}",
            expected="controlled from the threshold on",
            remedy=_REMEDY,
            case=subject,
            file=path,
        )
    branches = {c.removeprefix("score_"): _numbers(kept, c, path) for c in rows[0] if c.startswith("score_")}
    return Model(
        name=name,
        file=path,
        sha256=sha256(path),
        versions=tuple(dict.fromkeys(row["model_version"] for _, row in kept)),
        subjects=tuple(subject for subject, _ in kept),
        labels=labels,
        scores=scores,
        branches=branches,
        decisions=decisions,
        thresholds=thresholds,
        calibrated=_optional(kept, "calibrated_probability", path),
        unlike=None if (unlike := _optional(kept, "unlike_training", path)) is None else unlike.astype(np.int64),
        folds=_folds(kept, path) if "fold" in columns else None,
        unlabelled=tuple(sorted(subject for subject in subjects if outcomes[subject] is None)),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"it cannot be read ({error})", expected="a predictions.csv", remedy=_REMEDY, file=path
        ) from error
    if not rows or any(None in row or None in row.values() for row in rows):
        found = "a row is longer or shorter than the first" if rows else "it holds no row"
        raise InputError(found, expected="a predictions.csv with one row a study", remedy=_REMEDY, file=path)
    return rows


def _numbers(kept: Sequence[tuple[str, Mapping[str, str]]], column: str, path: Path) -> NDArray[np.float64]:
    values = []
    for subject, row in kept:
        try:
            value = float(row[column])
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise InputError(
                f"{column} is {row[column]!r}", expected="a number from 0 to 1", remedy=_REMEDY, case=subject, file=path
            )
        values.append(value)
    return np.array(values)


def _optional(kept: Sequence[tuple[str, Mapping[str, str]]], column: str, path: Path) -> NDArray[np.float64] | None:
    """A column that not every file has, and that is empty where the weights came without what it needs."""
    return _numbers(kept, column, path) if all(row.get(column) for _, row in kept) else None


def _folds(kept: Sequence[tuple[str, Mapping[str, str]]], path: Path) -> NDArray[np.int64]:
    for subject, row in kept:
        if not (row["fold"].isascii() and row["fold"].isdigit()):
            raise InputError(
                f"fold is {row['fold']!r}", expected="a whole number", remedy=_REMEDY, case=subject, file=path
            )
    return np.array([int(row["fold"]) for _, row in kept], dtype=np.int64)


def _decision(subject: str, row: Mapping[str, str], path: Path) -> int:
    if row["decision"] not in OUTCOMES:
        raise InputError(
            f"decision is {row['decision']!r}", expected=" or ".join(OUTCOMES), remedy=_REMEDY, case=subject, file=path
        )
    return OUTCOMES.index(row["decision"])
