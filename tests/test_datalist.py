"""The datalist: written once, read anywhere, refused with its fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.bids import find_cases
from scripts.datalist import read_cases, read_datalist, write_datalist, write_folds
from scripts.errors import CohortError, InputError
from scripts.split import PARTS
from tests.cohorts import add_cohort, add_images, counts


def test_it_is_written_with_relative_paths_and_read_with_absolute_ones(tmp_path: Path) -> None:
    root = add_cohort(tmp_path / "data", 39, 56)
    add_images(root / "derivatives" / "hd-bet", "sub-000", ["space-T2w_desc-brain_mask"])
    written = write_datalist(root, root / "datalist.json", seed=3)
    text = json.loads((root / "datalist.json").read_text())
    assert {key: text[key] for key in ("modalities", "seed", "fractions")} == {
        "modalities": ["flair", "t2w"],
        "seed": 3,
        "fractions": [0.7, 0.1, 0.2],
    }
    entry = next(entry for part in PARTS for entry in text[part] if entry["case"] == "sub-000")
    assert entry == {
        "case": "sub-000",
        "subject": "sub-000",
        "flair": "sub-000/anat/sub-000_FLAIR.nii.gz",
        "t2w": "sub-000/anat/sub-000_T2w.nii.gz",
        "t2w_mask": "derivatives/hd-bet/sub-000/anat/sub-000_space-T2w_desc-brain_mask.nii.gz",
        "label": 1,
    }
    assert counts(written) == [(27, 40), (4, 5), (8, 11)]
    assert all(Path(case["flair"]).is_file() for part in PARTS for case in written[part])
    assert read_datalist(root / "datalist.json") == written
    assert [path.name for path in root.iterdir() if path.is_file() and path.name.startswith(".")] == []


def test_it_can_be_moved_and_lie_elsewhere(tmp_path: Path) -> None:
    root = add_cohort(tmp_path / "data", 39, 56)
    write_datalist(root, tmp_path / "lists" / "a.json")
    moved = root.rename(tmp_path / "moved")
    case = read_datalist(tmp_path / "lists" / "a.json", moved)["training"][0]
    assert Path(case["flair"]).is_file()


def test_a_split_is_made_once(tmp_path: Path) -> None:
    root = add_cohort(tmp_path, 39, 56)
    first = write_datalist(root, root / "datalist.json")
    before = (root / "datalist.json").read_bytes()
    add_images(root, "sub-900")
    assert write_datalist(root, root / "datalist.json") == first
    with pytest.warns(UserWarning, match=r"is kept: it was made with \{'seed': 0\}"):
        assert write_datalist(root, root / "datalist.json", seed=1) == first
    with pytest.raises(InputError, match=r"it is for \['flair', 't2w'\]; expected \['t2w'\]"):
        write_datalist(root, root / "datalist.json", modalities=["t2w"])
    assert (root / "datalist.json").read_bytes() == before


def test_every_labelled_case_without_an_image_is_listed_before_training(tmp_path: Path) -> None:
    root = add_cohort(tmp_path, 39, 56)
    cases = find_cases(root)
    Path(cases[3]["flair"]).unlink()
    Path(cases[7]["t2w"]).unlink()
    with pytest.raises(CohortError, match="2 cases") as caught:
        write_datalist(root, root / "datalist.json")
    assert [error.case for error in caught.value.errors] == ["sub-003", "sub-007"]
    assert not (root / "datalist.json").exists()


def test_folds_are_files_of_the_same_kind(tmp_path: Path) -> None:
    root = add_cohort(tmp_path, 12, 18)
    made = write_folds(root, root / "cv.json", folds=3, validation_fraction=0.2)
    assert [path.name for path in made] == ["cv_fold-1.json", "cv_fold-2.json", "cv_fold-3.json"]
    assert [read_datalist(path)["fold"] for path in made] == [1, 2, 3]
    assert write_folds(root, root / "cv.json", folds=3, validation_fraction=0.2) == made
    (root / "cv_fold-2.json").unlink()
    with pytest.raises(InputError, match="of the 3 folds' files only"):
        write_folds(root, root / "cv.json", folds=3, validation_fraction=0.2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"testing": None}, "a part is not a list"),
        ({"training": [{"case": "sub-01", "flair": "f.nii", "t2w": 7, "label": 1}]}, "case sub-01.*t2w is 7"),
        ({"training": [{"case": "sub-01", "flair": "f.nii", "t2w": "t.nii"}]}, "it has no label"),
        ({"training": [{"case": "sub-01", "flair": "f.nii", "t2w": "t.nii", "label": "1"}]}, "its label is '1'"),
        ({"training": [{"case": "sub-01", "flair": "f.nii", "t2w": "t.nii", "label": 0.5}]}, r"its label is 0\.5"),
        ({"training": [{"case": "../x", "flair": "f.nii", "t2w": "t.nii", "label": 1}]}, "called '../x'"),
        ({"training": [{"case": "a\\b", "flair": "f.nii", "t2w": "t.nii", "label": 1}]}, "is called"),
        ({"training": [{"case": "sub-01", "flair": "f", "t2w": "t", "label": 1}] * 2}, "there 2 times"),
        ({"modalities": ["pet"]}, "modalities is"),
    ],
)
def test_a_datalist_at_fault_says_where(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    document = {"modalities": ["flair", "t2w"], "training": [], "validation": [], "testing": [], **change}
    (tmp_path / "datalist.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=message):
        read_datalist(tmp_path / "datalist.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"training": []}', "[" * 100_000, "\x00"])
def test_what_is_no_datalist_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "datalist.json").write_text(text)
    for read in (read_datalist, read_cases):
        with pytest.raises(InputError, match=r"datalist\.json: it "):
            read(tmp_path / "datalist.json")


def test_a_case_that_lacks_a_modality_stays_in_the_list_so_that_it_is_reported(tmp_path: Path) -> None:
    cases = [{"case": "sub-01", "flair": "f.nii"}, {"case": "sub-02", "flair": "f.nii", "t2w": "t.nii"}]
    (tmp_path / "datalist.json").write_text(json.dumps(cases))
    first, second = read_cases(tmp_path / "datalist.json")
    assert first["case"] == "sub-01" and "t2w" not in first
    assert second["t2w"] == str(tmp_path / "t.nii")


def test_a_case_keeps_its_own_method_of_brain_extraction(tmp_path: Path) -> None:
    cases = [{"case": "sub-01", "flair": "f.nii", "t2w": "t.nii", "brain_extraction": "none"}]
    (tmp_path / "datalist.json").write_text(json.dumps(cases))
    assert read_cases(tmp_path / "datalist.json")[0]["brain_extraction"] == "none"
