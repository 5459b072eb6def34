"""What an image must be, limit by limit: on a limit it passes, beyond it the refusal says every part of the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts import checks
from scripts.checks import check_brain, check_finite, check_geometry, check_pair, check_values, fault
from scripts.errors import InputError

FILE = "/data/sub-01_FLAIR.nii.gz"
UNIT = "Check that this is a head, and that the header's unit is millimetres."


def image(values: Any, affine: Any = None) -> MetaTensor:
    """(x, y, z) or a shape -> MetaTensor (1, x, y, z), voxels of 5 mm where no affine is given."""
    array = np.ones(values) if isinstance(values, tuple) else np.asarray(values)
    matrix = np.diag([5.0, 5.0, 5.0, 1.0]) if affine is None else np.asarray(affine, dtype=float)
    return MetaTensor(
        torch.as_tensor(array, dtype=torch.float32)[None],
        affine=torch.from_numpy(matrix),
        meta={"filename_or_obj": FILE},
    )


def case(**images: MetaTensor) -> dict[Any, Any]:
    return {"case": "sub-01", **images}


def refusal(error: InputError) -> tuple[str, str, str]:
    """found, expected, remedy of an error that names case and file."""
    assert (error.case, error.file) == ("sub-01", FILE)
    return error.found, error.expected, error.remedy


def test_a_fault_names_case_and_file_and_what_came_from_no_file_has_none() -> None:
    said = fault(case(flair=image((2, 2, 2))), "flair", "it is green", "grey", "Paint it.")
    assert refusal(said) == ("flair: it is green", "grey", "Paint it.")
    assert fault({"case": "sub-01", "flair": torch.ones(1, 2, 2, 2)}, "flair", "it is green", "grey", "").file is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_are_counted(value: float) -> None:
    values = np.ones((12, 12, 12))
    check_finite(case(flair=image(values)), "flair")
    values[0, 0, :3] = value
    with pytest.raises(InputError) as refused:
        check_values(case(flair=image(values)), "flair")
    remedy = "Convert the series again, or repair the image."
    assert refusal(refused.value) == ("flair: 3 voxels are NaN or infinite", "finite intensities", remedy)


@pytest.mark.parametrize(("low", "high"), [(0, 0), (7, 7), (-5, 0), (-5, -1)])
def test_an_image_without_a_signal_is_refused(low: float, high: float) -> None:
    values = np.full((12, 12, 12), float(low))
    values[6, 6, 6] = high
    with pytest.raises(InputError) as refused:
        check_values(case(flair=image(values)), "flair")
    found = f"flair: all intensities lie between {low:g} and {high:g}"
    remedy = "Check the export: the image holds nothing."
    assert refusal(refused.value) == (found, "an image with a positive signal", remedy)
    values[6, 6, 6] = 8
    check_values(case(flair=image(values)), "flair")


@pytest.mark.parametrize(
    ("edges", "shape"),
    [
        ((0.2, 5, 5), (300, 12, 12)),
        ((12, 5, 5), (5, 12, 12)),
        ((5, 5, 5), (12, 80, 12)),
        ((0.5, 0.5, 0.5), (120, 120, 120)),
    ],
)
def test_voxels_and_fields_of_view_on_the_limits_pass(edges: tuple[float, ...], shape: tuple[int, ...]) -> None:
    affine = np.diag([*edges, 1.0])
    affine[:3, 3] = -1000
    check_geometry(case(flair=image(shape, affine)), "flair")


@pytest.mark.parametrize(
    ("edges", "shape", "said"),
    [
        ((0.19, 5, 5), (400, 12, 12), "flair: voxels of 0.19 x 5 x 5 mm"),
        ((5, 5, 12.1), (12, 12, 12), "flair: voxels of 5 x 5 x 12.1 mm"),
    ],
)
def test_a_voxel_of_no_head_protocol_is_refused(edges: tuple[float, ...], shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError) as refused:
        check_geometry(case(flair=image(shape, np.diag([*edges, 1.0]))), "flair")
    assert refusal(refused.value) == (said, "edges between 0.2 and 12.0 mm", UNIT)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((12, 11, 12), "flair: a field of view of 60 x 55 x 60 mm"),
        ((81, 12, 12), "flair: a field of view of 405 x 60 x 60 mm"),
    ],
)
def test_a_field_of_view_that_holds_no_head_is_refused(shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(InputError) as refused:
        check_geometry(case(flair=image(shape)), "flair")
    assert refusal(refused.value) == (said, "edges between 60 and 400 mm", UNIT)


@pytest.mark.parametrize(("slant", "passes"), [(0.7, True), (1.0, True), (1.05, False)])
def test_slanted_axes_are_refused_where_the_voxel_loses_its_volume(slant: float, passes: bool) -> None:
    # The second axis leans by this much on the first: its voxel has 1 / sqrt(1 + slant²) of its edges' product.
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[0, 1] = slant
    data = case(flair=image((70, 70, 70), affine))
    if passes:
        check_geometry(data, "flair")
        return
    with pytest.raises(InputError) as refused:
        check_geometry(data, "flair")
    found = f"flair: the affine {affine[:3].tolist()} is no position in space"
    remedy = "Convert the series again; its position in the scanner is lost."
    assert refusal(refused.value) == (found, "finite axes at right angles", remedy)


@pytest.mark.parametrize("broken", [np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_an_affine_of_nothing_is_refused(broken: np.ndarray) -> None:
    affine = broken.copy()
    affine[3] = [0, 0, 0, 1]
    with pytest.raises(InputError, match="is no position in space"):
        check_geometry(case(flair=image((12, 12, 12), affine)), "flair")


def test_two_series_may_lie_four_centimetres_apart_and_no_more() -> None:
    noise = np.random.default_rng(0).random((2, 12, 14, 16))
    moved = np.diag([5.0, 5.0, 5.0, 1.0])
    moved[:3, 3] = [24, 0, 32]  # 40 mm
    check_pair(case(flair=image(noise[0]), t2w=image(noise[1], moved)), "flair", "t2w")
    moved[2, 3] = 33
    with pytest.raises(InputError) as refused:
        check_pair(case(flair=image(noise[0]), t2w=image(noise[1], moved)), "flair", "t2w")
    remedy = "Check that both series are of one child and one session."
    assert refusal(refused.value) == ("t2w: its centre lies 41 mm from that of flair", "at most 40 mm", remedy)


@pytest.mark.parametrize("scale", [1.0, -2.0, 1000.0])
def test_an_image_and_its_copy_at_another_scale_are_one(scale: float) -> None:
    values = np.random.default_rng(0).random((12, 14, 16))
    with pytest.raises(InputError) as refused:
        check_pair(case(flair=image(values), t2w=image(scale * values + 3)), "flair", "t2w")
    sign = "-" if scale < 0 else ""
    found = f"t2w: its voxels equal flair's but for their scale (correlation {sign}1.000000)"
    assert refusal(refused.value) == (found, "two series, correlated by 0.9999 at most", "Give the t2w file.")
    check_pair(case(flair=image(values), t2w=image(np.ones_like(values))), "flair", "t2w")  # nothing to correlate
    check_pair(case(flair=image(values), t2w=image(values[:-1])), "flair", "t2w")


def brain(millilitres: float, *, low: float = 50.0, spread: float = 40.0) -> MetaTensor:
    """A block of brain in voxels of 2 ml, its intensities in one even row from `low` on."""
    size = round(millilitres / 2)
    values = np.zeros(16**3)
    values[:size] = low + spread * np.arange(size) / max(size - 1, 1)
    return image(values.reshape(16, 16, 16), np.diag([10.0, 10.0, 20.0, 1.0]))


@pytest.fixture
def _no_skull(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "skull_share", lambda values, affine: 0.0)


@pytest.mark.usefixtures("_no_skull")
@pytest.mark.parametrize("method", ["none", "mask", "bet"])
def test_a_brain_has_a_brains_volume(method: str) -> None:
    for size in (252, 2198):
        check_brain(case(flair=brain(size)), "flair", method)
    for size in (248, 2202):
        with pytest.raises(InputError) as refused:
            check_brain(case(flair=brain(size)), "flair", method)
        found = f"flair: the brain-extracted image fills {size} ml"
        extract = "Extract the brain: --brain_extraction hd-bet or bet, or mask with masks of your own."
        remedy = extract if method == "none" else "Check the mask."
        assert refusal(refused.value) == (found, "between 250 and 2200 ml", remedy)


@pytest.mark.usefixtures("_no_skull")
def test_a_brain_has_a_contrast() -> None:
    check_brain(case(flair=brain(1000, low=50, spread=0.6)), "flair", "none")
    with pytest.raises(InputError) as refused:
        check_brain(case(flair=brain(1000, low=50, spread=0.4)), "flair", "none")
    found, expected, remedy = refusal(refused.value)
    said = "flair: the brain has no contrast: 98 % of its voxels lie between 50.004 and 50.396, the largest is 50.4"
    assert (found, expected) == (said, "a range of at least 0.01 of the largest")
    assert remedy == "Check that this is no mask, and that no voxel is out of range."


@pytest.mark.parametrize(("share", "passes"), [(0.4, True), (0.41, False), (float("nan"), False)])
def test_a_skull_is_refused_and_so_is_what_can_not_be_told(
    share: float, passes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "skull_share", lambda values, affine: share)
    if passes:
        check_brain(case(flair=brain(1000)), "flair", "none")
        return
    with pytest.raises(InputError) as refused:
        check_brain(case(flair=brain(1000)), "flair", "mask")
    found, expected, remedy = refusal(refused.value)
    assert (
        found
        == f"flair: the image shows a skull: {share:.0%} of the rays from its middle pass a dark layer under a bright rim"
    )
    assert (expected, remedy) == ("a brain alone, 40% at most", "Check the mask.")


def test_of_a_large_image_about_a_hundred_thousand_voxels_are_looked_at() -> None:
    for voxels in (1, 100_000, 100_001, 256 * 256 * 128, 10**9):
        (step,) = {every.step for every in checks._every(voxels)}
        assert voxels / step**3 <= 100_000 and (step == 1 or voxels / (step - 1) ** 3 > 100_000)
