"""A skull is found in heads of every size, grid and axes, and in no brain."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.brain_extraction.skull import MAX_SKULL_SHARE, skull_share
from scripts.errors import InputError
from scripts.transforms import BrainExtractiond, LoadStudyd
from tests.brain_extraction.heads import head, write_heads
from tests.real_mri import real_cases


def share(image: nib.Nifti1Image) -> float:
    return skull_share(image.get_fdata(dtype=np.float32), image.affine)


@pytest.mark.parametrize("size", [1.0, 0.8, 0.62])  # an adult's, a one-year-old's, a newborn's
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 5.0), (5.0, 1.0, 1.0)])
def test_a_skull_is_found_at_every_size_and_spacing(size: float, spacing: tuple[float, float, float]) -> None:
    with_skull, _ = head(size=size, spacing=spacing)
    without, _ = head(size=size, spacing=spacing, skull=False)
    assert share(with_skull) > 0.7 and share(without) < 0.1


def test_a_babys_whole_head_is_found_though_its_volume_is_a_brains() -> None:
    image, _ = head(size=0.7, spacing=(1.0, 1.0, 3.0))
    millilitres = float(np.count_nonzero(np.asarray(image.dataobj))) * 3.0 / 1000
    assert 250 < millilitres < 2200 and share(image) > MAX_SKULL_SHARE


@pytest.mark.parametrize("axes", ["LPS", "PSR", "SAL"])
def test_the_files_axes_are_no_matter(axes: str) -> None:
    image, _ = head()
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes)
    )
    assert share(image.as_reoriented(turn)) == share(image)


@pytest.mark.parametrize("level", [0, 12])
def test_noise_in_the_background_and_a_dim_scalp_do_not_hide_it(level: float) -> None:
    image, _ = head(scalp=90)
    noise = np.abs(np.random.default_rng(0).normal(0, level, image.shape)).astype(np.int16)
    values = np.where(np.asarray(image.dataobj) > 0, image.dataobj, noise).astype(np.float32)
    assert skull_share(values, image.affine) > 0.7


def test_an_image_without_tissue_tells_nothing() -> None:
    assert np.isnan(skull_share(np.zeros((20, 20, 20), np.float32), np.eye(4)))


def test_a_babys_head_is_refused_where_nothing_is_extracted(tmp_path: Path) -> None:
    case: dict[Hashable, Any] = {"case": "sub-01"}
    for key, spacing in (("flair", (2.0, 2.0, 5.0)), ("t2w", (1.8, 1.8, 4.0))):
        case[key] = str(tmp_path / f"{key}.nii.gz")
        nib.save(head(size=0.7, spacing=spacing)[0], case[key])
    with pytest.raises(InputError, match=r"flair: the image shows a skull: .* --brain_extraction hd-bet or bet"):
        BrainExtractiond(["flair", "t2w"], "none")(LoadStudyd(["flair", "t2w"])({**case}))


def test_a_brain_of_the_same_folder_passes(tmp_path: Path) -> None:
    write_heads(tmp_path, 1, skull=False)
    anat = tmp_path / "sub-01" / "anat"
    case: dict[Hashable, Any] = {
        "case": "sub-01",
        "flair": str(anat / "sub-01_FLAIR.nii.gz"),
        "t2w": str(anat / "sub-01_T2w.nii.gz"),
    }
    BrainExtractiond(["flair", "t2w"], "none")(LoadStudyd(["flair", "t2w"])({**case}))


def test_real_heads_and_real_brains_are_told_apart(shared_dir: Path) -> None:
    for case in real_cases(shared_dir / "mri"):
        for key in ("flair", "t2w"):
            image = nib.Nifti1Image.from_filename(case[key])
            if f"{key}_mask" not in case:
                assert share(image) < 0.2, (case["case"], key)
                continue
            assert share(image) > 0.7, (case["case"], key)
            brain = image.get_fdata(dtype=np.float32) * (
                np.asarray(nib.Nifti1Image.from_filename(case[f"{key}_mask"]).dataobj) > 0
            )
            assert skull_share(brain, image.affine) < 0.05, (case["case"], key)
