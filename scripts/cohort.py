"""Where cases come from: a BIDS folder, a datalist made from it once, or one child's images.

A case: `scripts.bids`. The stratified split: `scripts.split`. The datalist: `scripts.datalist`. Their public names are
to be had from here, so that configs and callers name one module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.bids import SUFFIXES, Case, check_modalities, find_cases
from scripts.datalist import read_cases, read_datalist, resolve_case, write_datalist, write_folds
from scripts.errors import InputError
from scripts.split import PARTS, check_fractions, count, k_fold, split

__all__ = [
    "PARTS",
    "SUFFIXES",
    "Case",
    "cases_of",
    "find_cases",
    "inference_cases",
    "k_fold",
    "make_datalists",
    "read_datalist",
    "split",
    "write_datalist",
    "write_folds",
]


def cases_of(datalist: Mapping[str, Any], part: str) -> list[Case]:
    """One part's cases of a datalist (`read_datalist`).

    Raises:
        InputError: there is no such part, or nobody is in it.
    """
    if part not in PARTS:
        raise InputError(f"part is {part!r}", expected=f"one of {', '.join(PARTS)}", remedy="Correct --part.")
    cases: list[Case] = datalist[part]
    if not cases:
        raise InputError(
            f"nobody is in the {part} part of the datalist",
            expected="cases to score",
            remedy="Choose another --part, or make a split with other --fractions.",
        )
    return cases


def inference_cases(
    *,
    dataset_dir: str | Path | None = None,
    datalist: str | Path | None = None,
    study: Mapping[str, str | Path] | None = None,
    modalities: Sequence[str] = ("flair", "t2w"),
) -> list[Case]:
    """The cases to be scored, from exactly one source; labels are optional.

    Args:
        dataset_dir: a BIDS folder.
        datalist: a JSON file with one part or more, or with a plain list of cases; paths relative to its own folder.
        study: one child's images, {"flair": path, "t2w": path}, and where wanted "flair_mask", "t2w_mask" and "case".
            The case's name defaults to the subject (and session) in the files' names, else to the first file's stem.
        modalities: those that the network takes, in its order.

    Raises:
        InputError: no source or several, or the source is at fault.
    """
    modalities = check_modalities(modalities)
    example = "{" + ", ".join(f"{name}: {SUFFIXES[name]}.nii.gz" for name in modalities) + "}"
    sources = {"dataset_dir": dataset_dir, "datalist": datalist, "study": study}
    # A config's "" or {} stands for "not given".
    given = [name for name, value in sources.items() if value]
    if len(given) == 1 and dataset_dir:
        return find_cases(dataset_dir, modalities=modalities)
    if len(given) == 1 and datalist:
        return read_cases(datalist, modalities=modalities)
    if len(given) == 1 and study:
        return [_study(study, modalities, example)]
    raise InputError(
        f"{' and '.join(given) or 'no source of cases'} given",
        expected="exactly one of dataset_dir, datalist, study",
        remedy=f"Give dataset_dir=FOLDER (BIDS), datalist=FILE.json, or study={example}.",
    )


def make_datalists(
    dataset_dir: str | Path,
    output: str | Path,
    *,
    modalities: Sequence[str] = ("flair", "t2w"),
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
    folds: int | None = None,
) -> str:
    """Write the datalist of a cohort: its split into training, validation and testing part, stratified by outcome.

    With `folds` there is one for each fold (`NAME_fold-1.json`, ...): the testing part's share is 1 / folds, and training
    takes what validation and testing leave.

    Args:
        dataset_dir: BIDS folder with the outcomes in participants.tsv.
        output: JSON file of the datalist.
        modalities: the images that every child must have: flair, t2w.
        fractions: of training, validation and testing part: shares, together 1, or whole numbers of subjects; with folds the
            second alone counts, a share of all.
        seed: of the draw, a whole number from 0 on.
        folds: of a cross-validation, 2 or more; None: one split.

    Example:
        python -m scripts cohort --dataset_dir data/cohort --output data/cohort/datalist.json

    Returns:
        What was written, with the number of subjects by part and outcome, to be printed.

    Raises:
        InputError: no outcomes, fractions that are no split, or too few children of an outcome.
    """
    output = Path(str(output))
    if folds is None:
        made = {
            output: write_datalist(dataset_dir, output, modalities=modalities, fractions=fractions, seed=seed),
        }
    else:
        share = check_fractions(fractions)[1]
        made = write_folds(
            dataset_dir, output, modalities=modalities, folds=folds, validation_fraction=share, seed=seed
        )
    lines = []
    for path, datalist in made.items():
        lines.append(str(path))
        for name in PARTS:
            by_label = count(datalist[name])
            controlled, uncontrolled = by_label[1], by_label[0]
            total = controlled + uncontrolled
            lines.append(f"  {name:<10} {total:>4} subjects: {controlled} controlled, {uncontrolled} uncontrolled")
    return "\n".join(lines)


def _study(study: Mapping[str, str | Path], modalities: Sequence[str], example: str) -> Case:
    optional = ["case", *(f"{name}_mask" for name in modalities)]
    keys = set(study) if isinstance(study, Mapping) else set()
    if not set(modalities) <= keys <= {*modalities, *optional}:
        raise InputError(
            f"study is {study!r}",
            expected=f"a path for each of {', '.join(modalities)}; further keys may be {', '.join(optional)}",
            remedy=f"Give study={example}.",
        )
    entry = {key: str(value) if isinstance(value, Path) else value for key, value in study.items()}
    return resolve_case(entry, modalities, Path.cwd())
