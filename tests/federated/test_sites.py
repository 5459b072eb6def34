"""The synthetic hospitals: who is in them, how their images differ, and that a stopped command goes on."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from federated.site_file import read_site
from federated.sites import HOSPITALS, begin_site, make_child, make_sites
from scripts.datalist import read_datalist
from scripts.errors import InputError
from scripts.phantom.cohort import Plan


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six children on paper at each site, the images of the first."""
    folder = tmp_path_factory.mktemp("sites")
    for number, hospital in enumerate(HOSPITALS):
        plan = Plan("easy", 3000 + number, 4.0, None)
        first, *_ = begin_site(folder / hospital.name, replace(hospital, children=6), plan)
        make_child(first)
    return folder


def outcomes(folder: Path) -> list[str]:
    with (folder / "participants.tsv").open() as file:
        return [row["outcome"] for row in csv.DictReader(file, delimiter="\t")]


def test_every_site_has_its_share_of_controlled_children(sites: Path) -> None:
    names = set()
    for hospital in HOSPITALS:
        said = outcomes(sites / hospital.name)
        assert said.count("controlled") == round(6 * hospital.controlled) and len(said) == 6
        with (sites / hospital.name / "participants.tsv").open() as file:
            names |= {row["participant_id"] for row in csv.DictReader(file, delimiter="\t")}
    assert len(names) == 18


def test_images_differ_as_their_scanners_and_masks_lie_on_them(sites: Path) -> None:
    noise = {}
    for hospital in HOSPITALS:
        (flair,) = (sites / hospital.name).glob("sub-*/anat/*_FLAIR.nii.gz")
        image = nib.Nifti1Image.from_filename(flair)
        (mask,) = (sites / hospital.name / "derivatives").rglob("*_space-FLAIR_desc-brain_mask.nii.gz")
        brain = np.asarray(nib.Nifti1Image.from_filename(mask).dataobj) > 0
        assert np.allclose(nib.Nifti1Image.from_filename(mask).affine, image.affine) and brain.shape == image.shape
        values = np.asarray(image.dataobj).astype(float)
        assert values[brain].mean() > 2 * values[~brain].mean()
        wanted = hospital.scanner.spacing_mm
        if any(wanted):
            assert np.allclose(image.header.get_zooms(), wanted, atol=1e-4)
        noise[hospital.name] = np.median(values[:6, :6]) / np.percentile(values[brain], 99)
    assert noise["site-c"] > noise["site-b"] > 0  # the corner is air


def test_a_site_says_that_it_is_synthetic_and_which_scanner_it_has(sites: Path) -> None:
    for hospital in HOSPITALS:
        said = json.loads((sites / hospital.name / "dataset_description.json").read_text())
        assert said["Synthetic"] is True and said["Phantom"]["site"] == hospital.name
        assert said["Phantom"]["scanner"]["gamma"] == hospital.scanner.gamma


def test_a_child_is_made_once_and_the_same_again(sites: Path, tmp_path: Path) -> None:
    plan = Plan("easy", 3001, 4.0, None)
    hospital = replace(HOSPITALS[1], children=6)
    child, *_ = begin_site(sites / "site-b", hospital, plan)
    (file,) = (sites / "site-b").glob("sub-*/anat/*_T2w.nii.gz")
    first, when = file.read_bytes(), file.stat().st_mtime_ns
    make_child(child)
    assert file.stat().st_mtime_ns == when
    make_child(replace(child, folder=tmp_path))
    assert (tmp_path / file.relative_to(sites / "site-b")).read_bytes() == first


def test_another_site_in_the_same_folder_is_refused(sites: Path) -> None:
    with pytest.raises(InputError, match="another cohort"):
        begin_site(sites / "site-b", replace(HOSPITALS[1], children=6), Plan("easy", 4001, 4.0, None))
    with pytest.raises(InputError, match="2 numbers of subjects"):
        make_sites(str(sites), subjects=[6, 6])


@pytest.mark.slow
def test_the_command_makes_all_sites_with_their_splits_and_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    options = {"subjects": [6, 6, 6], "voxel_mm": 4.0, "seed": 3, "fractions": (2, 2, 2)}
    make_sites(str(tmp_path), **options)  # type: ignore[arg-type]
    for hospital in HOSPITALS:
        split = read_datalist(tmp_path / hospital.name / "datalist.json")
        assert [len(split[part]) for part in ("training", "validation", "testing")] == [2, 2, 2]
        assert read_site(tmp_path / f"{hospital.name}.json").brain_extraction == "mask"
        assert not (tmp_path / hospital.name / ".phantom").exists()
    kept, lost = sorted((tmp_path / "site-c").glob("sub-*"))[:2]
    when = {file: file.stat().st_mtime_ns for file in kept.rglob("*.nii.gz")}
    shutil.rmtree(lost)
    make_sites(str(tmp_path), **options)  # type: ignore[arg-type]
    assert all(file.stat().st_mtime_ns == before for file, before in when.items())
    assert len(list(lost.rglob("*.nii.gz"))) == 2
