"""The preprocessing graph, run by ONNX Runtime, against the bundle's own MONAI transforms."""

from __future__ import annotations

import copy
import hashlib
import json
import subprocess
import sys
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose

from export.preprocess_graph import INSIDE, OUTSIDE, parameters, preprocess_model
from scripts.errors import InputError
from tests.conftest import BUNDLE, ROOT, write_study

Size = tuple[int, int, int]
CONFIG = BUNDLE / "configs" / "inference.json"
DECLARED: list[dict[str, Any]] = json.loads(CONFIG.read_text())["preprocessing"]["transforms"]
SIZE: Size = (64, 64, 32)
# Of the range, which is 1. ONNX Runtime finds a voxel's place by out/in rounded to float32, torch by in/out: in a width of 450
# the places may lie 5e-5 voxels apart, and an image that goes from 0 to 1 between two voxels differs by as much there.
TOLERANCE = 1e-4


@lru_cache
def session(size: Size, names: tuple[str, ...] | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = preprocess_model(CONFIG if names is None else ordered(names), spatial_size=size)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ordered(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The declared list with the graph's steps in another order."""
    by_name = {entry["_target_"]: entry for entry in DECLARED}
    before, after = DECLARED[:3], DECLARED[-1:]
    return [*before, *(by_name[name] for name in names), *after]


def run(
    stored: np.ndarray,
    *,
    size: Size,
    slope: float = 1.0,
    intercept: float = 0.0,
    mask: np.ndarray | None = None,
    names: tuple[str, ...] | None = None,
) -> np.ndarray:
    """(x, y, z) as stored -> (1, 1, X, Y, Z)."""
    feed = {
        "volume": np.ascontiguousarray(stored, dtype=np.float32),
        "slope": np.array(slope, np.float32),
        "intercept": np.array(intercept, np.float32),
        "mask": np.ones(stored.shape, bool) if mask is None else np.ascontiguousarray(mask),
    }
    image: np.ndarray = session(size, names).run(None, feed)[0]
    return image


def pipeline(size: Size, transforms: list[dict[str, Any]] = DECLARED) -> Compose:
    """What the bundle runs."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser["bundle_root"], parser["spatial_size"], parser["modalities"] = str(BUNDLE), list(size), ["flair", "t2w"]
    parser["preprocessing"], parser["brain_extraction"] = {"_target_": "Compose", "transforms": transforms}, "none"
    made: Compose = parser.get_parsed_content("preprocessing")
    return made


def monai(scaled: np.ndarray, *, size: Size, names: tuple[str, ...] = tuple(INSIDE)[1:]) -> np.ndarray:
    """MONAI's transforms of the graph, after the brain extraction, on values in memory."""
    by_name = {entry["_target_"]: {**entry, "keys": ["flair"]} for entry in DECLARED}
    data: Any = {"flair": MetaTensor(torch.from_numpy(scaled.astype(np.float32))[None])}
    image: np.ndarray = pipeline(size, [by_name[name] for name in names])(data)["flair"].numpy()
    return image[None]  # (1, 1, X, Y, Z)


def from_files(paths: dict[str, str], *, size: Size) -> np.ndarray:
    """Files -> (1, M, X, Y, Z) as a device does it: stored values, the header's slope and intercept, mask, the graph."""
    images = []
    for name in ("flair", "t2w"):
        file = nib.Nifti1Image.from_filename(paths[name])
        data: Any = file.dataobj  # nibabel's ArrayProxy
        stored = np.asanyarray(data.get_unscaled()).astype(np.float32)
        mask = nib.Nifti1Image.from_filename(paths[f"{name}_mask"]) if f"{name}_mask" in paths else None
        images.append(
            run(
                nib.as_closest_canonical(nib.Nifti1Image(stored, file.affine)).dataobj,
                size=size,
                slope=data.slope,
                intercept=data.inter,
                mask=None if mask is None else np.asanyarray(nib.as_closest_canonical(mask).dataobj) > 0,
            )
        )
    return np.concatenate(images, axis=1)


def from_bundle(paths: dict[str, str], *, size: Size) -> np.ndarray:
    method = "mask" if "flair_mask" in paths else "none"
    case = {"case": "sub-01", "brain_extraction": method, **paths}
    image: np.ndarray = pipeline(size)(case)["image"].numpy()
    return image[None]


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.float32
    return float(np.abs(ours - theirs).max())


# Equal to MONAI


@pytest.mark.parametrize("study", ["sub-mni07", "sub-mni19", "sub-long01", "sub-long04", "sub-long12"])
def test_real_studies_from_their_files(shared_dir: Path, study: str) -> None:
    session_ = "" if study.startswith("sub-mni") else "ses-1"
    stem = f"{study}_{session_}" if session_ else study
    anat = shared_dir / "mri" / study / session_ / "anat"
    paths = {name: str(anat / f"{stem}_{suffix}.nii.gz") for name, suffix in (("flair", "FLAIR"), ("t2w", "T2w"))}
    if session_:  # these have their skulls
        masks = shared_dir / "mri" / "derivatives" / "openms" / study / session_ / "anat"
        paths["flair_mask"] = str(masks / f"{stem}_space-FLAIR_desc-brain_mask.nii.gz")
        paths["t2w_mask"] = str(masks / f"{stem}_space-T2w_desc-brain_mask.nii.gz")
    size = (128, 96, 64)

    ours = from_files(paths, size=size)

    assert largest_difference(ours, from_bundle(paths, size=size)) < TOLERANCE
    assert ours.min() == 0 and ours.max() == 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.37, -20.0), (12.5, 300.0)])
