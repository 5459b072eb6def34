"""What is said of a fault, and that it survives the way out of a worker process."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from scripts.errors import CohortError, FailedCheckError, InputError, failed_check

FAULT = InputError(
    "the image has 4 axes", expected="3", remedy="Give one volume.", case="sub-01", file=Path("a") / "b.nii"
)


def fail(_: int) -> None:
    raise FAULT


def test_a_message_says_case_file_finding_expectation_and_remedy() -> None:
    assert str(FAULT) == (
        f"case sub-01, file {Path('a') / 'b.nii'}: the image has 4 axes; expected 3. Give one volume."
    )


def test_what_is_not_known_is_left_out() -> None:
    assert str(InputError("no cases", expected="one", remedy="Give one.")) == "no cases; expected one. Give one."
    assert str(InputError("no cases", expected="one", remedy="Give one.", case="sub-01")) == (
        "case sub-01: no cases; expected one. Give one."
    )


def test_a_fault_is_a_value_error() -> None:
    assert isinstance(FAULT, ValueError) and isinstance(CohortError([FAULT]), ValueError)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_keeps_every_part(protocol: int) -> None:
    copy = pickle.loads(pickle.dumps(FAULT, protocol))
    assert type(copy) is InputError and vars(copy) == vars(FAULT) and str(copy) == str(FAULT)

    check = failed_check("2 differ", expected="none", remedy="Look.", data={"differ": 2}, file="a.json")
    copy = pickle.loads(pickle.dumps(check, protocol))
    assert type(copy) is FailedCheckError and vars(copy) == vars(check) and copy.data == {"differ": 2}

    cohort = pickle.loads(pickle.dumps(CohortError([FAULT, FAULT]), protocol))
    assert type(cohort) is CohortError and [str(error) for error in cohort.errors] == [str(FAULT)] * 2


def test_a_worker_process_reports_the_fault_itself() -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(InputError, match="the image has 4 axes") as caught:
        pool.submit(fail, 0).result()
    assert caught.value.case == "sub-01"


def test_a_cohorts_faults_are_listed_one_a_line() -> None:
    lines = str(CohortError([FAULT, FAULT])).splitlines()
    assert lines == ["2 cases are at fault:", f"  {FAULT}", f"  {FAULT}"]
