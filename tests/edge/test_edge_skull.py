"""The edge's test for a skull is the bundle's, and its limit comes with the manifest."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import read_manifest
from etscnet_edge.nifti import read_volume
from etscnet_edge.skull import skull_share

from scripts.brain_extraction import skull as bundle
from tests.brain_extraction.heads import head
from tests.real_mri import real_cases

LIMITS = {"max_voxels": 10**8, "min_squareness": 0.7}


@pytest.mark.parametrize("size", [1.0, 0.62])
@pytest.mark.parametrize("skull", [True, False])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR"])
def test_it_gives_the_bundles_share(tmp_path: Path, size: float, skull: bool, axes: str) -> None:
    image, _ = head(size=size, spacing=(2.0, 1.8, 4.0), skull=skull)
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    nib.save(image.as_reoriented(turn), tmp_path / "image.nii.gz")
    volume = read_volume(tmp_path / "image.nii.gz", orientation="RAS", limits=LIMITS)
    expected = bundle.skull_share(image.get_fdata(dtype=np.float32), image.affine)
    assert skull_share(volume.values(), volume.affine) == expected
    assert (expected > bundle.MAX_SKULL_SHARE) is skull


def test_it_gives_the_bundles_share_of_real_images(shared_dir: Path) -> None:
    for case in real_cases(shared_dir / "mri"):
        for name in ("flair", "t2w"):
            volume = read_volume(case[name], orientation="RAS", limits=LIMITS)
            found = skull_share(volume.values(), volume.affine)
            image = nib.Nifti1Image.from_filename(case[name])
            assert found == pytest.approx(bundle.skull_share(image.get_fdata(dtype=np.float32), image.affine), abs=0.02)
            assert (found > bundle.MAX_SKULL_SHARE) is (f"{name}_mask" in case), (case["case"], name)


def test_an_image_without_tissue_tells_nothing() -> None:
    assert np.isnan(skull_share(np.zeros((20, 20, 20), np.float32), np.eye(4)))


@pytest.fixture
def baby(tmp_path: Path) -> dict[str, str]:
    """A head as small as an adult's brain, so that its volume says nothing; its brain masks lie beside it."""
    for name, spacing in (("flair", (2.0, 2.0, 5.0)), ("t2w", (1.8, 1.8, 4.0))):
        image, brain = head(size=0.7, spacing=spacing)
        nib.save(image, tmp_path / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(brain.astype(np.uint8), image.affine), tmp_path / f"{name}_mask.nii.gz")
        whole = (np.asarray(image.dataobj) > 0).astype(np.uint8)
        nib.save(nib.Nifti1Image(whole, image.affine), tmp_path / f"{name}_whole.nii.gz")
    return {name: str(tmp_path / f"{name}.nii.gz") for name in ("flair", "t2w")}


def beside(images: dict[str, str], what: str) -> dict[str, str]:
    return {name: path.replace(".nii", f"_{what}.nii") for name, path in images.items()}


def test_a_babys_head_is_refused_and_its_brain_scored(exports: Path, baby: dict[str, str]) -> None:
    with Classifier(exports, form="standard") as classifier:
        words = r"flair: the image shows a skull: \d+% .*--brain_extraction network.*flair_mask"
        with pytest.raises(InputError, match=words):
            classifier.predict(baby)
        with pytest.raises(InputError, match=r"flair: the image shows a skull: .*Check the mask"):
            classifier.predict(baby, beside(baby, "whole"))
        assert 0 < classifier.predict(baby, beside(baby, "mask")).score < 1


def test_the_limit_is_the_manifests(exports: Path) -> None:
    assert read_manifest(exports).limits["max_skull_share"] == bundle.MAX_SKULL_SHARE