def test_stored_types_with_slope_intercept_and_mask(
    tmp_path: Path, dtype: type[np.generic], slope: float, intercept: float
) -> None:
    """With an intercept the stored 0 is no background: what lies outside of the mask must be 0 all the same."""
    paths = write_study(tmp_path, "sub-01", seed=1)
    for name in ("flair", "t2w"):
        plain = nib.Nifti1Image.from_filename(paths[name])
        values = plain.get_fdata()
        stored = np.round(values / values.max() * 250).astype(dtype)
        image = nib.Nifti1Image(stored, plain.affine)
        image.header.set_slope_inter(slope, intercept)
        nib.save(image, paths[name])
        loaded: Any = nib.Nifti1Image.from_filename(paths[name]).dataobj
        assert (loaded.slope, loaded.inter) == pytest.approx((slope, intercept)) and loaded.dtype == dtype
        paths[f"{name}_mask"] = paths[name].replace(".nii.gz", "_mask.nii.gz")
        nib.save(nib.Nifti1Image((values > 0).astype(np.uint8), plain.affine), paths[f"{name}_mask"])

    ours = from_files(paths, size=SIZE)

    assert largest_difference(ours, from_bundle(paths, size=SIZE)) < TOLERANCE
    assert ours[0, 0, 0, 0, 0] == 0


def geometry(seed: int) -> tuple[np.random.Generator, Size, Size]:
    """Every mixture of more and fewer voxels on the three axes, odd and even."""
    rng = np.random.default_rng(seed)
    ups = list(product([False, True], repeat=3))[seed % 8]
    few, many = rng.integers(2, 20, 3), rng.integers(20, 48, 3)
    shape = tuple(int(f if up else m) for f, m, up in zip(few, many, ups, strict=True))
    size = tuple(int(m if up else f) for f, m, up in zip(few, many, ups, strict=True))
    return rng, shape, size  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(24))
def test_noise_with_negative_values_on_any_grid(seed: int) -> None:
    rng, shape, size = geometry(seed)
    stored = rng.integers(-2000, 3000, shape).astype(np.int16)
    mask = rng.random(shape) < 0.8
    slope, intercept = float(rng.uniform(0.01, 30)), float(rng.uniform(-500, 500))

    ours = run(stored, size=size, slope=slope, intercept=intercept, mask=mask)

    scaled = stored.astype(np.float64) * slope + intercept
    assert largest_difference(ours, monai(scaled * mask, size=size)) < TOLERANCE


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_plane_of_one_voxel_stays_where_it_was(seed: int, axis: int) -> None:
    rng, shape, size = geometry(seed)
    place = int(rng.integers(shape[axis]))
    stored = np.zeros(shape, np.float32)
    stored[(slice(None),) * axis + (place,)] = 700
    stored[tuple(int(rng.integers(edge)) for edge in shape)] = 900
    assert largest_difference(run(stored, size=size), monai(stored, size=size)) < TOLERANCE


def test_the_size_of_the_network_from_more_and_from_fewer_voxels() -> None:
    rng = np.random.default_rng(0)
    stored = rng.random((181, 217, 37), dtype=np.float32)
    size = (256, 160, 128)
    assert largest_difference(run(stored, size=size), monai(stored, size=size)) < TOLERANCE


