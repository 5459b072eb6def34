"""The cases for inference from their three sources, and the verb that makes datalists."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.bids import find_cases
from scripts.cohort import inference_cases, make_datalists
from scripts.datalist import write_datalist
from scripts.errors import InputError
from tests.cohorts import add_cohort

PATHS = {"flair": "sub-01_FLAIR.nii.gz", "t2w": "sub-01_T2w.nii.gz"}


@pytest.mark.parametrize("given", [{}, {"dataset_dir": "a", "datalist": "b"}, {"dataset_dir": "a", "study": PATHS}])
def test_exactly_one_source_is_needed(given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"exactly one of dataset_dir, datalist, study.*Give dataset_dir=FOLDER"):
        inference_cases(**given)


def test_a_bids_folder_is_a_source(tmp_path: Path) -> None:
    add_cohort(tmp_path, 1, 1)
    assert inference_cases(dataset_dir=tmp_path, datalist="", study={}) == find_cases(tmp_path)


def test_a_datalist_of_three_parts_of_one_or_a_plain_list_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "datalist.json"
    write_datalist(add_cohort(tmp_path, 39, 56), path)
    assert len(inference_cases(datalist=path)) == 95
    path.write_text(json.dumps({"testing": [PATHS]}))
    expected = {"case": "sub-01", "subject": "sub-01"} | {key: str(tmp_path / name) for key, name in PATHS.items()}
    assert inference_cases(datalist=path) == [expected]
    path.write_text(json.dumps([PATHS | {"label": 1, "case": "sub-01_ses-2"}]))
    assert inference_cases(datalist=path) == [expected | {"case": "sub-01_ses-2", "label": 1}]


@pytest.mark.parametrize(
    ("flair", "t2w", "name"),
    [
        ("sub-01_ses-1_acq-a_FLAIR.nii.gz", "sub-01_ses-1_T2w.nii", "sub-01_ses-1"),
        ("a/sub-01_FLAIR.nii.gz", "b/sub-01_T2w.nii.gz", "sub-01"),
        ("scan 7.nii.gz", "sub-01_T2w.nii.gz", "scan 7"),
        ("FLAIR.nii", "T2.nii", "FLAIR"),
    ],
)
def test_a_study_is_named_for_its_files(flair: str, t2w: str, name: str) -> None:
    assert inference_cases(study={"flair": flair, "t2w": t2w})[0]["case"] == name


def test_a_study_has_absolute_paths_its_masks_and_its_own_name(tmp_path: Path) -> None:
    study: dict[str, str | Path] = {
        "flair": tmp_path / "f.nii",
        "t2w": tmp_path / "t.nii",
        "t2w_mask": tmp_path / "m.nii",
        "case": "x",
    }
    expected = {key: str(value) for key, value in study.items()} | {"subject": "x"}
    assert inference_cases(study=study) == [expected]


def test_images_of_two_children_are_no_study() -> None:
    study = {"flair": "sub-01_FLAIR.nii.gz", "t2w": "sub-02_T2w.nii.gz"}
    with pytest.raises(InputError, match="of sub-01 and sub-02; expected images of one child"):
        inference_cases(study=study)
    assert inference_cases(study=study | {"case": "sub-01"})[0]["case"] == "sub-01"


@pytest.mark.parametrize(
    "study",
    [
        {"flair": "f.nii"},
        {"flair": "f.nii", "T2w": "t.nii"},
        PATHS | {"flair_maks": "m.nii"},
        "f.nii",
        PATHS | {"t2w": 3},
    ],
)
def test_a_study_with_other_keys_is_refused(study: Any) -> None:
    with pytest.raises(InputError, match=r"study is .*Give study=\{flair: FLAIR\.nii\.gz|t2w is 3"):
        inference_cases(study=study)


@pytest.mark.parametrize("name", ["..", "a/b", "/a", "a..b", ".hidden", "-rf", "a\n", "", "a.", "=1+1", 7, "x" * 129])
def test_a_name_that_could_leave_the_output_folder_is_refused(name: Any) -> None:
    with pytest.raises(InputError, match="a case or subject is called"):
        inference_cases(study=PATHS | {"case": name})


def test_the_verb_says_what_it_wrote(tmp_path: Path) -> None:
    root = add_cohort(tmp_path, 39, 56)
    lines = make_datalists(str(root), str(root / "datalist.json"), fractions=[0.7, 0.1, 0.2]).splitlines()
    assert lines == [
        f"{root / 'datalist.json'}",
        "  training     67 subjects: 27 controlled, 40 uncontrolled",
        "  validation    9 subjects: 4 controlled, 5 uncontrolled",
        "  testing      19 subjects: 8 controlled, 11 uncontrolled",
    ]
    assert len(make_datalists(root, root / "cv.json", folds=5).splitlines()) == 20
