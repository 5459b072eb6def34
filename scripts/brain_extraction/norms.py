"""What volume a brain mask may have at a child's age.

The table is of brain and the liquor around it, as a mask holds both, in ml: 1450 in adults; 0.62 of that at 6 months, 0.86 at
3 years and 0.96 at 6 years as in the phantom (after Knickmeyer 2008 and Lenroot 2006), and a third at birth, for it doubles
within the first year (Knickmeyer 2008). Children differ, TSC can make a brain large and atrophy makes it small: the range around
it is wide. It is there to find masks that miss half of the brain or hold half of the face, not to judge a child.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np

from scripts.bids import read_participant_rows
from scripts.errors import InputError

ANY_AGE_ML = (250.0, 2200.0)  # from a newborn's brain to the largest adult's
MONTHS = (0, 6, 12, 24, 36, 72, 216)
MEAN_ML = (480, 900, 1010, 1150, 1250, 1390, 1450)
SPREAD = (0.6, 1.6)  # of the mean
AGE = "age_mri_months"


def plausible_ml(age_months: float | None) -> tuple[float, float]:
    """The least and the largest plausible volume of a brain mask, ml; without an age, from a newborn's to an adult's."""
    if age_months is None:
        return ANY_AGE_ML
    mean = float(np.interp(age_months, MONTHS, MEAN_ML))
    return max(ANY_AGE_ML[0], SPREAD[0] * mean), min(ANY_AGE_ML[1], SPREAD[1] * mean)


def age_months(image: str | Path) -> float | None:
    """The age at MRI of the child whose image it is, from the participants.tsv of its BIDS folder; None where none says it.

    Args:
        image: sub-XX/[ses-Y/]anat/FILE in its folder; any other path has no age.

    Raises:
        InputError: participants.tsv is at fault, or its age is no number of months from 0 on.
    """
    folders = [folder for folder in Path(image).absolute().parents if folder.name.startswith("sub-")]
    if not folders:
        return None
    table = folders[-1].parent / "participants.tsv"
    if not table.is_file():
        return None
    text = _ages(table, table.stat().st_mtime_ns).get(folders[-1].name, "")
    if text in ("", "n/a"):
        return None
    try:
        months = float(text)
    except ValueError:
        months = math.nan
    if not 0 <= months < math.inf:
        raise InputError(
            f"the row of {folders[-1].name} has {AGE} {text!r}",
            expected="months from 0 on, or n/a",
            remedy="Correct the row.",
            file=table,
        )
    return months


@lru_cache(maxsize=8)
def _ages(table: Path, _changed: int) -> dict[str, str]:
    return {subject: fields.get(AGE, "") for subject, fields in read_participant_rows(table).items()}
