"""From files to the network's input: reading, checks, brain extraction, and the preprocessing that the configs declare."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

from scripts.dataset import StudyDataset
from scripts.errors import InputError
from scripts.network import ETSCNet
from scripts.nifti import read_nifti
from scripts.transforms import BrainExtractiond, CheckStudyd, FuseScoresd, LoadStudyd
from tests.conftest import BUNDLE, brain_image, write_study

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


def reorient(image: nib.Nifti1Image, axcodes: str) -> nib.Nifti1Image:
    """The same image with its voxels stored along other axes."""
    reoriented: nib.Nifti1Image = image.as_reoriented(
        ornt_transform(io_orientation(image.affine), axcodes2ornt(axcodes))
    )
    return reoriented


def study_of(flair: nib.Nifti1Image, t2w: nib.Nifti1Image, folder: Path, suffix: str) -> dict[str, str]:
    folder.mkdir()
    paths = {"flair": folder / f"FLAIR{suffix}", "t2w": folder / f"T2w{suffix}"}
    nib.save(flair, paths["flair"])
    nib.save(t2w, paths["t2w"])
    return {"case": "sub-01", **{name: str(path) for name, path in paths.items()}}


def save_scaled(image: nib.Nifti1Image, path: Path, *, dtype: str, slope: float, intercept: float) -> None:
    """Store the voxels as (value - intercept) / slope, with these two in the header; nibabel would choose its own."""
    kind = nib.Nifti2Header if path.stem.startswith("nifti2") else nib.Nifti1Header
    stored = np.round((image.get_fdata() - intercept) / slope, 6).astype(dtype)
    header = kind(endianness=stored.dtype.newbyteorder("=").str[0] if dtype[0] not in "<>" else dtype[0])
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    header.set_slope_inter(slope, intercept)
    header.set_sform(image.affine, code=1)
    header["magic"], header["vox_offset"] = header.single_magic, header.single_vox_offset
    with (gzip.open if path.suffix == ".gz" else open)(path, "wb") as file:
        file.write(header.binaryblock + bytes(4) + stored.tobytes(order="F"))


# Reading


@pytest.mark.parametrize("name", ["nifti1.nii", "nifti1.nii.gz", "nifti2.nii", "nifti2.nii.gz"])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4"])
def test_values_and_affine_are_nibabels(tmp_path: Path, name: str, dtype: str) -> None:
    save_scaled(brain_image(1), tmp_path / name, dtype=dtype, slope=0.25, intercept=-7.0)
    expected = nib.load(tmp_path / name)
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
    changed = np.count_nonzero(nib.load(tmp_path / "image.nii.gz").get_fdata() != brain_image(1).get_fdata())
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
    case = {"case": "sub-01", **write_study(tmp_path, "sub-01", seed=1)}
    with pytest.raises(InputError, match="t2w and t1w are the same image"):
        LoadStudyd(["flair", "t2w", "t1w"])({**case, "t1w": case["t2w"]})


# Checks


def meta_image(values: np.ndarray, affine: np.ndarray) -> MetaTensor:
    return MetaTensor(values[None].astype(np.float32), affine=affine)


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
def head(tmp_path: Path) -> dict[str, Any]:
    """A study with tissue everywhere, and masks of the brain stored along other axes than the images."""
    case: dict[str, Any] = {"case": "sub-01"}
    for number, (key, codes) in enumerate({"flair": "PSR", "t2w": "LAS"}.items()):
        brain = brain_image(number)
        rng = np.random.default_rng(number)
        mask = nib.Nifti1Image((brain.get_fdata() > 0).astype(np.uint8), brain.affine)
        case[key], case[f"{key}_mask"] = str(tmp_path / f"{key}.nii.gz"), str(tmp_path / f"{key}_mask.nii.gz")
        nib.save(nib.Nifti1Image(brain.get_fdata() + rng.uniform(1, 9, brain.shape), brain.affine), case[key])
        nib.save(reorient(mask, codes), case[f"{key}_mask"])
    return case


def test_a_mask_stored_along_other_axes_falls_into_place(head: dict[str, Any]) -> None:
    keys = ["flair", "t2w"]
    loaded = LoadStudyd(keys)(head)
    extracted = BrainExtractiond(keys, "mask")(loaded)
    for number, key in enumerate(keys):
        brain = brain_image(number).get_fdata() > 0
        assert np.array_equal(extracted[key][0].numpy() > 0, brain)
        assert torch.equal(extracted[key][0][brain], loaded[key][0][brain])  # inside, nothing is changed


def test_a_case_overrides_the_method(head: dict[str, Any]) -> None:
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
    study = {"case": "sub-long01"}
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


# The declared preprocessing


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
        image = reorient(nib.load(path), axcodes)
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
    variant = {"case": "sub-mni07", **{key: tmp_path / f"{key}.nii" for key in paths}}
    for key, path in paths.items():
        image = nib.load(path)
        slope = float(np.float32(image.get_fdata(dtype=np.float32).max() / 8000))
        values = np.rint(image.get_fdata() / slope) * slope
        save_scaled(nib.Nifti1Image(values, image.affine), variant[key], dtype="<i2", slope=slope, intercept=0.0)

    image = prepare(variant)["image"]

    assert not torch.equal(image.as_tensor(), expected.as_tensor())
    assert torch.allclose(image.as_tensor(), expected.as_tensor(), rtol=0, atol=2 / 8000)
