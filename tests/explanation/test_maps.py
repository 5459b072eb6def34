"""A map comes back to where it was found: on the grid of the image's file, whatever its axes and its obliqueness."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from scripts.errors import InputError
from scripts.explanation.explainer import prepare
from scripts.explanation.gradcam import FeatureGrid
from scripts.explanation.maps import (
    bids_name,
    check_names,
    describe_dataset,
    lay_over,
    map_path,
    peak,
    sources,
    store_map,
)
from tests.conftest import BUNDLE, brain_image

AXES = ("RAS", "LPS", "PSR", "AIL", "SRP")
SIZE = [32, 32, 32]


def rotated(image: nib.Nifti1Image, degrees: float) -> nib.Nifti1Image:
    """The same voxels, the head tilted about two axes."""
    a, b = np.radians(degrees), np.radians(-degrees / 2)
    turn = np.eye(4)
    turn[:3, :3] = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) @ np.array(
        [[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]]
    )
    return nib.Nifti1Image(np.asarray(image.dataobj), turn @ image.affine)


def stored(image: nib.Nifti1Image, axes: str) -> nib.Nifti1Image:
    turn = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(image.affine), nib.orientations.axcodes2ornt(tuple(axes))
    )
    made: nib.Nifti1Image = image.as_reoriented(turn)
    return made


@pytest.fixture(scope="module")
def preprocessing() -> Compose:
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.json")
    parser.update({"code_path": "", "spatial_size": SIZE, "brain_extraction": "none"})
    made: Compose = parser.get_parsed_content("preprocessing")
    return made


def study(folder: Path, axes: str, degrees: float, spot: tuple[int, int, int] | None = None) -> dict[str, str]:
    """Two oblique images; `spot`: a bright voxel of the FLAIR, in the untilted, unturned voxels of its source."""
    case = {"case": "sub-01"}
    for number, (name, shape) in enumerate((("flair", (48, 56, 20)), ("t2w", (52, 60, 20)))):
        image = brain_image(number, shape=shape)
        if spot and name == "flair":
            values = np.asarray(image.dataobj).copy()
            values[spot] = 20_000
            image = nib.Nifti1Image(values, image.affine)
        case[name] = str(folder / f"{name}.nii.gz")
        nib.save(stored(rotated(image, degrees), axes), case[name])
    return case


@pytest.mark.parametrize("axes", AXES)
def test_a_bright_spot_of_the_image_and_a_marker_of_the_network_come_to_one_place(
    axes: str, preprocessing: Compose, tmp_path: Path
) -> None:
    spot = (20, 30, 12)
    case = study(tmp_path, axes, degrees=12, spot=spot)
    world = (rotated(brain_image(0, shape=(48, 56, 20)), 12).affine @ [*spot, 1])[:3]
    loaded, native, data = prepare(preprocessing, case)

    # The network's own grid: its brightest voxel is the spot's.
    seen = np.unravel_index(int(data["image"][0].argmax()), SIZE)
    voxel_mm = np.linalg.norm(data["flair"].affine[:3, :3].numpy(), axis=0)
    assert np.linalg.norm((data["flair"].affine.numpy() @ [*seen, 1])[:3] - world) < np.linalg.norm(voxel_mm) / 2 + 1

    # A marker in the feature cell that is nearest to the spot, laid over the image and written to a file.
    grid = FeatureGrid("layer", (8, 8, 8), (4, 4, 4), (3, 3, 3), traced=True)
    placed = grid.affine(data["flair"].affine.numpy())
    cell = np.clip(np.rint(np.linalg.solve(placed, [*world, 1])[:3]).astype(int), 0, 7)
    coarse = np.zeros((8, 8, 8), np.float32)
    coarse[tuple(cell)] = 0.5
    mapped = lay_over(
        coarse, placed, image=native["flair"][0].numpy(), affine=native["flair"].affine.numpy().astype(float)
    )
    source = nib.Nifti1Image.from_filename(case["flair"])
    path = tmp_path / "map.nii.gz"
    store_map(mapped, path, shape=source.shape, affine=loaded["flair"].affine.numpy())
    written = nib.Nifti1Image.from_filename(path)
    assert written.shape == source.shape
    np.testing.assert_array_equal(written.affine, source.affine)
    assert written.get_fdata().max() == pytest.approx(1) and mapped.largest > 0
    cell_mm = np.linalg.norm(placed[:3, :3], axis=0)
    at: np.ndarray = np.array(peak(written.get_fdata(), written.affine), np.float64)
    inside = np.linalg.solve(placed, [*at, 1])[:3]
    assert np.abs(inside - cell).max() < 0.5, "the maximum lies in the marker's cell"
    assert np.linalg.norm(at - world) < np.linalg.norm(cell_mm)
    assert mapped.peak_mm == pytest.approx(tuple(at), abs=float(np.max(source.header.get_zooms())))

    # 0 outside of the brain, which is what the bundle's preprocessing takes for it.
    outside = np.asarray(source.dataobj) == 0
    assert outside.any() and written.get_fdata()[outside].max() == 0


def test_the_way_back_is_the_inverse_of_the_resizing(preprocessing: Compose, tmp_path: Path) -> None:
    _, native, data = prepare(preprocessing, study(tmp_path, "LPS", degrees=8))
    fine = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0))
    image = native["flair"][0].numpy()
    grid = FeatureGrid("input", (32, 32, 32), (1, 1, 1), (0, 0, 0), traced=True)
    mapped = lay_over(
        fine[0, 0].numpy(),
        grid.affine(data["flair"].affine.numpy().astype(float)),
        image=image,
        affine=native["flair"].affine.numpy().astype(float),
    )
    expected = torch.nn.functional.interpolate(fine, size=image.shape, mode="trilinear", align_corners=False)[0, 0]
    np.testing.assert_allclose(
        mapped.values * mapped.largest, np.where(image > 0, expected.numpy(), 0), atol=2e-5
    )  # float32 coordinates


def test_no_evidence_is_an_empty_map() -> None:
    image = np.ones((6, 6, 6), np.float32)
    mapped = lay_over(np.zeros((2, 2, 2), np.float32), np.diag([3.0, 3, 3, 1]), image=image, affine=np.eye(4))
    assert mapped.largest == 0 and mapped.peak_mm is None and not mapped.values.any()


def test_a_map_of_another_grid_is_not_written(tmp_path: Path) -> None:
    image = np.ones((6, 7, 8), np.float32)
    mapped = lay_over(np.ones((2, 2, 2), np.float32), np.diag([3.0, 3, 3, 1]), image=image, affine=np.eye(4))
    with pytest.raises(InputError, match="the image's grid"):
        store_map(mapped, tmp_path / "map.nii.gz", shape=(6, 7, 9), affine=np.eye(4))
    with pytest.raises(InputError, match="the image's grid"):
        store_map(mapped, tmp_path / "map.nii.gz", shape=(6, 7, 8), affine=np.diag([1.0, 1, 2, 1]))
    assert not list(tmp_path.iterdir())


def test_of_several_maxima_the_middle_one_is_the_peak() -> None:
    values = np.zeros((9, 9, 9))
    values[2:7, 4, 4] = 1
    assert peak(values, np.diag([2.0, 1, 1, 1])) == (8, 4, 4)


def test_equal_maps_are_equal_files(tmp_path: Path) -> None:
    image = np.ones((6, 6, 6), np.float32)
    mapped = lay_over(np.ones((2, 2, 2), np.float32), np.diag([3.0, 3, 3, 1]), image=image, affine=np.eye(4))
    for name in ("one.nii.gz", "other.nii.gz"):
        store_map(mapped, tmp_path / name, shape=(6, 6, 6), affine=np.eye(4))
    assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "other.nii.gz").read_bytes()


def test_names_are_those_of_bids() -> None:
    assert (
        str(map_path("sub-01_ses-1", "t2w", method="gradcam++"))
        == "sub-01/ses-1/anat/sub-01_ses-1_space-T2w_desc-gradcampp_map.nii.gz"
    )
    assert bids_name("My case_1.2") == "sub-Mycase12"
    with pytest.raises(InputError, match="both be called 'sub-a1'"):
        check_names([{"case": "a-1"}, {"case": "a_1"}])
    check_names([{"case": "sub-01"}, {"case": "sub-01_ses-1"}])


def test_sources_are_bids_uris_inside_of_the_data_set() -> None:
    case = {"case": "sub-1", "flair": "/d/sub-1/anat/f.nii.gz", "flair_mask": "/other/m.nii.gz"}
    assert sources(case, "flair", Path("/d")) == ["bids:raw:sub-1/anat/f.nii.gz", "/other/m.nii.gz"]
    assert sources(case, "flair", None) == ["/d/sub-1/anat/f.nii.gz", "/other/m.nii.gz"]


def test_the_folder_says_what_it_is_and_another_data_set_is_left_alone(tmp_path: Path) -> None:
    for _ in range(2):  # the second time it is known
        describe_dataset(tmp_path / "out", dataset_dir=tmp_path / "raw", version="1+2", warnings=["Research only."])
    said = json.loads((tmp_path / "out" / "dataset_description.json").read_text())
    assert said["DatasetType"] == "derivative" and said["GeneratedBy"][0]["Version"] == "1+2"
    assert said["DatasetLinks"] == {"raw": "../raw"} and said["Warnings"] == ["Research only."]
    (tmp_path / "dataset_description.json").write_text('{"Name": "raw data"}')
    with pytest.raises(InputError, match="another data set"):
        describe_dataset(tmp_path, dataset_dir=None, version="1", warnings=[])
    assert json.loads((tmp_path / "dataset_description.json").read_text()) == {"Name": "raw data"}
