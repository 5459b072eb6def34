"""The datalist: a data set's cases and their split in a JSON file, in the layout of MONAI's.

It is made once and then only read, so that every run, metric and report speaks of the same split:

    {"modalities": ["flair", "t2w"], "seed": 0, "fractions": [0.7, 0.1, 0.2],
     "training": [{"case": "sub-01_ses-1", "subject": "sub-01", "label": 1,
                   "flair": "sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz", "t2w": "...", "flair_mask": "..."}, ...],
     "validation": [...], "testing": [...]}

Its paths are relative to the data set, so that both can be moved: they are read relative to `dataset_dir`, or to the
datalist's own folder where none is given. A fold of a cross-validation has "folds", "fold" and "validation_fraction" in
the place of "fractions".
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.bids import SUFFIXES, Case, check_modalities, find_cases
from scripts.errors import CohortError, InputError
from scripts.files import write_atomically
from scripts.split import PARTS, check_fractions, k_fold, split

_REMEDY = "Make the datalist again: python -m scripts cohort --dataset_dir DIR --output FILE."


def write_datalist(
    dataset_dir: str | Path,
    path: str | Path,
    *,
    modalities: Sequence[str] = ("flair", "t2w"),
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    seed: int = 0,
) -> dict[str, Any]:
    """Makes the datalist of a BIDS folder, or reads it where `path` exists already.

    Returns:
        The datalist as of `read_datalist(path, dataset_dir)`.

    Raises:
        InputError: as of `find_cases` and `split`; the existing file is for other modalities.
        CohortError: labelled cases lack an image.
    """
    path, names = Path(path), check_modalities(modalities)
    options = {"modalities": list(names), "seed": seed, "fractions": check_fractions(fractions)}
    if not path.exists():
        parts = split(_labelled_cases(dataset_dir, names), fractions=fractions, seed=seed)
        _write({**options, **_relative(parts, dataset_dir)}, path)
    return _read_made(path, dataset_dir, options)


def write_folds(
    dataset_dir: str | Path,
    path: str | Path,
    *,
    modalities: Sequence[str] = ("flair", "t2w"),
    folds: int = 5,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> dict[Path, dict[str, Any]]:
    """One datalist for each fold, as of `split.k_fold`: `NAME_fold-1.json`, ... for the path `NAME.json`.

    Returns:
        The datalists by path. Where the files exist already, they are read.

    Raises:
        InputError, CohortError: as of `write_datalist`; some of the files exist and others do not.
    """
    path, names = Path(path), check_modalities(modalities)
    splits = k_fold(
        _labelled_cases(dataset_dir, names), folds=folds, seed=seed, validation_fraction=validation_fraction
    )
    paths = [path.with_name(f"{path.stem}_fold-{number}.json") for number in range(1, folds + 1)]
    there = [str(path) for path in paths if path.exists()]
    if there and len(there) < folds:
        raise InputError(
            f"of the {folds} folds' files only {', '.join(there)} exist",
            expected="all or none: folds are made together",
            remedy="Remove them, or give another output.",
        )
    options = {"modalities": list(names), "seed": seed, "folds": folds, "validation_fraction": validation_fraction}
    for number, (path, parts) in enumerate(zip(paths, splits, strict=True), start=1):
        if not there:
            _write({**options, "fold": number, **_relative(parts, dataset_dir)}, path)
    return {path: _read_made(path, dataset_dir, options) for path in paths}


def read_datalist(path: str | Path, dataset_dir: str | Path | None = None) -> dict[str, Any]:
    """A datalist with its three parts, every case labelled, the paths absolute.

    Args:
        path: the JSON file.
        dataset_dir: what its paths are relative to; None: its own folder.

    Raises:
        InputError: the file is not JSON, lacks a key, or a case is at fault.
    """
    path = Path(path)
    document = _load(path)
    missing = {"modalities", *PARTS} - (document.keys() if isinstance(document, dict) else set())
    if missing:
        raise _fault(path, f"it lacks {', '.join(sorted(missing))}", f"an object with modalities, {', '.join(PARTS)}")
    modalities = check_modalities(document["modalities"])
    base = path.parent if dataset_dir is None else Path(dataset_dir)
    parts = {name: _resolve(document[name], modalities, base, file=path) for name in PARTS}
    cases = [case for part in parts.values() for case in part]
    _check_distinct(cases, file=path)
    for case in cases:
        if "label" not in case:
            raise _fault(path, "it has no label", "label 1 (controlled) or 0 (uncontrolled)", case=case["case"])
    return {**document, "modalities": list(modalities), **parts}


def read_cases(path: str | Path, *, modalities: Sequence[str] = ("flair", "t2w")) -> list[Case]:
    """All cases of a datalist for inference: one part or more, or a plain list; labels are optional.

    Raises:
        InputError: the file is not JSON, holds no case, or a case is at fault.
    """
    path, modalities = Path(path), check_modalities(modalities)
    document = _load(path)
    parts = [document] if isinstance(document, list) else []
    if isinstance(document, dict):
        parts = [document[name] for name in PARTS if name in document]
    cases = [case for part in parts for case in _resolve(part, modalities, path.parent, file=path)]
    if not cases:
        raise _fault(path, "it holds no case", f"a list of cases, or an object with {', '.join(PARTS)}")
    _check_distinct(cases, file=path)
    return cases


def resolve_case(entry: Mapping[str, Any], modalities: Sequence[str], base: Path, *, file: Path | None = None) -> Case:
    """One entry of a datalist, or one study, as a case: keys checked, paths absolute, case and subject named.

    A modality that the entry lacks is missing in the case too: reading reports it, and the other cases are finished.

    Args:
        entry: the paths by modality, and where wanted "case", "subject", "label", "flair_mask", ..., "brain_extraction" (the
            method for this case alone).
        modalities: those that the network takes.
        base: what its paths are relative to.
        file: the datalist, for errors.

    Raises:
        InputError: a path or a label that is none, or a name that could lead out of a folder.
    """
    label, named = entry.get("label"), str(entry.get("case", "with no name"))
    keys = [key for name in modalities for key in (name, f"{name}_mask") if entry.get(key) is not None]
    for key in keys:
        if not isinstance(entry[key], str) or not entry[key]:
            raise _fault(file, f"{key} is {entry[key]!r}", "the path of an image", case=named)
    if label is not None and (not isinstance(label, int | float) or label not in (0, 1)):
        raise _fault(file, f"its label is {label!r}", "1 (controlled), 0 (uncontrolled) or none", case=named)
    case = _checked_name(entry["case"] if "case" in entry else _default_name(entry, modalities, file), file)
    subject = _checked_name(entry.get("subject", case.split("_")[0] if case.startswith("sub-") else case), file)
    resolved: Case = {"case": case, "subject": subject}
    resolved.update({key: os.path.abspath(base / os.path.expanduser(entry[key])) for key in keys})
    if "brain_extraction" in entry:
        resolved["brain_extraction"] = str(entry["brain_extraction"])
    return resolved if label is None else {**resolved, "label": int(label)}


def _resolve(entries: Any, modalities: Sequence[str], base: Path, *, file: Path) -> list[Case]:
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _fault(file, "a part is not a list of objects", 'a list of {"case": ..., "flair": ..., "t2w": ...}')
    return [resolve_case(entry, modalities, base, file=file) for entry in entries]


def _default_name(entry: Mapping[str, Any], modalities: Sequence[str], file: Path | None) -> str:
    """The subject and session in all the files' names, else the first file's stem."""
    stems = [re.sub(r"\.nii(\.gz)?$", "", Path(entry[name]).name) for name in modalities if entry.get(name)]
    if not stems:
        raise _fault(file, "a case has neither a name nor an image", "the paths of its images", case="with no name")
    found = [match[0] for stem in stems if (match := re.match(r"sub-[^_]+(_ses-[^_]+)?(?=_|$)", stem))]
    if len(set(found)) > 1:
        # A FLAIR of one child with a T2w of another gives a score that nobody could recognise as wrong.
        raise InputError(
            f"the images of one case are of {' and '.join(found)}",
            expected="images of one child, of one session",
            remedy='Give the right files, or, where only the names are wrong, name the case yourself ("case").',
            file=file,
        )
    return found[0] if len(found) == len(stems) else stems[0]


def _checked_name(name: Any, file: Path | None) -> str:
    # Outputs are named for the case: a name must stay inside the output folder and be a file's name everywhere.
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w .+-]{0,127}", name) or ".." in name or name[-1] in " .":
        raise InputError(
            f"a case or subject is called {name!r}",
            expected="letters, digits, and inside the name also _ - + . or a blank",
            remedy='Give it a name such as "sub-01".',
            file=file,
        )
    return name


def _check_distinct(cases: Sequence[Case], *, file: Path) -> None:
    for name, times in Counter(str(case["case"]) for case in cases).items():
        if times > 1:
            raise _fault(file, f"the case is there {times} times", "one case a name", case=name)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise _fault(path, f"it cannot be read ({error})", "a datalist in JSON") from error


def _labelled_cases(dataset_dir: str | Path, modalities: Sequence[str]) -> list[Case]:
    cases = find_cases(dataset_dir, modalities=modalities, labelled=True)
    lacking = [
        InputError(
            f"there is no {SUFFIXES[name]} image",
            expected="every image of a case that has an outcome",
            remedy="Add the file, or set the outcome to n/a to leave the case out.",
            case=case["case"],
            file=case[name],
        )
        for case in cases
        for name in modalities
        if "label" in case and not Path(case[name]).is_file()
    ]
    if lacking:
        raise CohortError(lacking)
    return cases


def _read_made(path: Path, dataset_dir: str | Path, options: Mapping[str, Any]) -> dict[str, Any]:
    datalist = read_datalist(path, dataset_dir)
    if datalist["modalities"] != options["modalities"]:
        raise InputError(
            f"it is for {datalist['modalities']}",
            expected=f"{options['modalities']}",
            remedy="Give another path, or remove the file to make a new split.",
            file=path,
        )
    other = {key: datalist.get(key) for key, value in options.items() if datalist.get(key) != value}
    if other:
        warnings.warn(f"{path} exists and is kept: it was made with {other}; remove it for a new split", stacklevel=3)
    return datalist


def _relative(parts: Mapping[str, Sequence[Case]], dataset_dir: str | Path) -> dict[str, list[Case]]:
    base, files = os.path.abspath(dataset_dir), {key for name in SUFFIXES for key in (name, f"{name}_mask")}

    def entry(case: Case) -> Case:
        return {
            key: Path(os.path.relpath(value, base)).as_posix() if key in files else value for key, value in case.items()
        }

    return {name: [entry(case) for case in part] for name, part in parts.items()}


def _write(document: Mapping[str, Any], path: Path) -> None:
    write_atomically(path, json.dumps(document, indent=1) + "\n")


def _fault(file: Path | None, found: str, expected: str, *, case: str | None = None) -> InputError:
    return InputError(found, expected=expected, remedy=_REMEDY if file else "Correct it.", case=case, file=file)