@pytest.mark.parametrize("value", [-3.0, 0.0, 5.0])
@pytest.mark.parametrize("scale_first", [False, True])
def test_a_constant_image_becomes_what_monai_makes_of_it(value: float, scale_first: bool) -> None:
    brain, threshold, resize, scale = INSIDE
    names = (brain, scale, threshold, resize) if scale_first else (brain, threshold, resize, scale)
    stored = np.full((9, 12, 7), value, np.float32)
    assert np.array_equal(run(stored, size=SIZE, names=names), monai(stored, size=SIZE, names=names[1:]))


@pytest.mark.parametrize("value", [0.1, 7.3, 1234.567, 65535.0])
def test_the_rounding_of_a_resized_constant_is_not_taken_for_an_image(value: float) -> None:
    for seed in range(8):
        _, shape, size = geometry(seed)
        assert not run(np.full(shape, value, np.float32), size=size).any()


def test_the_order_of_the_list_is_the_order_of_the_graph() -> None:
    """Resizing before the threshold lets negative values lower their neighbours."""
    brain, threshold, resize, scale = INSIDE
    rng = np.random.default_rng(3)
    stored = rng.normal(0, 100, (19, 22, 15)).astype(np.float32)
    results = {}
    for names in (
        (brain, threshold, resize, scale),
        (brain, resize, threshold, scale),
        (brain, scale, resize, threshold),
    ):
        results[names] = run(stored, size=SIZE, names=names)
        assert largest_difference(results[names], monai(stored, size=SIZE, names=names[1:])) < TOLERANCE
    one, other, third = results.values()
    assert min(np.abs(one - other).max(), np.abs(other - third).max()) > 0.05


# What is refused


def changed(step: str, **values: Any) -> list[dict[str, Any]]:
    transforms = copy.deepcopy(DECLARED)
    next(entry for entry in transforms if entry["_target_"].endswith(step)).update(values)
    return transforms


@pytest.mark.parametrize(
    ("step", "values", "found"),
    [
        ("Resized", {"mode": "nearest"}, "Resized has mode = 'nearest'"),
        ("Resized", {"mode": ["trilinear", "nearest"]}, r"Resized has mode = \['trilinear', 'nearest'\]"),
        ("Resized", {"align_corners": True}, "Resized has align_corners = True"),
        ("Resized", {"anti_aliasing": True}, "Resized has anti_aliasing = True"),
        ("Resized", {"size_mode": "longest"}, "Resized has size_mode = 'longest'"),
        ("Resized", {"spatial_size": [64, 64, 33]}, r"spatial_size = \[64, 64, 33\]; expected \[64, 64, 32\]"),
        ("Resized", {"order": 1}, "Resized: got an unexpected keyword argument 'order'"),
        ("ThresholdIntensityd", {"threshold": 10.0}, "ThresholdIntensityd has threshold = 10.0"),
        ("ThresholdIntensityd", {"above": False}, "ThresholdIntensityd has above = False"),
        ("ThresholdIntensityd", {"cval": -1.0}, "ThresholdIntensityd has cval = -1.0"),
        ("ThresholdIntensityd", {"threshold": "@low"}, "ThresholdIntensityd has threshold = '@low'"),
        ("ScaleIntensityd", {"minv": -1.0}, "ScaleIntensityd has minv = -1.0"),
        ("ScaleIntensityd", {"maxv": 255.0}, "ScaleIntensityd has maxv = 255.0"),
        ("ScaleIntensityd", {"factor": 0.1}, "ScaleIntensityd has factor = 0.1"),
        ("ScaleIntensityd", {"_disabled_": True}, "ScaleIntensityd: got an unexpected keyword argument '_disabled_'"),
        ("ScaleIntensityd", {"keys": ["flair"]}, "the steps have different keys"),
        ("ScaleIntensityd", {"_target_": "NormalizeIntensityd"}, "the transform NormalizeIntensityd"),
        ("Orientationd", {"as_closest_canonical": True}, "Orientationd has as_closest_canonical = True"),
        ("ConcatItemsd", {"dim": 1}, "ConcatItemsd has dim = 1"),
    ],
)
def test_what_the_graph_does_not_honour_is_refused(step: str, values: dict[str, Any], found: str) -> None:
    with pytest.raises(InputError, match=found):
        preprocess_model(changed(step, **values), spatial_size=SIZE)


