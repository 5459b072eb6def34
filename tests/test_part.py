"""`evaluating` takes any part of the split, and says which."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.cohort import cases_of, write_datalist
from scripts.errors import InputError
from scripts.split import PARTS
from tests.cohorts import add_cohort
from tests.conftest import BUNDLE


@pytest.mark.parametrize("part", PARTS)
def test_a_part_has_its_own_cases(part: str, tmp_path: Path) -> None:
    datalist = write_datalist(add_cohort(tmp_path, 10, 10), tmp_path / "datalist.json")
    assert cases_of(datalist, part) == datalist[part]
    assert {case["case"] for case in cases_of(datalist, part)}.isdisjoint(
        case["case"] for other in PARTS if other != part for case in datalist[other]
    )


@pytest.mark.parametrize("part", ["test", "", "Testing", "modalities"])
def test_a_part_that_there_is_not_is_refused(part: str, tmp_path: Path) -> None:
    datalist = write_datalist(add_cohort(tmp_path, 10, 10), tmp_path / "datalist.json")
    with pytest.raises(InputError, match=f"part is '{part}'; expected one of training, validation, testing"):
        cases_of(datalist, part)


def test_a_part_without_cases_is_refused(tmp_path: Path) -> None:
    datalist = write_datalist(add_cohort(tmp_path, 10, 10), tmp_path / "datalist.json", fractions=[0.8, 0.2, 0])
    with pytest.raises(InputError, match="nobody is in the testing part"):
        cases_of(datalist, "testing")


def test_the_bundle_says_a_wrong_part_without_a_traceback(
    cohort: Path, run_bundle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    options = {"dataset_dir": cohort, "output_dir": tmp_path, "fractions": "[0.6,0.2,0.2]", "part": "test"}
    checkpoint = BUNDLE / "models" / "model.pt"
    failed = run_bundle("evaluating", "train.json", "evaluate.json", check=False, checkpoint=checkpoint, **options)
    assert failed.returncode != 0
    assert "error: part is 'test'; expected one of training, validation, testing. Correct --part." in failed.stderr
    assert "Traceback" not in failed.stderr
