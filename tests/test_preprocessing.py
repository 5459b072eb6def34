"""The preprocessing that the configurations declare: intensities, grid, sides, and that storage changes nothing."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from scripts.dataset import StudyDataset
from tests.conftest import BUNDLE, brain_image, write_study
from tests.stored_images import reorient, save_scaled, study_of

EXTRACTION_IDS = ("brain_extraction", "hd_bet_weights", "hd_bet_mirroring", "mask_quality")
SHARED_IDS = ("imports", "code_path", "modalities", *EXTRACTION_IDS, "backbone", "preprocessing")


def preprocessing(spatial_size: tuple[int, int, int]) -> Compose:
    """The list that inference.json declares."""
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.json")
    parser["bundle_root"], parser["spatial_size"] = str(BUNDLE), list(spatial_size)
    parser["brain_extraction"] = "none"
    made: Compose = parser.get_parsed_content("preprocessing")
    return made


def test_training_and_inference_declare_the_same_preprocessing() -> None:
    train, inference = (
        ConfigParser.load_config_file(BUNDLE / "configs" / name) for name in ("train.json", "inference.json")
    )
    assert {name: train[name] for name in SHARED_IDS} == {name: inference[name] for name in SHARED_IDS}
    size = inference["spatial_size"]  # the weights say it, where they do
    assert (size["otherwise"] if isinstance(size, dict) else size) == train["spatial_size"]


def test_two_runs_with_the_same_preprocessing_share_a_cache() -> None:
    """The cache goes by this hash: nothing random or of one process alone may be in it."""
    small, again, other = (preprocessing(size) for size in ((32, 40, 24), (32, 40, 24), (32, 40, 32)))
    hashes = [StudyDataset([], made).transform_hash for made in (small, again, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_intensities_are_scaled_by_the_brains_maximum_and_the_background_is_zero(tmp_path: Path) -> None:
    """At the image's own size resizing changes nothing, so the result is max(value, 0) / maximum."""
    rng = np.random.default_rng(0)
    images = []
    for number in range(2):
        image = brain_image(number, shape=(48, 56, 32))
        values = image.get_fdata()
        values[values == 0] = rng.choice([0, -3.5], size=int((values == 0).sum()))  # an earlier interpolation's ringing
        images.append(nib.Nifti1Image(values.astype(np.float32), np.diag([3.5, 3.5, 4.5, 1.0])))
    case = study_of(images[0], images[1], tmp_path / "study", ".nii.gz")

    image = preprocessing((48, 56, 32))(case)["image"]

    assert image.shape == (2, 48, 56, 32) and image.dtype == torch.float32
    for channel, source in enumerate(images):
        values = source.get_fdata()
        expected = np.maximum(values, 0) / values.max()
        # 1e-6: a few float32 roundings of numbers up to 1
        assert np.allclose(image[channel].numpy(), expected, rtol=0, atol=1e-6)
        assert (image[channel].numpy()[values <= 0] == 0).all()
        assert float(image[channel].min()) == 0 and float(image[channel].max()) == 1


def test_each_modality_fills_the_grid_from_its_own(tmp_path: Path) -> None:
    """FLAIR (48, 56, 20) and T2w (52, 60, 20): both are resized to the one grid, range [0, 1], corners background."""
    image = preprocessing((32, 40, 24))({"case": "sub-01", **write_study(tmp_path, "sub-01", seed=3)})["image"]
    assert image.shape == (2, 32, 40, 24)
    assert torch.isfinite(image).all()
    for channel in image:
        assert float(channel.min()) == 0 and float(channel.max()) == 1
        assert float(channel[0, 0, 0]) == 0 and float(channel[16, 20, 12]) > 0
    assert not torch.equal(image[0], image[1])


def test_left_is_left_in_the_network_input(tmp_path: Path) -> None:
    """A bright corner at the patient's right, front and top lies at the high end of x, y, z (RAS)."""
    images = []
    for number in range(2):
        image = reorient(brain_image(number, shape=(48, 56, 32)), "RAS")
        values = image.get_fdata()
        values[30:34, 34:38, 20:22] = 5000
        images.append(reorient(nib.Nifti1Image(values, image.affine), "PIL"))
    image = preprocessing((48, 56, 32))(study_of(images[0], images[1], tmp_path / "study", ".nii"))["image"]
    bright = torch.nonzero(torch.as_tensor(image) > 0.99).double()
    assert bright.mean(dim=0)[1:].tolist() == [31.5, 35.5, 20.5]