def test_a_default_that_is_not_honoured_is_refused() -> None:
    """MONAI's Resized without a mode takes "area"."""
    transforms = changed("Resized")
    del transforms[5]["mode"]
    with pytest.raises(InputError, match=r"Resized has mode = .*area"):
        preprocess_model(transforms, spatial_size=SIZE)


@pytest.mark.parametrize(
    "places",
    [
        (0, 1, 2, 4, 5, 3, 6, 7),  # the mask after resizing
        (0, 1, 3, 2, 4, 5, 6, 7),  # reorientation amid the graph's steps
        (0, 1, 2, 3, 4, 4, 5, 6, 7),  # a step twice
        (0, 1, 2, 3, 4, 5, 7),  # no scaling
        (1, 2, 3, 4, 5, 6, 7),  # no reading
        (0, 1, 2, 3, 4, 5, 6),  # no concatenation
        (),
    ],
)
def test_an_order_that_the_graph_can_not_follow_is_refused(places: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="the steps are"):
        preprocess_model([DECLARED[place] for place in places], spatial_size=SIZE)


@pytest.mark.parametrize("size", [(64, 64), (64, 64, 0), (64, 64, -1), (64, 64, 32.0)])
def test_a_size_that_is_none_is_refused(size: tuple[Any, ...]) -> None:
    with pytest.raises(InputError, match="spatial_size is"):
        preprocess_model(CONFIG, spatial_size=size)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"preprocessing": []}',
        '{"preprocessing": {"_target_": "Compose", "transforms": [], "lazy": true}}',
        '{"preprocessing": {"_target_": "OneOf", "transforms": []}}',
    ],
)
def test_a_file_that_is_no_such_configuration_is_refused_by_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "wrong.json").write_text(content)
    with pytest.raises(InputError, match=r"file .*wrong\.json: .*preprocessing"):
        preprocess_model(tmp_path / "wrong.json", spatial_size=SIZE)


# The file


def test_the_model_can_be_read_by_onnx_runtime_1_20() -> None:
    """It knows opset 21 and IR version 10."""
    model = preprocess_model(CONFIG, spatial_size=SIZE)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    assert model.ir_version <= 10 and model.producer_name and not model.graph.initializer
    assert {node.domain for node in model.graph.node} == {""}


def test_the_interface_is_the_documented_one() -> None:
    made = session(SIZE)
    assert {entry.name: (entry.type, entry.shape) for entry in made.get_inputs()} == {
        "volume": ("tensor(float)", ["x", "y", "z"]),
        "slope": ("tensor(float)", []),
        "intercept": ("tensor(float)", []),
        "mask": ("tensor(bool)", ["x", "y", "z"]),
    }
    assert [(entry.name, entry.type, entry.shape) for entry in made.get_outputs()] == [
        ("image", "tensor(float)", [1, 1, *SIZE])
    ]


def test_the_same_configuration_gives_the_same_bytes_in_every_process() -> None:
    program = (
        "import hashlib; from export.preprocess_graph import preprocess_model as make; "
        f"print(hashlib.sha256(make({str(CONFIG)!r}, spatial_size={SIZE}).SerializeToString()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    here = preprocess_model(CONFIG, spatial_size=SIZE).SerializeToString()
    assert other.stdout.strip() == hashlib.sha256(here).hexdigest()
    from_list = preprocess_model(DECLARED, spatial_size=SIZE)
    assert from_list.SerializeToString() == here


def test_the_manifest_learns_every_step_and_value() -> None:
    told = parameters(CONFIG, spatial_size=SIZE)
    assert json.loads(json.dumps(told)) == told
    assert told["orientation"] == DECLARED[2]["axcodes"]
    steps = [*told["outside"][:3], *(step["step"] for step in told["inside"]), told["outside"][3]]
    assert steps == [entry["_target_"].rpartition(".")[2] for entry in DECLARED]
    assert len(told["outside"]) == len(OUTSIDE)
    for entry, step in zip(DECLARED[3:7], told["inside"], strict=True):
        plain = {
            key: value for key, value in entry.items() if not key.startswith("_") and not str(value).startswith("@")
        }
        assert plain.items() <= step.items()
    assert told["inside"][2]["spatial_size"] == list(SIZE)
