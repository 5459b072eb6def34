"""Cohorts for tests: BIDS folders of small files that are no images, and cases without files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.bids import Case
from scripts.split import PARTS, Split, count

PAIR = ("FLAIR", "T2w")


def add_images(root: Path, case: str, suffixes: Sequence[str] = PAIR) -> None:
    """Files of the case's own content at their BIDS paths; no images: nothing here may open them as such."""
    folder = root.joinpath(*case.split("_"), "anat")
    folder.mkdir(parents=True, exist_ok=True)
    for suffix in suffixes:
        (folder / f"{case}_{suffix}.nii.gz").write_bytes(f"{case} {suffix}".encode())


def write_outcomes(root: Path, outcomes: dict[str, str]) -> None:
    rows = [f"{subject}\t{outcome}\t7\n" for subject, outcome in outcomes.items()]
    (root / "participants.tsv").write_text("participant_id\toutcome\tage_mri_months\n" + "".join(rows))


def add_cohort(root: Path, controlled: int, uncontrolled: int) -> Path:
    outcomes = {}
    for number in range(controlled + uncontrolled):
        add_images(root, f"sub-{number:03}")
        outcomes[f"sub-{number:03}"] = "controlled" if number < controlled else "uncontrolled"
    write_outcomes(root, outcomes)
    return root


def labelled_cases(controlled: int, uncontrolled: int) -> list[Case]:
    """Cases without files: what `split` needs."""
    names = [f"sub-{number:03}" for number in range(controlled + uncontrolled)]
    return [
        {"case": name, "subject": name, "flair": "/no/f", "t2w": "/no/t", "label": int(number < controlled)}
        for number, name in enumerate(names)
    ]


def counts(parts: Split | dict[str, Any]) -> list[tuple[int, int]]:
    return [(count(parts[name])[1], count(parts[name])[0]) for name in PARTS]
