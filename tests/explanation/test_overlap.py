"""Energy, pointing game and the exchange of maps on arrays whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.explanation.overlap import Overlap, exchange_test, exchanged_distance, exchanged_energy, overlap

SHAPE = (20, 20, 10)
AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])


def brain() -> np.ndarray:
    inside = np.zeros(SHAPE, bool)
    inside[2:18, 2:18, 1:9] = True  # 2048 voxels
    return inside


def box(*corner: int, size: int = 2) -> np.ndarray:
    """A cube of `size` voxels from its corner on."""
    chosen = np.zeros(SHAPE, bool)
    chosen[tuple(slice(first, first + size) for first in corner)] = True
    return chosen


def compare(values: np.ndarray, lesions: np.ndarray, tolerance: float = 5.0) -> Overlap:
    found = overlap(values.astype(np.float32), lesions, brain(), AFFINE, tolerance_mm=tolerance)
    assert found is not None
    return found


def test_a_map_without_contrast_has_the_lesions_share_of_the_brain() -> None:
    found = compare(np.ones(SHAPE), box(4, 4, 4))
    assert found.energy == pytest.approx(8 / 2048) and found.lesion_share == pytest.approx(8 / 2048)


def test_energy_is_the_share_of_the_sum() -> None:
    values = 3.0 * box(4, 4, 4) + 1.0 * box(10, 10, 4)
    assert compare(values, box(4, 4, 4)).energy == pytest.approx(0.75)
    assert compare(values, box(10, 10, 4)).energy == pytest.approx(0.25)
    assert compare(values, box(14, 14, 4)).energy == 0


def test_what_lies_outside_of_the_brain_does_not_count() -> None:
    values = 3.0 * box(4, 4, 4) + 100.0 * box(0, 0, 4)
    found = compare(values, box(4, 4, 4) | box(0, 4, 4))
    assert found.energy == 1 and found.lesion_share == pytest.approx(8 / 2048) and found.distance_mm == 0


@pytest.mark.parametrize(
    ("corner", "distance"), [((4, 4, 4), 0), ((7, 4, 4), 4), ((4, 4, 7), 10), ((7, 7, 4), 32**0.5)]
)
def test_the_distance_of_the_maximum_is_in_millimetres_along_each_axis(
    corner: tuple[int, int, int], distance: float
) -> None:
    values = np.ones(SHAPE)
    values[corner] = 2
    assert compare(values, box(4, 4, 4)).distance_mm == pytest.approx(distance)


def test_the_share_of_the_brain_near_a_lesion_is_what_a_random_point_hits() -> None:
    lesion = np.zeros(SHAPE, bool)
    lesion[10, 10, 5] = True
    assert compare(np.ones(SHAPE), lesion, tolerance=0).near_share == pytest.approx(1 / 2048)
    assert compare(np.ones(SHAPE), lesion, tolerance=2).near_share == pytest.approx(
        5 / 2048
    )  # 4 neighbours in the plane
    assert compare(np.ones(SHAPE), lesion, tolerance=5).near_share == pytest.approx((21 + 2) / 2048)


def test_without_lesions_or_without_a_map_there_is_nothing_to_compare() -> None:
    nothing = np.zeros(SHAPE, bool)
    assert overlap(np.ones(SHAPE, np.float32), nothing, brain(), AFFINE, tolerance_mm=5) is None
    assert overlap(np.zeros(SHAPE, np.float32), box(4, 4, 4), brain(), AFFINE, tolerance_mm=5) is None
    assert overlap(np.ones(SHAPE, np.float32), box(0, 0, 0), brain(), AFFINE, tolerance_mm=5) is None


@pytest.mark.parametrize("bad", [np.nan, -1.0, np.inf])
def test_values_that_are_none_are_refused(bad: float) -> None:
    values = np.ones(SHAPE, np.float32)
    values[5, 5, 5] = bad
    with pytest.raises(InputError, match="below 0 or not finite"):
        overlap(values, box(4, 4, 4), brain(), AFFINE, tolerance_mm=5)
    with pytest.raises(InputError, match="one grid"):
        overlap(values[:-1], box(4, 4, 4), brain(), AFFINE, tolerance_mm=5)


def children(count: int, *, own: bool, seed: int) -> list[Overlap]:
    """Maps that are each child's lesions, or random places."""
    rng = np.random.default_rng(seed)
    corners = [tuple(int(v) for v in rng.integers((3, 3, 1), (15, 15, 6))) for _ in range(2 * count)]
    return [
        compare(0.01 + box(*corners[i if own else count + i], size=3), box(*corners[i], size=3)) for i in range(count)
    ]


