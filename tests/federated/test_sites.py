"""The synthetic hospitals: who is in them, how their images differ, and that a stopped command goes on."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from federated.site_file import read_site
from federated.sites import HOSPITALS, Child, make_child, make_sites
from scripts.datalist import read_datalist
from scripts.errors import InputError
from scripts.phantom.cohort import Plan


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sites")
    make_sites(str(folder), children=[6, 6, 6], voxel_mm=4.0, seed=3, fractions=(2, 2, 2), workers=1)
    return folder


def outcomes(folder: Path) -> list[str]:
    with (folder / "participants.tsv").open() as file:
        return [row["outcome"] for row in csv.DictReader(file, delimiter="\t")]


def test_every_site_has_its_share_of_controlled_children_and_its_split(sites: Path) -> None:
    for hospital in HOSPITALS:
        said = outcomes(sites / hospital.name)
        assert said.count("controlled") == round(6 * hospital.controlled)
        split = read_datalist(sites / hospital.name / "datalist.json")
        assert [len(split[part]) for part in ("training", "validation", "testing")] == [2, 2, 2]
        assert read_site(sites / f"{hospital.name}.json").brain_extraction == "mask"


def test_images_differ_as_their_scanners_and_masks_lie_on_them(sites: Path) -> None:
    noise = {}
    for hospital in HOSPITALS:
        (flair, *_) = sorted((sites / hospital.name).glob("sub-*/anat/*_FLAIR.nii.gz"))
        image = nib.load(flair)
        (mask,) = sorted(
            (sites / hospital.name / "derivatives").rglob(f"{flair.name[:8]}_space-FLAIR_desc-brain_mask.nii.gz")
        )
        brain = np.asarray(nib.load(mask).dataobj) > 0
        assert np.allclose(nib.load(mask).affine, image.affine) and brain.shape == image.shape
        values = np.asarray(image.dataobj).astype(float)
        assert values[brain].mean() > 2 * values[~brain].mean()
        wanted = hospital.scanner.spacing_mm
        if any(wanted):
            assert np.allclose(image.header.get_zooms(), wanted, atol=1e-4)
        noise[hospital.name] = np.median(values[:6, :6]) / np.percentile(values[brain], 99)
    assert noise["site-c"] > noise["site-b"] > 0  # the corner is air


def test_no_child_is_at_two_sites_and_none_is_a_real_one(sites: Path) -> None:
    names = [path.name for path in sites.glob("site-*/sub-*")]
    assert len(set(names)) == 18
    for hospital in HOSPITALS:
        said = json.loads((sites / hospital.name / "dataset_description.json").read_text())
        assert said["Synthetic"] is True and said["Phantom"]["site"] == hospital.name
        assert not (sites / hospital.name / ".phantom").exists()


def test_a_stopped_command_goes_on_and_makes_the_same_files(sites: Path, tmp_path: Path) -> None:
    plan = Plan("easy", 3001, 4.0, None)
    file = next(iter(sorted((sites / "site-b").glob("sub-*/anat/*_T2w.nii.gz"))))
    first, when = file.read_bytes(), file.stat().st_mtime_ns
    with (sites / "site-b" / "sourcedata" / "truth.tsv").open() as rows:
        assert len(list(csv.DictReader(rows, delimiter="\t"))) == 6
    make_sites(str(sites), children=[6, 6, 6], voxel_mm=4.0, seed=3, fractions=(2, 2, 2), workers=1)
    assert file.stat().st_mtime_ns == when
    from federated.sites import _people

    index = _people(plan, HOSPITALS[1])[0][0]
    make_child(Child(tmp_path, "sub-b001", index, plan, HOSPITALS[1]))
    again = tmp_path / file.relative_to(sites / "site-b")
    assert again.read_bytes() == first


def test_other_sites_in_the_same_folder_are_refused(sites: Path) -> None:
    with pytest.raises(InputError, match="another cohort"):
        make_sites(str(sites), children=[6, 6, 6], voxel_mm=4.0, seed=4, fractions=(2, 2, 2), workers=1)
    with pytest.raises(InputError, match="2 numbers of children"):
        make_sites(str(sites), children=[6, 6])
