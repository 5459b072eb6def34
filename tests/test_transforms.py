"""From files to the network's input: reading, checks, brain extraction, and the fusion of scores."""

from __future__ import annotations

import gzip
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from nibabel.arrayproxy import ArrayProxy

from scripts.errors import InputError
from scripts.network import ETSCNet
from scripts.nifti import read_nifti
from scripts.transforms import BrainExtractiond, CheckStudyd, FuseScoresd, LoadStudyd
from tests.conftest import brain_image, write_study
from tests.stored_images import reorient, save_scaled

# Reading


@pytest.mark.parametrize("name", ["nifti1.nii", "nifti1.nii.gz", "nifti2.nii", "nifti2.nii.gz"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4"])
def test_values_and_affine_are_nibabels(tmp_path: Path, name: str, dtype: str) -> None:
    save_scaled(brain_image(1), tmp_path / name, dtype=dtype, slope=0.25, intercept=-7.0)
    kind = nib.Nifti2Image if name.startswith("nifti2") else nib.Nifti1Image
    expected = kind.from_filename(tmp_path / name)
    assert isinstance(expected.dataobj, ArrayProxy)
    assert (expected.dataobj.slope, expected.dataobj.inter) == (0.25, -7.0)

    read = read_nifti(tmp_path / name, case="sub-01")

    assert read.shape == (1, 48, 56, 20) and read.dtype == torch.float32
    assert np.array_equal(read[0].numpy(), expected.get_fdata(dtype=np.float32))
    assert np.array_equal(read[0].numpy(), brain_image(1).get_fdata())
    assert np.array_equal(read.affine.numpy(), expected.affine)


def test_a_flipped_byte_that_nibabel_reads_over_is_refused(tmp_path: Path) -> None:
    """Stored, not packed: the stream stays readable and only the checksum, which nibabel never reaches, tells."""
    nib.save(brain_image(1), tmp_path / "image.nii")
    content = bytearray(gzip.compress((tmp_path / "image.nii").read_bytes(), 0))
    content[len(content) // 2] ^= 0x40
    (tmp_path / "image.nii.gz").write_bytes(content)
    changed = np.count_nonzero(
        nib.Nifti1Image.from_filename(tmp_path / "image.nii.gz").get_fdata() != brain_image(1).get_fdata()
    )
    assert changed == 1  # so nibabel gives a wrong voxel in silence

    with pytest.raises(InputError, match="CRC check failed"):
        read_nifti(tmp_path / "image.nii.gz", case="sub-01")


def test_the_qform_counts_where_there_is_no_sform(tmp_path: Path) -> None:
    image = brain_image(1)
    image.set_qform(image.affine, code=1)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "image.nii.gz")
    assert np.allclose(read_nifti(tmp_path / "image.nii.gz", case="sub-01").affine.numpy(), brain_image(1).affine)


def test_a_study_with_a_third_modality_compares_all_pairs(tmp_path: Path) -> None:
    paths = write_study(tmp_path, "sub-01", seed=1)
    case: dict[Hashable, Any] = {"case": "sub-01", "flair": paths["flair"], "t2w": paths["t2w"], "t1w": paths["t2w"]}
    with pytest.raises(InputError, match="t2w and t1w are the same image"):
        LoadStudyd(["flair", "t2w", "t1w"])(case)


# Checks


def meta_image(values: np.ndarray, affine: np.ndarray) -> MetaTensor:
    return MetaTensor(values[None].astype(np.float32), affine=torch.as_tensor(affine))


def checked(flair_affine: np.ndarray, t2w_affine: np.ndarray, shape: tuple[int, int, int] = (32, 32, 32)) -> None:
    rng = np.random.default_rng(0)
    images = [meta_image(rng.uniform(0, 1, shape), affine) for affine in (flair_affine, t2w_affine)]
    CheckStudyd(["flair", "t2w"])({"case": "sub-01", "flair": images[0], "t2w": images[1]})


def placed(spacing: float, centre: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Of 32 voxels an edge, with their middle at `centre`."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = np.array(centre) - 15.5 * spacing
    return affine


@pytest.mark.parametrize(("spacing", "passes"), [(1.8, False), (1.9, True), (12.0, True), (12.1, False)])
def test_the_smallest_and_the_largest_head(spacing: float, passes: bool) -> None:
    """32 voxels: 60 mm are 1.875 mm a voxel, 400 mm are 12.5, and 12 mm is the largest voxel."""
    affine = placed(spacing)
    if passes:
        checked(affine, affine)
    else:
        with pytest.raises(InputError, match="expected edges between"):
            checked(affine, affine)


@pytest.mark.parametrize(("distance", "passes"), [(39.9, True), (40.1, False)])
def test_centres_may_lie_40_mm_apart_in_the_world_whatever_the_axes(distance: float, passes: bool) -> None:
    apart = placed(4.0, (0.0, 0.6 * distance, -0.8 * distance))
    flipped = apart @ np.array([[0, 0, -1.0, 31], [1, 0, 0, 0], [0, -1, 0, 31], [0, 0, 0, 1]])  # the same box
    if passes:
        checked(placed(4.0), flipped)
    else:
        with pytest.raises(InputError, match="its centre lies 40 mm from that of flair"):
            checked(placed(4.0), flipped)


def test_an_oblique_image_passes() -> None:
    """A rotation leaves the axes at right angles, so it's no fault."""
    angle = 0.6
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    checked(rotation @ placed(4.0), placed(4.0))


# Brain extraction


@pytest.fixture
def head(tmp_path: Path) -> dict[Hashable, Any]:
    """A study with tissue everywhere, and masks of the brain stored along other axes than the images."""
    case: dict[Hashable, Any] = {"case": "sub-01"}
    for number, (key, codes) in enumerate({"flair": "PSR", "t2w": "LAS"}.items()):
        brain = brain_image(number)
        rng = np.random.default_rng(number)
        mask = nib.Nifti1Image((brain.get_fdata() > 0).astype(np.uint8), brain.affine)
        case[key], case[f"{key}_mask"] = str(tmp_path / f"{key}.nii.gz"), str(tmp_path / f"{key}_mask.nii.gz")
        nib.save(nib.Nifti1Image(brain.get_fdata() + rng.uniform(1, 9, brain.shape), brain.affine), case[key])
        nib.save(reorient(mask, codes), case[f"{key}_mask"])
    return case


def test_a_mask_stored_along_other_axes_falls_into_place(head: dict[Hashable, Any]) -> None:
    keys = ["flair", "t2w"]
    loaded = LoadStudyd(keys)(head)
    extracted = BrainExtractiond(keys, "mask")(loaded)
    for number, key in enumerate(keys):
        brain = brain_image(number).get_fdata() > 0
        assert np.array_equal(extracted[key][0].numpy() > 0, brain)
        assert torch.equal(extracted[key][0][brain], loaded[key][0][brain])  # inside, nothing is changed


def test_a_case_overrides_the_method(head: dict[Hashable, Any]) -> None:
    keys = ["flair", "t2w"]
    with pytest.raises(InputError, match="the brain-extracted image fills"):  # "none" leaves the skull
        BrainExtractiond(keys, "none")(LoadStudyd(keys)(head))
    BrainExtractiond(keys, "none")(LoadStudyd(keys)({**head, "brain_extraction": "mask"}))


def test_an_unknown_method_is_refused_when_it_is_configured() -> None:
    with pytest.raises(InputError, match="brain_extraction is 'fsl'; expected one of hd-bet, bet, mask, none"):
        BrainExtractiond(["flair"], "fsl")


def test_a_real_head_is_refused_without_masks_and_accepted_with_them(shared_dir: Path) -> None:
    mri, keys = shared_dir / "mri", ["flair", "t2w"]
    anat, masks = (
        mri / "sub-long01" / "ses-1" / "anat",
        mri / "derivatives" / "openms" / "sub-long01" / "ses-1" / "anat",
    )
    study: dict[Hashable, Any] = {"case": "sub-long01"}
    for key, suffix in zip(keys, ("FLAIR", "T2w"), strict=True):
        study[key] = str(anat / f"sub-long01_ses-1_{suffix}.nii.gz")
        study[f"{key}_mask"] = str(masks / f"sub-long01_ses-1_space-{suffix}_desc-brain_mask.nii.gz")
    loaded = CheckStudyd(keys)(LoadStudyd(keys)(study))
    with pytest.raises(InputError, match="the brain-extracted image fills"):
        BrainExtractiond(keys, "none")(loaded)
    BrainExtractiond(keys, "mask")(loaded)


# Fusion


def test_fused_scores_and_branch_scores_of_one_case() -> None:
    network = ETSCNet(["flair", "t2w"], backbone=torch.nn.Identity)
    network.fusion_weights.copy_(torch.tensor([0.3, 0.7]))
    logits = torch.tensor([1.5, -0.5])
    result = FuseScoresd(network)({"case": "sub-01", "pred": MetaTensor(logits)})
    branch = 1 / (1 + np.exp(-logits.double().numpy()))
    # 1e-7: float32 scores below 1 are this exact
    assert result["branch_scores"].numpy() == pytest.approx(branch, abs=1e-7)
    assert result["pred"].shape == (1,) and float(result["pred"]) == pytest.approx(branch @ [0.3, 0.7], abs=1e-7)
    assert result["case"] == "sub-01" and torch.equal(logits, torch.tensor([1.5, -0.5]))