# name -> axes, storage type, slope, intercept, ending
VARIANTS: dict[str, tuple[str, str, float, float, str]] = {
    "RAS": ("RAS", "<u2", 1.0, 0.0, ".nii.gz"),
    "LAS": ("LAS", "<u2", 1.0, 0.0, ".nii"),
    "PSR": ("PSR", ">i2", 1.0, 0.0, ".nii"),
    "float32 with slope and intercept": ("LAS", "<f4", 0.25, 10.0, ".nii.gz"),
    "int16 with slope, ILP": ("ILP", "<i2", 0.5, 20.0, ".nii"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_same_image_stored_otherwise_is_the_same_input(tmp_path: Path, name: str) -> None:
    images = {"flair": brain_image(1), "t2w": brain_image(2, shape=(52, 60, 20))}
    axcodes, dtype, slope, intercept, suffix = VARIANTS[name]
    prepare = preprocessing((32, 40, 24))
    expected = prepare(study_of(images["flair"], images["t2w"], tmp_path / "reference", ".nii.gz"))["image"]
    variant = {"case": "sub-01", **{key: str(tmp_path / f"{key}{suffix}") for key in images}}
    for key, image in images.items():
        save_scaled(reorient(image, axcodes), Path(variant[key]), dtype=dtype, slope=slope, intercept=intercept)

    image = prepare(variant)["image"]

    # These numbers are whole and every storage holds them exactly; what is left is the order of float32 sums.
    assert torch.allclose(image.as_tensor(), expected.as_tensor(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("axcodes", ["PSR", "LIA"])
def test_the_same_real_pair_stored_otherwise_is_the_same_input(tmp_path: Path, shared_dir: Path, axcodes: str) -> None:
    anat, prepare = shared_dir / "mri" / "sub-mni07" / "anat", preprocessing((64, 64, 32))
    paths = {"flair": str(anat / "sub-mni07_FLAIR.nii.gz"), "t2w": str(anat / "sub-mni07_T2w.nii.gz")}
    expected = prepare({"case": "sub-mni07", **paths})["image"]
    images = []
    for path in paths.values():
        image = reorient(nib.Nifti1Image.from_filename(path), axcodes)
        images.append(nib.Nifti1Image(image.get_fdata(dtype=np.float32), image.affine))

    image = prepare(study_of(images[0], images[1], tmp_path / "variant", ".nii"))["image"]

    # The same float32 values, so as above
    assert torch.allclose(image.as_tensor(), expected.as_tensor(), rtol=0, atol=1e-6)
    assert float(expected.as_tensor().mean()) > 0.05  # there is a brain to compare


def test_a_real_pair_in_int16_is_nearly_the_same_input(tmp_path: Path, shared_dir: Path) -> None:
    """A converter that stores whole numbers moves every value by up to half a step of 1/8000 of the maximum, and the
    result with it; the step at zero decides in no case between brain and background that weighs more than that."""
    anat, prepare = shared_dir / "mri" / "sub-mni07" / "anat", preprocessing((64, 64, 32))
    paths = {"flair": anat / "sub-mni07_FLAIR.nii.gz", "t2w": anat / "sub-mni07_T2w.nii.gz"}
    expected = prepare({"case": "sub-mni07", **paths})["image"]
    variant = {key: tmp_path / f"{key}.nii" for key in paths}
    for key, path in paths.items():
        image = nib.Nifti1Image.from_filename(path)
        slope = float(np.float32(image.get_fdata(dtype=np.float32).max() / 8000))
        values = np.rint(image.get_fdata() / slope) * slope
        save_scaled(nib.Nifti1Image(values, image.affine), variant[key], dtype="<i2", slope=slope, intercept=0.0)

    image = prepare({"case": "sub-mni07", **variant})["image"]

    assert not torch.equal(image.as_tensor(), expected.as_tensor())
    assert torch.allclose(image.as_tensor(), expected.as_tensor(), rtol=0, atol=2 / 8000)
