"""The preprocessing graph, run by ONNX Runtime, against the bundle's own MONAI transforms."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from export.preprocess_graph import INSIDE
from tests.conftest import write_study
from tests.export.preprocess_bench import (
    SIZE,
    TOLERANCE,
    Size,
    from_bundle,
    from_files,
    largest_difference,
    monai,
    run,
)


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
    shape = _three(int(f if up else m) for f, m, up in zip(few, many, ups, strict=True))
    size = _three(int(m if up else f) for f, m, up in zip(few, many, ups, strict=True))
    return rng, shape, size


def _three(edges: Iterable[int]) -> Size:
    x, y, z = edges
    return x, y, z


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
