"""BIDS folder -> cases, participants.tsv -> labels."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from scripts.bids import find_cases, read_outcomes
from scripts.errors import InputError
from tests.cohorts import add_images, write_outcomes


def test_sessions_and_subjects_without_session_are_cases_in_sorted_order(tmp_path: Path) -> None:
    for case in ("sub-02", "sub-01_ses-2", "sub-01_ses-1"):
        add_images(tmp_path, case)
    found = find_cases(tmp_path)
    assert [case["case"] for case in found] == ["sub-01_ses-1", "sub-01_ses-2", "sub-02"]
    assert found[0] == {
        "case": "sub-01_ses-1",
        "subject": "sub-01",
        "flair": str(tmp_path / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_FLAIR.nii.gz"),
        "t2w": str(tmp_path / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T2w.nii.gz"),
    }


def test_uncompressed_images_and_further_entities_are_found(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", ["acq-3T_run-1_FLAIR"])
    (tmp_path / "sub-01" / "anat" / "sub-01_T2w.nii").write_bytes(b"t")
    (tmp_path / "sub-01" / "anat" / "._sub-01_T2w.nii").write_bytes(b"left by another system")
    case = find_cases(tmp_path)[0]
    assert Path(case["flair"]).name == "sub-01_acq-3T_run-1_FLAIR.nii.gz"
    assert Path(case["t2w"]).name == "sub-01_T2w.nii"


def test_several_files_of_one_modality_are_named(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", ["run-1_FLAIR", "run-2_FLAIR", "T2w"])
    with pytest.raises(InputError, match=r"case sub-01: there are 2 FLAIR images: .*run-1_FLAIR.*run-2_FLAIR"):
        find_cases(tmp_path)


def test_a_missing_image_keeps_its_expected_path_and_the_other_cases(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", ["FLAIR"])
    add_images(tmp_path, "sub-02")
    (tmp_path / "sub-03").mkdir()
    found = find_cases(tmp_path)
    assert [case["case"] for case in found] == ["sub-01", "sub-02", "sub-03"]
    assert found[0]["t2w"] == str(tmp_path / "sub-01" / "anat" / "sub-01_T2w.nii.gz")
    assert found[2]["flair"] == str(tmp_path / "sub-03" / "anat" / "sub-03_FLAIR.nii.gz")


def test_a_session_without_images_is_no_case(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01_ses-1")
    (tmp_path / "sub-01" / "ses-2" / "eeg").mkdir(parents=True)
    assert [case["case"] for case in find_cases(tmp_path)] == ["sub-01_ses-1"]


def test_masks_are_found_in_derivatives_each_on_its_own_grid(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01_ses-1")
    derivative = tmp_path / "derivatives" / "hd-bet"
    add_images(derivative, "sub-01_ses-1", ["space-FLAIR_desc-brain_mask", "space-common_desc-brain_mask"])
    case = find_cases(tmp_path)[0]
    assert Path(case["flair_mask"]).name == "sub-01_ses-1_space-FLAIR_desc-brain_mask.nii.gz"
    assert "t2w_mask" not in case
    add_images(tmp_path / "derivatives" / "other", "sub-01_ses-1", ["space-FLAIR_desc-brain_mask"])
    with pytest.raises(InputError, match=r"2 brain masks of FLAIR: .*hd-bet.*other"):
        find_cases(tmp_path)


def test_other_modalities_by_their_suffix(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", ["T1w"])
    (tmp_path / "sub-01" / "dwi").mkdir()
    (tmp_path / "sub-01" / "dwi" / "sub-01_dwi.nii.gz").write_bytes(b"d")
    case = find_cases(tmp_path, modalities=["t1w", "dwi"])[0]
    assert set(case) == {"case", "subject", "t1w", "dwi"}
    assert Path(case["dwi"]).is_file()


@pytest.mark.parametrize("modalities", [["flair", "pet"], [], ["flair", "flair"], "flair", ["FLAIR"]])
def test_modalities_that_are_none_are_refused(tmp_path: Path, modalities: Any) -> None:
    add_images(tmp_path, "sub-01")
    with pytest.raises(InputError, match=r"modalities is .*flair, t2w, t1w, dwi"):
        find_cases(tmp_path, modalities=modalities)


def test_a_folder_without_subjects_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no subject"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_cases(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["sub-01 copy", "sub-01_ses-1", "sub-a..b", "sub-"])
def test_a_folder_whose_name_is_not_bids_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="the folder is called"):
        find_cases(tmp_path)


def test_links_that_lead_in_circles_or_nowhere_do_no_harm(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", ["FLAIR"])
    os.symlink(tmp_path, tmp_path / "sub-01" / "anat" / "again")
    os.symlink("sub-loop", tmp_path / "sub-loop")
    os.symlink("not-there", tmp_path / "sub-01" / "anat" / "sub-01_acq-a_T2w.nii.gz")
    found = find_cases(tmp_path)
    assert [case["case"] for case in found] == ["sub-01"]
    assert Path(found[0]["t2w"]).name == "sub-01_acq-a_T2w.nii.gz"


def test_real_images_are_found_with_their_masks(shared_dir: Path) -> None:
    found = {case["case"]: case for case in find_cases(shared_dir / "mri")}
    assert set(found) == {"sub-long01_ses-1", "sub-long04_ses-1", "sub-long12_ses-1", "sub-mni07", "sub-mni19"}
    for case in found.values():
        assert all(Path(case[key]).is_file() for key in case.keys() - {"case", "subject"})
        assert ("t2w_mask" in case) == case["case"].startswith("sub-long")


def test_labels_are_1_controlled_0_uncontrolled_and_none(tmp_path: Path) -> None:
    for number in range(1, 6):
        add_images(tmp_path, f"sub-0{number}")
    write_outcomes(
        tmp_path, {"sub-01": "controlled", "sub-02": "uncontrolled", "sub-03": "n/a", "sub-04": "", "sub-99": "n/a"}
    )
    assert [case.get("label") for case in find_cases(tmp_path)] == [1, 0, None, None, None]


def test_byte_order_mark_windows_lines_and_empty_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_bytes("\ufeffparticipant_id\toutcome\r\nsub-01\tcontrolled\r\n\r\n\t\r\n".encode())
    assert read_outcomes(path) == {"sub-01": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "participant_id\toutcome\nsub-01\tseizure-free\n",
            r"the row of sub-01 has outcome 'seizure-free'.*\"uncontrolled\"",
        ),
        ("participant_id\toutcome\nsub-01\tcontrolled\nsub-01\tcontrolled\n", "row 3 names sub-01 a second time"),
        ("participant_id\toutcome\n../../etc\tcontrolled\n", "row 2 has participant_id '../../etc'"),
        ("participant_id\toutcome\n01\tcontrolled\n", "row 2 has participant_id '01'"),
        ("participant_id outcome\nsub-01 controlled\n", "its columns are .*tab-separated"),
        ("participant_id\toutcome\toutcome\n", "its columns are"),
        ("participant_id\toutcome\tage\tage\nsub-01\tcontrolled\t1\t2\n", "its columns are.*each once"),
        ("participant_id\toutcome\nsub-01\n", "row 2 has 1 fields"),
        ("", r"its columns are \[\]"),
        ("participant_id\toutcome\nsub-\xe9\tcontrolled\n", "cannot be read"),
    ],
)
def test_a_table_at_fault_says_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "participants.tsv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=message):
        read_outcomes(tmp_path / "participants.tsv")


def test_inference_needs_no_outcomes_and_training_does(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01")
    assert "label" not in find_cases(tmp_path)[0]
    with pytest.raises(InputError, match=r"participants\.tsv: there is no such file"):
        find_cases(tmp_path, labelled=True)
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t7\n")
    assert "label" not in find_cases(tmp_path)[0]
    with pytest.raises(InputError, match="its columns are"):
        find_cases(tmp_path, labelled=True)


def test_training_needs_the_same_subjects_in_table_and_folders(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01")
    write_outcomes(tmp_path, {"sub-02": "controlled"})
    with pytest.raises(InputError, match="no row for sub-01"):
        find_cases(tmp_path, labelled=True)
    write_outcomes(tmp_path, {"sub-01": "controlled", "sub-02": "controlled"})
    with pytest.raises(InputError, match="there is no folder, for sub-02"):
        find_cases(tmp_path, labelled=True)
