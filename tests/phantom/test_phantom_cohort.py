"""The dataset on disk: BIDS names, sidecars, determinism, resumption, refusals, and the truth where nobody trains on it."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from scripts.phantom.cohort import Plan, draw_person, make_cohort
from scripts.phantom.outcome import PRESETS, ideal_auc

MODALITIES = {"FLAIR": (278, 328, 26), "T2w": (416, 430, 27)}


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def load(folder: Path, name: str) -> tuple[nib.Nifti1Image, np.ndarray]:
    image = nib.Nifti1Image.from_filename(folder / name)
    return image, np.asarray(image.dataobj)


def test_every_file_is_there_and_has_its_bids_name(small_cohort: Path) -> None:
    expected = {"README", "dataset_description.json", "participants.json", "participants.tsv"}
    expected |= {"sourcedata/truth.json", "sourcedata/truth.tsv"}
    expected |= {"derivatives/phantom/dataset_description.json", "derivatives/phantom/desc-lesions_dseg.tsv"}
    for subject in ("sub-001", "sub-002"):
        for suffix in MODALITIES:
            expected |= {f"{subject}/anat/{subject}_{suffix}{ending}" for ending in (".nii.gz", ".json")}
            stem = f"derivatives/phantom/{subject}/anat/{subject}_space-{suffix}_desc-"
            expected |= {f"{stem}brain_mask.nii.gz", f"{stem}lesions_dseg.nii.gz"}
    assert set(digests(small_cohort)) == expected


@pytest.mark.parametrize("suffix", list(MODALITIES))
def test_images_are_as_from_a_scanner_and_say_that_they_are_synthetic(small_cohort: Path, suffix: str) -> None:
    image, values = load(small_cohort, f"sub-001/anat/sub-001_{suffix}.nii.gz")
    assert image.shape == MODALITIES[suffix]
    assert image.get_data_dtype() == np.uint16
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert np.abs(image.affine[:3, :3] / image.header.get_zooms()).max(0).min() < 0.9999  # oblique
    assert image.header["sform_code"] == image.header["qform_code"] == 1
    assert b"SYNTHETIC" in image.header["descrip"].tobytes()
    assert np.allclose(image.header.get_zooms(), ({"FLAIR": 0.7, "T2w": 0.6}[suffix],) * 2 + (6.0,))
    side = json.loads((small_cohort / f"sub-001/anat/sub-001_{suffix}.json").read_text())
    assert side["Synthetic"] is True
    assert (side["SliceThickness"], side["SpacingBetweenSlices"], side["MagneticFieldStrength"]) == (5.0, 6.0, 3)
    timing = {"FLAIR": (9.0, 0.132, 2.5), "T2w": (2.79, 0.093, None)}[suffix]
    assert (side["RepetitionTime"], side["EchoTime"], side.get("InversionTime")) == timing
    mask = load(small_cohort, f"derivatives/phantom/sub-001/anat/sub-001_space-{suffix}_desc-brain_mask.nii.gz")[1] > 0
    assert np.median(values[mask]) > 8 * np.median(values[:20, :20])  # air holds noise alone
    assert (values[~mask] > 0.3 * np.median(values[mask])).mean() > 0.01  # skull and scalp are there


@pytest.mark.parametrize("suffix", list(MODALITIES))
def test_masks_and_labels_lie_on_the_images_grid_and_are_exact(small_cohort: Path, suffix: str) -> None:
    image, values = load(small_cohort, f"sub-001/anat/sub-001_{suffix}.nii.gz")
    stem = f"derivatives/phantom/sub-001/anat/sub-001_space-{suffix}_desc-"
    (mask_image, mask), (label_image, labels) = (
        load(small_cohort, f"{stem}{ending}.nii.gz") for ending in ("brain_mask", "lesions_dseg")
    )
    assert np.array_equal(mask_image.affine, image.affine)
    assert np.array_equal(label_image.affine, image.affine)
    assert set(np.unique(mask)) == {0, 1}
    assert 0.8 < mask.sum() * np.prod(image.header.get_zooms()) / 1e6 < 2.1  # litres, the gaps counted in
    assert set(np.unique(labels)) <= {0, 1, 2, 3, 4}
    assert (labels > 0).sum() > 50
    assert not ((labels > 0) & (mask == 0)).any()
    if suffix == "FLAIR":  # tubers are brighter than what surrounds them
        around = ndimage.binary_dilation(labels > 0, iterations=6) & (labels == 0) & (mask > 0)
        assert np.median(values[labels == 1]) > 1.1 * np.median(values[around])


def test_flair_and_t2w_lie_on_different_grids_of_the_same_head(small_cohort: Path) -> None:
    centres = []
    for suffix in MODALITIES:
        name = f"derivatives/phantom/sub-001/anat/sub-001_space-{suffix}_desc-brain_mask.nii.gz"
        image, mask = load(small_cohort, name)
        centres.append(image.affine @ [*np.argwhere(mask).mean(0), 1])
        assert nib.Nifti1Image.from_filename(small_cohort / name).affine.shape == (4, 4)
    affines = [
        nib.Nifti1Image.from_filename(small_cohort / f"sub-001/anat/sub-001_{suffix}.nii.gz").affine
        for suffix in MODALITIES
    ]
    assert not np.allclose(affines[0], affines[1], atol=0.05)
    assert np.linalg.norm(centres[0] - centres[1]) < 6  # mm: a slice


def test_the_tables_hold_what_a_clinic_knows_and_no_more(small_cohort: Path) -> None:
    rows = list(csv.DictReader((small_cohort / "participants.tsv").open(), delimiter="\t"))
    assert [row["participant_id"] for row in rows] == ["sub-001", "sub-002"]
    assert {row["outcome"] for row in rows} <= {"controlled", "uncontrolled"}
    described = json.loads((small_cohort / "participants.json").read_text())
    assert set(described) == set(rows[0])
    assert not [column for column in rows[0] if "latent" in column or "probability" in column]
    truth = list(csv.DictReader((small_cohort / "sourcedata" / "truth.tsv").open(), delimiter="\t"))
    assert [row["label"] == "1" for row in truth] == [row["outcome"] == "controlled" for row in rows]
    known = json.loads((small_cohort / "sourcedata" / "truth.json").read_text())
    assert known["ideal_auc"] == pytest.approx(ideal_auc(PRESETS["paper"]), abs=1e-4)
    leaks = [path for path in small_cohort.rglob("*.json") if "ideal_auc" in path.read_text()]
    assert leaks == [small_cohort / "sourcedata" / "truth.json"]


def test_the_descriptions_say_how_it_was_made_without_a_path_of_this_machine(small_cohort: Path) -> None:
    text = (small_cohort / "dataset_description.json").read_text()
    found = json.loads(text)
    assert found["Synthetic"] is True
    assert found["DatasetType"] == "raw"
    assert found["GeneratedBy"][0]["Name"]
    assert found["Phantom"]["preset"] == "paper"
    assert found["Phantom"]["seed"] == 7
    assert str(Path.home()) not in text
    derived = json.loads((small_cohort / "derivatives" / "phantom" / "dataset_description.json").read_text())
    assert derived["DatasetType"] == "derivative"
    assert derived["Synthetic"] is True


def test_equal_bytes_whatever_the_number_of_workers(
    small_cohort: Path, make_small: Callable[..., Path], tmp_path: Path
) -> None:
    assert digests(make_small(tmp_path / "two", workers=2)) == digests(small_cohort)


def test_what_is_missing_is_made_again_and_nothing_else(
    small_cohort: Path, make_small: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "cohort"
    folder.mkdir()
    for path in small_cohort.rglob("*"):  # hard links would be changed by nothing here, but a copy is plain
        if path.is_file():
            copy = folder / path.relative_to(small_cohort)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    (folder / "sub-002/anat/sub-002_T2w.nii.gz").unlink()
    (folder / "sub-002/anat/.sub-002_T2w.nii.gz.1.part").write_bytes(b"cut short")
    kept = (folder / "sub-001/anat/sub-001_T2w.nii.gz").stat().st_mtime_ns
    make_small(folder)
    (folder / "sub-002/anat/.sub-002_T2w.nii.gz.1.part").unlink(missing_ok=True)
    assert digests(folder) == digests(small_cohort)
    assert (folder / "sub-001/anat/sub-001_T2w.nii.gz").stat().st_mtime_ns == kept


def test_another_plan_in_the_same_folder_is_refused(small_cohort: Path, make_small: Callable[..., Path]) -> None:
    before = digests(small_cohort)
    with pytest.raises(ValueError, match="holds another cohort: preset 'paper'; expected preset 'easy'"):
        make_small(small_cohort, preset="easy")
    with pytest.raises(ValueError, match="seed 7"):
        make_small(small_cohort, seed=8)
    with pytest.raises(ValueError, match="subjects 2; expected subjects 1"):
        make_small(small_cohort, 1)
    assert digests(small_cohort) == before


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(ValueError, match=r"files, but no dataset_description\.json"):
        make_cohort(tmp_path, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"subjects": 0}, "0 subjects"),
        ({"workers": 0}, "0 workers"),
        ({"seed": -1}, "seed -1"),
        ({"voxel_mm": 9.0}, "voxel_mm 9.0"),
        ({"preset": "hard"}, "preset 'hard'"),
        ({"anatomy": "no/such/head.npz"}, "anatomy is not there"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        make_cohort(tmp_path / "cohort", **arguments)
    assert not (tmp_path / "cohort").exists()


def test_no_subject_depends_on_the_size_of_the_cohort_and_seeds_differ() -> None:
    plan = Plan("paper", 3, 1.0, None)
    people = [draw_person(plan, index) for index in range(95)]
    assert sum(person.uncontrolled for person in people) == 56
    assert people[40].latents == draw_person(plan, 40).latents
    assert people[40].latents != draw_person(Plan("paper", 4, 1.0, None), 40).latents


def test_the_command_line_makes_a_cohort_and_shows_its_progress(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scripts", "phantom", "--output_dir", str(tmp_path / "cohort"), "--subjects", "1"]
    options = ["--preset", "easy", "--seed", "0", "--voxel_mm", "3", "--workers", "1"]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, *options], cwd=root, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == str(tmp_path / "cohort")
    assert "1/1" in done.stderr
    assert (tmp_path / "cohort/sub-001/anat/sub-001_FLAIR.nii.gz").is_file()
