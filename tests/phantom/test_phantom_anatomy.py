"""Heads: volumes of the right size, regions where they should be, files that do not fit refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.phantom.anatomy import BONE, CSF, FAT, VENT, Anatomy, load_anatomy
from scripts.phantom.head import close, distance, read_npz, resample
from scripts.phantom.pose import draw_pose, linear_size


def check_regions(head: Anatomy) -> None:
    litres = head.voxel_mm**3 / 1e6
    assert 1.2 < head.brain.sum() * litres < 2.0
    assert 0.008 < (head.maps[VENT] / 255).sum() * litres < 0.06
    assert not (head.tuber_region & ~head.brain).any()
    assert head.tuber_region[tuple(head.tuber_sites.T)].all()
    assert head.brain[tuple(head.nodule_sites.T)].all()
    assert (head.maps[VENT][tuple(head.inward.T)] > 60).mean() > 0.95
    spans = [np.nonzero(head.brain.any(axis))[0] for axis in ((1, 2), (0, 2), (0, 1))]
    z = (head.tuber_sites[:, 2] - spans[2][0]) / np.ptp(spans[2])
    y = (head.tuber_sites[:, 1] - spans[1][0]) / np.ptp(spans[1])
    assert not ((z < 0.22) & (y < 0.38)).any()  # the cerebellum lies low and behind
    assert not (head.tuber_region & (head.maps[VENT] > 127)).any()


def test_the_icbm152_head_has_a_skull_around_its_brain(anatomy: Anatomy) -> None:
    check_regions(anatomy)
    outside = distance(anatomy.brain, anatomy.voxel_mm)
    for tissue in (BONE, FAT):
        assert outside[anatomy.maps[tissue] > 127].min() > 0
    assert np.median(outside[anatomy.maps[FAT] > 127]) > np.median(outside[anatomy.maps[BONE] > 127])
    assert (anatomy.maps[CSF][outside > 6] == 0).all()


def test_another_head_needs_no_atlas(shared_dir: Path) -> None:
    path = shared_dir / "anatomy" / "child.npz"
    if not path.is_file():
        pytest.skip("the child's head lies beside the authors' checkouts alone")
    head = load_anatomy(str(path), 3.0)
    check_regions(head)
    assert head.reference_months == 36


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"maps": np.zeros((4, 4, 4, 7), np.uint8)}, r"no array \['zoom'\]"),
        ({"maps": np.zeros((4, 4, 4, 3), np.uint8), "zoom": np.ones(3)}, r"maps uint8 \(4, 4, 4, 3\)"),
        ({"maps": np.zeros((4, 4, 4, 7)), "zoom": np.ones(3)}, "maps float64"),
    ],
)
def test_a_file_that_is_no_head_is_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "head.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_npz(tmp_path / "head.npz")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"head\.npz: the anatomy is not there"):
        read_npz(tmp_path / "head.npz")


def test_resampling_keeps_volume_and_closing_fills_a_gap() -> None:
    ball = np.zeros((1, 40, 40, 40), np.uint8)
    grid = np.mgrid[:40, :40, :40] - 19.5
    ball[0][(grid**2).sum(0) < 12**2] = 255
    coarse = resample(ball, np.array([1.0, 1.0, 1.0]), 2.0)
    assert coarse.shape == (1, 20, 20, 20)
    assert coarse.sum() * 8 == pytest.approx(ball.sum(), rel=0.02)
    halves = (ball[0] > 0) & (np.abs(grid[0]) > 1.5)
    assert close(halves, 4.0, 1.0)[19, 19, 19]
    assert not close(halves, 4.0, 1.0)[1, 1, 1]


def test_the_pose_is_a_small_invertible_change_and_the_head_grows() -> None:
    pose = draw_pose(np.random.default_rng(3), 24, 240)
    points = np.random.default_rng(4).uniform(-60, 60, (3, 500))
    step = 1.0
    columns = [pose.to_head(points + step * np.eye(3)[:, [axis]]) - pose.to_head(points) for axis in range(3)]
    determinant = np.linalg.det(np.stack(columns, -1).transpose(1, 0, 2))
    assert (np.sign(determinant) == np.sign(determinant[0])).all()  # the warp does not fold
    assert np.abs(determinant).min() > 0.5
    assert np.abs(determinant).max() < 3
    sizes = [linear_size(months) for months in (6, 12, 36, 72, 240)]
    assert sizes == sorted(sizes)
    assert sizes[0] ** 3 == pytest.approx(0.62, abs=0.02)
    assert sizes[-1] == pytest.approx(1, abs=0.001)


def test_a_brain_that_would_be_larger_than_any_is_shrunk_and_no_other_is_changed() -> None:
    free, held = (draw_pose(np.random.default_rng(3), 240, 240, largest=largest) for largest in (np.inf, 0.9))
    volumes = [1 / abs(float(np.linalg.det(pose.matrix))) for pose in (free, held)]

    assert volumes[0] > 0.9 and volumes[1] == pytest.approx(0.9)
    assert held.scale == pytest.approx(free.scale * (0.9 / volumes[0]) ** (1 / 3))
    same = draw_pose(np.random.default_rng(3), 240, 240, largest=1.5)
    np.testing.assert_array_equal(same.matrix, free.matrix)
