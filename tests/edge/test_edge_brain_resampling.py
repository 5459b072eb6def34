"""nnU-Net's resampling in numpy against scipy's, slice by slice and as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from etscnet_edge.brain_extraction.resampling import Resampling, nearest, new_shape, resample, slice_axis, spline_matrix
from scipy import ndimage

ROUNDING = 5e-6  # float32 here, float64 there; values of about 1, three axes of sums
SPLINE = Resampling(3, None, 3.0)
LINEAR = Resampling(1, None, 3.0)


def resize(values: np.ndarray, shape: Sequence[int], order: int) -> np.ndarray:
    """skimage.transform.resize(mode="edge", anti_aliasing=False): scipy's zoom, clipped to the input's range."""
    zoom = [new / old for new, old in zip(shape, values.shape, strict=True)]
    out = ndimage.zoom(values.astype(float), zoom, order=order, mode="nearest", grid_mode=True)
    clipped: np.ndarray = np.clip(out, values.min(), values.max())
    return clipped


def by_nnunet(values: np.ndarray, shape: Sequence[int], order: int, axis: int | None) -> np.ndarray:
    """resample_data_or_seg of nnunetv2 2.8.1, for one channel that is no segmentation, order_z 0."""
    if tuple(shape) == values.shape:
        return values
    if axis is None:
        return resize(values, shape, order)
    between = list(shape)
    between[axis] = values.shape[axis]
    plane = [edge for number, edge in enumerate(shape) if number != axis]
    here = np.moveaxis(np.zeros(between), axis, 0)
    for number, one in enumerate(np.moveaxis(values, axis, 0)):
        here[number] = resize(one, plane, order)
    here = np.moveaxis(here, 0, axis)
    if values.shape[axis] == shape[axis]:
        return here
    scale = np.array(here.shape) / np.array(shape)
    places = np.mgrid[tuple(slice(edge) for edge in shape)]
    places = scale[:, None, None, None] * (places + 0.5) - 0.5
    made: np.ndarray = ndimage.map_coordinates(here, places, order=0, mode="nearest")
    return made


@pytest.mark.parametrize("how", [SPLINE, LINEAR], ids=["order 3", "order 1"])
@pytest.mark.parametrize(
    ("shape", "new", "old_mm", "new_mm"),
    [
        ((20, 31, 17), (13, 40, 17), (1, 1, 1), (1.5, 0.8, 1)),
        ((5, 9, 12), (20, 3, 50), (4, 1, 4), (1, 3, 1)),
        ((9, 40, 33), (36, 29, 24), (4, 0.7, 0.7), (1, 1, 1)),  # coarse slices: one by one
        ((36, 29, 24), (9, 40, 33), (1, 1, 1), (4, 0.7, 0.7)),  # and back
        ((33, 9, 40), (24, 9, 29), (0.7, 4, 0.7), (1, 4, 1)),  # no step between the slices
        ((33, 40, 9), (24, 29, 31), (0.7, 0.7, 4), (1, 1, 1.1)),
        ((4, 4, 4), (4, 4, 4), (1, 1, 1), (1, 1, 1)),
    ],
)
def test_volumes_are_those_of_nnunet(
    shape: tuple[int, ...], new: tuple[int, ...], old_mm: tuple[float, ...], new_mm: tuple[float, ...], how: Resampling
) -> None:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    axis = slice_axis(how, old_mm, new_mm)
    found = resample(values, new, how=how, old=old_mm, new=new_mm)
    assert found.shape == new and found.dtype == np.float32
    np.testing.assert_allclose(found, by_nnunet(values, new, how.order, axis), atol=ROUNDING)


def test_a_spline_stays_within_the_values_of_its_slice() -> None:
    step = np.zeros((2, 12, 12), dtype=np.float32)
    step[0, :, 6:], step[1, :, 6:] = 1, 9
    found = resample(step, (8, 30, 30), how=SPLINE, old=(9, 1, 1), new=(2.25, 0.4, 0.4))
    assert found[:4].max() <= 1 and found[4:].max() <= 9 and found.min() >= 0
    loose = spline_matrix(12, 30, 3) @ step[0, 0]
    assert loose.max() > 1.01 and loose.min() < -0.01  # it would overshoot


@pytest.mark.parametrize(
    ("old", "new", "axis"),
    [
        ((4, 0.7, 0.7), (1, 1, 1), 0),
        ((0.7, 0.7, 4), (1, 1, 1), 2),
        ((1, 1, 1), (0.6, 3.3, 0.6), 1),
        ((3, 1, 1), (1, 1, 1), None),  # three times is not more than three times
        ((0.2, 1, 1), (1, 1, 1), None),  # two coarse axes
        ((1, 1, 1), (1, 1, 1), None),
    ],
)
def test_slices_are_taken_where_one_axis_is_coarse(
    old: tuple[float, ...], new: tuple[float, ...], axis: int | None
) -> None:
    assert slice_axis(SPLINE, old, new) == axis
    assert slice_axis(Resampling(3, False, 3.0), old, new) is None


def test_slices_where_they_are_asked_for() -> None:
    always = Resampling(3, True, 3.0)
    assert slice_axis(always, (2, 1, 1), (1, 1, 1)) == 0 and slice_axis(always, (1, 1, 1), (1, 1, 4)) is None


def test_shapes_are_rounded_as_python_does() -> None:
    assert new_shape((5, 7, 10), (0.5, 0.5, 1.0), (1.0, 1.0, 1.0)) == (2, 4, 10)  # 2.5 and 3.5 to even numbers
    assert new_shape((320, 320, 48), (0.71875, 0.71875, 3.0), (4.0, 4.0, 4.0)) == (58, 58, 36)  # 57.5


@pytest.mark.parametrize(("edge", "new"), [(36, 144), (44, 145), (44, 36), (7, 3), (3, 7), (48, 24), (5, 5)])
def test_the_nearest_slice_is_scipys(edge: int, new: int) -> None:
    places = edge / new * (np.arange(new) + 0.5) - 0.5
    expected = ndimage.map_coordinates(np.arange(edge, dtype=float), [places], order=0, mode="nearest")
    np.testing.assert_array_equal(nearest(edge, new), expected.astype(int))


def test_a_line_is_resampled_as_by_scikit_image() -> None:
    transform = pytest.importorskip("skimage.transform", reason="scikit-image comes with hd-bet's environment alone")
    values = np.random.default_rng(1).standard_normal((9, 14, 11)).astype(np.float32)
    for order in (1, 3):
        expected = transform.resize(values.astype(float), (20, 9, 11), order, mode="edge", anti_aliasing=False)
        found = resample(values, (20, 9, 11), how=Resampling(order, None, 3.0), old=(2, 1, 1), new=(1, 1.6, 1))
        np.testing.assert_allclose(found, expected, atol=ROUNDING)