def test_maps_of_a_childs_own_lesions_beat_those_of_others() -> None:
    boxed = [one.boxed for one in children(12, own=True, seed=0)]
    energy = exchanged_energy(boxed)
    assert energy.shape == (12, 12) and np.diag(energy).min() > 3 * np.mean(energy)
    found = exchange_test(energy, permutations=999)
    assert found.p == pytest.approx(1 / 1000) and found.own > found.others and (found.gain > 0).mean() > 0.9
    distance = exchanged_distance(boxed)
    assert np.diag(distance).max() < 6 < np.median(distance), "the box's points lie about as far apart as voxels"


def test_maps_of_random_places_do_not() -> None:
    p = [
        exchange_test(exchanged_energy([one.boxed for one in children(6, own=False, seed=seed)]), permutations=199).p
        for seed in range(8)
    ]
    assert 0.25 < np.mean(p) < 0.75 and min(p) > 0.005  # uniform: mean 0.5


def test_the_permutation_test_of_chance_alone_is_uniform() -> None:
    rng = np.random.default_rng(0)
    p = np.array([exchange_test(rng.exponential(size=(9, 9)), permutations=199).p for _ in range(400)])
    assert abs((p <= 0.05).mean() - 0.05) < 0.035 and abs(p.mean() - 0.5) < 0.05  # three standard errors


def test_the_exchange_in_a_box_agrees_with_the_images_own_grid() -> None:
    rng = np.random.default_rng(0)
    x, y, z = np.meshgrid(*(np.arange(edge) * step for edge, step in zip(SHAPE, (2, 2, 5), strict=True)), indexing="ij")
    for _ in range(4):  # blurred, as maps are: sharp edges fall between the box's points
        values = np.exp(-((x - rng.uniform(10, 30)) ** 2 + (y - 20) ** 2 + (z - 22) ** 2) / (2 * 12**2))
        one = compare(values, box(8, 8, 3, size=4))
        assert exchanged_energy([one.boxed])[0, 0] == pytest.approx(one.energy, rel=0.1)


def test_a_statistic_by_hand() -> None:
    found = exchange_test(np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.25, 0.25, 1.0]]), permutations=4999)
    assert found.own == 1 and found.others == pytest.approx((0.25 + 0 + 0.25) / 3)
    np.testing.assert_allclose(found.gain, [0.75, 1.0, 0.75])
    assert found.p == pytest.approx(1 / 6, abs=0.02)  # one of six orders does as well


def test_equal_maps_are_no_better_than_others() -> None:
    assert exchange_test(np.full((5, 5), 0.2)).p == 1


def test_a_map_that_misses_another_brain_counts_for_nothing_there() -> None:
    statistic = np.array([[0.5, np.nan, 0.1], [0.1, 0.5, 0.1], [0.1, 0.1, 0.5]])
    assert exchange_test(statistic).others == pytest.approx(0.1)
    with pytest.raises(InputError, match="0 children with another"):
        exchange_test(np.ones((1, 1)))
    with pytest.raises(InputError, match="each with a value"):
        exchange_test(np.array([[np.nan, 1.0], [1.0, 1.0]]))


def test_maps_are_exchanged_inside_of_their_group() -> None:
    """Two kinds of maps, each in its own place, and children whose lesions go with the kind: nothing knows the child."""
    rng = np.random.default_rng(0)
    kind = np.array(["a", "b"] * 8)
    statistic = (kind[:, None] == kind[None]) * 1.0 + 0.01 * rng.standard_normal((16, 16))
    assert exchange_test(statistic, permutations=999).p == pytest.approx(1 / 1000)
    found = exchange_test(statistic, kind.tolist(), permutations=999)
    assert found.p > 0.05 and abs(found.own - found.others) < 0.02


def test_a_child_alone_in_its_group_is_left_out_of_the_exchange() -> None:
    statistic = np.array([[1.0, 0.2, 9.0], [0.4, 1.0, 9.0], [9.0, 9.0, 0.0]])
    found = exchange_test(statistic, ["a", "a", "b"], permutations=999)
    assert found.own == 1 and found.others == pytest.approx(0.3) and found.gain.shape == (2,)
    with pytest.raises(InputError, match="0 children with another"):
        exchange_test(statistic, ["a", "b", "c"])
