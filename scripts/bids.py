"""A BIDS folder -> cases: one dictionary for every imaging session.

    {"case": "sub-01_ses-1", "subject": "sub-01", "flair": "/.../sub-01_ses-1_FLAIR.nii.gz", "t2w": "...",
     "flair_mask": "...", "t2w_mask": "...", "label": 1}

Masks are there where a derivative holds them, the label where participants.tsv gives an outcome: 1 = seizures
controlled, 0 = uncontrolled. An image that a case lacks keeps the path at which it was expected: the run then reports
that one case as failed, with that path, and finishes the others. A modality's key is its BIDS suffix in lower case.
Nothing is opened here but participants.tsv. Source of the layout: Brain Imaging Data Structure, sections "Magnetic
Resonance Imaging" and "Imaging derivatives" (bids-specification.readthedocs.io).
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError

Case = dict[str, Any]

SUFFIXES = {"flair": "FLAIR", "t2w": "T2w", "t1w": "T1w", "dwi": "dwi"}
OUTCOMES = {"controlled": 1, "uncontrolled": 0, "n/a": None, "": None}
_SUBJECT = re.compile(r"sub-[A-Za-z0-9+]+")
_SESSION = re.compile(r"ses-[A-Za-z0-9+]+")
_ENTITIES = r"(?:_[A-Za-z]+-[A-Za-z0-9+]+)*"  # acq-, run-, ...: allowed between the case and the suffix
_NIFTI = r"\.nii(?:\.gz)?"


def find_cases(
    dataset_dir: str | Path, *, modalities: Sequence[str] = ("flair", "t2w"), labelled: bool = False
) -> list[Case]:
    """The cases of a BIDS folder, sorted by name.

    Args:
        dataset_dir: the folder that holds sub-XX/ and, where there are outcomes, participants.tsv.
        modalities: keys of `SUFFIXES`.
        labelled: participants.tsv and the folders must name the same subjects. Training needs that; at inference a
            subject without a row has no label, and a row without a folder is no matter.

    Raises:
        InputError: no subject folder, a folder's name is not BIDS, several files for one modality or mask, or
            participants.tsv is at fault.
    """
    modalities = check_modalities(modalities)
    root = Path(os.path.abspath(dataset_dir))
    folders = sorted(entry for entry in root.iterdir() if _is_folder(entry, "sub-")) if root.is_dir() else []
    if not folders:
        raise InputError(
            "the folder holds no subject" if root.is_dir() else "there is no such folder",
            expected="a BIDS folder with sub-XX/[ses-Y/]anat/",
            remedy="Give the folder that holds the sub-XX folders as dataset_dir.",
            file=root,
        )
    for folder in folders:
        _check_name(folder, _SUBJECT, "sub-")
    labels = read_outcomes(root / "participants.tsv", required=labelled)
    if labelled:
        _check_same_subjects(labels, {folder.name for folder in folders}, file=root / "participants.tsv")

    cases = []
    for folder in folders:
        for session in _imaging_folders(folder):
            case = _case(root, session, modalities)
            label = labels.get(folder.name)
            cases.append(case if label is None else case | {"label": label})
    return sorted(cases, key=lambda case: str(case["case"]))


def read_outcomes(path: str | Path, *, required: bool = False) -> dict[str, int | None]:
    """participants.tsv -> label (1 controlled, 0 uncontrolled, None not known) by participant.

    A file that is not there, or that has no `outcome` column, gives no labels; with `required` it is an error. A
    byte-order mark, Windows line ends and empty lines are accepted.
    """
    path = Path(path)
    if not path.is_file() and not required:
        return {}
    rows = read_participant_rows(path, needed=("outcome",) if required else ())
    return outcomes_of(rows, file=path)


def outcomes_of(rows: Mapping[str, Mapping[str, str]], *, file: Path) -> dict[str, int | None]:
    """The label by participant of the rows of `read_participant_rows`; None where a row tells none.

    Raises:
        InputError: an outcome that is none.
    """
    labels = {}
    for subject, fields in rows.items():
        outcome = fields.get("outcome", "")
        if outcome not in OUTCOMES:
            raise InputError(
                f"the row of {subject} has outcome {outcome!r}",
                expected='"controlled", "uncontrolled", "n/a" or nothing',
                remedy="Correct the row.",
                file=file,
            )
        labels[subject] = OUTCOMES[outcome]
    return labels


def read_participant_rows(path: str | Path, *, needed: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """participants.tsv -> its fields by column and participant, as the texts that they are, in the file's order.

    Args:
        path: a byte-order mark, Windows line ends and empty lines are accepted.
        needed: columns that must be there besides participant_id.

    Raises:
        InputError: the file is not there or cannot be read; a column is missing or there twice; a row is longer or
            shorter than the first, has no BIDS name, or names a participant a second time.
    """
    path = Path(path)
    names = ("participant_id", *needed)
    quoted = " and ".join(f'"{name}"' for name in names)
    columns = f"tab-separated column{'s' * (len(names) > 1)} {quoted}, in UTF-8"
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.reader(stream, delimiter="\t"))
    except FileNotFoundError as error:
        raise InputError(
            "there is no such file", expected=columns, remedy="Write one row a subject.", file=path
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"the file cannot be read ({error})", expected=columns, remedy="Save it as plain text in UTF-8.", file=path
        ) from error
    header = [name.strip() for name in rows[0]] if rows else []
    if any(header.count(name) != 1 for name in names) or any(header.count(name) > 1 for name in header if name):
        raise InputError(
            f"its columns are {header}", expected=f"{columns}, each once", remedy="Correct row 1.", file=path
        )

    fields: dict[str, dict[str, str]] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(value.strip() for value in row):
            continue
        if len(row) != len(header):
            raise InputError(
                f"row {number} has {len(row)} fields",
                expected=f"{len(header)}, as many as the first row",
                remedy="Separate the fields by single tabs; write n/a where a value is not known.",
                file=path,
            )
        values = {name: value.strip() for name, value in zip(header, row, strict=True)}
        subject = values["participant_id"]
        if not _SUBJECT.fullmatch(subject):
            raise InputError(
                f"row {number} has participant_id {subject!r}",
                expected='"sub-" and letters or digits, e.g. "sub-01"',
                remedy="Give the participant the name of its folder.",
                file=path,
            )
        if subject in fields:
            raise InputError(
                f"row {number} names {subject} a second time",
                expected="one row a participant",
                remedy="Remove one.",
                file=path,
            )
        fields[subject] = values
    return fields


def check_modalities(modalities: Sequence[str]) -> tuple[str, ...]:
    """The modalities as a tuple, in their order (which is the order of the image's channels).

    Raises:
        InputError: no list of different names that are known.
    """
    given = list(modalities) if isinstance(modalities, list | tuple) else None
    if not given or any(name not in SUFFIXES for name in given) or max(Counter(given).values()) > 1:
        raise InputError(
            f"modalities is {modalities!r}",
            expected=f"a list of different names out of {', '.join(SUFFIXES)}",
            remedy='Give a list such as ["flair", "t2w"].',
        )
    return tuple(given)


def _is_folder(path: Path, prefix: str) -> bool:
    return path.name.startswith(prefix) and path.is_dir()


def _check_name(folder: Path, pattern: re.Pattern[str], prefix: str) -> None:
    # The name becomes part of the case's name, and that the name of the files written for it.
    if not pattern.fullmatch(folder.name):
        raise InputError(
            f"the folder is called {folder.name!r}",
            expected=f'"{prefix}" and letters or digits, as in BIDS',
            remedy="Rename the folder and its files, or move it out of the data set.",
            file=folder,
        )


def _check_same_subjects(labels: dict[str, int | None], folders: set[str], *, file: Path) -> None:
    for found, names in (
        ("no row for", folders - labels.keys()),
        ("a row, but there is no folder, for", labels.keys() - folders),
    ):
        if names:
            raise InputError(
                f"{found} {', '.join(sorted(names))}",
                expected="one row for every subject folder, and no other",
                remedy="Add what is missing or remove what is too much; an outcome that is not known is n/a.",
                file=file,
            )


def _datatype(modality: str) -> str:
    return "dwi" if modality == "dwi" else "anat"


def _imaging_folders(subject: Path) -> list[Path]:
    """The subject's sessions that hold images, and the subject's own folder where it has images outside of sessions."""
    sessions = sorted(entry for entry in subject.iterdir() if _is_folder(entry, "ses-"))
    for session in sessions:
        _check_name(session, _SESSION, "ses-")
    found = [folder for folder in (subject, *sessions) if any((folder / name).is_dir() for name in ("anat", "dwi"))]
    # A session of EEG alone is no case. A subject without any image is one: it must show up as failed, not vanish.
    return found or sessions[:1] or [subject]


def _case(root: Path, folder: Path, modalities: Sequence[str]) -> Case:
    parts = folder.relative_to(root).parts  # ("sub-01",) or ("sub-01", "ses-1")
    name = "_".join(parts)
    case: Case = {"case": name, "subject": parts[0]}
    for modality in modalities:
        datatype, suffix = _datatype(modality), SUFFIXES[modality]
        images = _matches(folder / datatype, rf"{re.escape(name)}{_ENTITIES}_{suffix}{_NIFTI}")
        _check_single(images, name, f"{suffix} images", "Move all but one out of the data set.")
        case[modality] = str(images[0] if images else folder / datatype / f"{name}_{suffix}.nii.gz")
    for modality in modalities:
        datatype, suffix = _datatype(modality), SUFFIXES[modality]
        pattern = rf"{re.escape(name)}_space-{suffix}_desc-brain_mask{_NIFTI}"
        pipelines = sorted((root / "derivatives").glob("*"))
        masks = [mask for pipeline in pipelines for mask in _matches(pipeline.joinpath(*parts, datatype), pattern)]
        _check_single(masks, name, f"brain masks of {suffix}", "Keep the one pipeline's that is to be used.")
        if masks:
            case[f"{modality}_mask"] = str(masks[0])
    return case


def _matches(folder: Path, pattern: str) -> list[Path]:
    # A dangling link (git-annex before `get`) counts as the file it stands for: the run then says so.
    return sorted(p for p in folder.glob("*") if re.fullmatch(pattern, p.name) and not p.is_dir())


def _check_single(files: Sequence[Path], case: str, what: str, remedy: str) -> None:
    if len(files) > 1:
        names = ", ".join(str(file) for file in files)
        raise InputError(f"there are {len(files)} {what}: {names}", expected="one", remedy=remedy, case=case)
