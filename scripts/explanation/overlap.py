"""How much of a map falls on lesions, and what maps of other children put there.

Energy share: the map's sum on the lesions by its sum in the brain. Pointing game: whether the map's maximum lies on a lesion, or
within a tolerance of one. A map that knows nothing, the same everywhere in the brain, has the lesions' share of the brain as its
energy share, and hits as often as a random point of the brain does.

A map may beat that and know nothing of this child: lesions have their usual places, and so have the map's. So the maps are
exchanged between children, after the boxes around the brains were brought to coincide (no registration: brains of different
children correspond roughly), and the pairs that belong together are compared with the exchanged ones.

Sources: Zhang et al. 2018, Int J Comput Vis 126:1084 (pointing game); Wang et al. 2020, arXiv:1910.01279 (energy). No torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, map_coordinates

from scripts.errors import InputError
from scripts.explanation.maps import peak

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
BOX = (36, 44, 32)  # points in the box around a brain, about 4 mm apart


@dataclass(frozen=True)
class Boxed:
    """A child in the box around its brain, all arrays flat over the points of `BOX`.

    Attributes:
        map: the map.
        lesions, brain: what share of a point they are, 0 to 1.
        distance_mm: to the nearest lesion.
        peak: the point that the map's maximum falls on.
    """

    map: Float32
    lesions: Float32
    brain: Float32
    distance_mm: Float32
    peak: int


@dataclass(frozen=True)
class Overlap:
    """One map and one child's lesions, on the image's own grid.

    Attributes:
        energy: share of the map's sum in the brain that lies on lesions.
        lesion_share: of the brain: the energy of a map that is the same everywhere.
        distance_mm: from the map's maximum to the nearest lesion; 0 on one.
        near_share: of the brain that lies within the tolerance of a lesion: how often a random point hits.
        boxed: for the exchange between children.
    """

    energy: float
    lesion_share: float
    distance_mm: float
    near_share: float
    boxed: Boxed


def overlap(values: Float32, lesions: Bool, brain: Bool, affine: Float64, *, tolerance_mm: float) -> Overlap | None:
    """Compare a map with lesions.

    Args:
        values: (x, y, z) 0 or more; what lies outside of the brain does not count.
        lesions, brain: (x, y, z); a lesion outside of the brain does not count.
        affine: voxel -> mm; axes nearly at right angles, which the distances take for granted.
        tolerance_mm: of the pointing game.

    Returns:
        None where there is nothing to compare: no lesion, or a map that is 0 everywhere.

    Raises:
        InputError: shapes differ, no brain, or values that are negative or not finite.
    """
    if not values.shape == lesions.shape == brain.shape or not brain.any():
        raise InputError(
            f"a map of {values.shape}, lesions of {lesions.shape}, a brain of {brain.shape} with {int(brain.sum())} voxels",
            expected="one grid with a brain",
            remedy="Give the maps, masks and labels of one data set.",
        )
    if not (np.isfinite(values).all() and values.min() >= 0):
        raise InputError(
            "the map holds values below 0 or not finite", expected="0 or more", remedy="Make the map again."
        )
    cut, affine = _cut(brain, affine)
    values, inside = np.where(brain, values, 0)[cut], brain[cut]
    on = lesions[cut] & inside
    total = float(values.sum(dtype=np.float64))
    if not on.any() or total == 0:
        return None
    distance = distance_transform_edt(~on, sampling=np.linalg.norm(affine[:3, :3], axis=0)).astype(np.float32)
    top = np.array(peak(values, affine))
    voxel = tuple(np.rint(np.linalg.solve(affine, [*top, 1.0])[:3]).astype(int))
    return Overlap(
        energy=float(values[on].sum(dtype=np.float64)) / total,
        lesion_share=int(on.sum()) / int(inside.sum()),
        distance_mm=float(distance[voxel]),
        near_share=float((distance[inside] <= tolerance_mm).mean()),
        boxed=_boxed(values, on, inside, distance, affine, top),
    )


def exchanged_energy(children: Sequence[Boxed]) -> Float64:
    """(N, N) energy share of the map of child j on the lesions of child i, in the brain of i; NaN: map j misses that brain."""
    maps, lesions, brains = (
        np.stack([getattr(child, name) for child in children]) for name in ("map", "lesions", "brain")
    )
    on, inside = (lesions * brains) @ maps.T, brains @ maps.T  # (N, N)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(inside > 0, on / inside, np.nan), dtype=np.float64)


def exchanged_distance(children: Sequence[Boxed]) -> Float64:
    """(N, N) mm from the maximum of map j to the nearest lesion of child i."""
    peaks = [child.peak for child in children]
    return np.stack([child.distance_mm[peaks] for child in children]).astype(np.float64)


@dataclass(frozen=True)
class Exchange:
    """Pairs that belong together against exchanged ones.

    Attributes:
        own: mean over children of their own map's statistic, in the box.
        others: mean over children of the other children's maps' statistic.
        gain: (n,) own minus the mean of the others, child by child; a child whose group holds no other is left out of all.
        p: of a permutation test: how often maps dealt out at random do as well as their own; one-sided.
        permutations: how many.
    """

    own: float
    others: float
    gain: Float64
    p: float
    permutations: int


def exchange_test(
    statistic: Float64, groups: Sequence[str] | None = None, *, permutations: int = 9999, seed: int = 0
) -> Exchange:
    """Test whether a child's own map does better than another's.

    Args:
        statistic: (N, N), row: whose lesions; column: whose map; larger is better. NaN off the diagonal counts for nothing: it is
            set to the mean of the row's others.
        groups: (N,) maps are exchanged inside of a group, such as those that speak for one outcome: lesions decide the outcome,
            and an outcome's maps may have their places. None: one group.
        permutations: of the maps over the children.
        seed: of the permutations.

    Raises:
        InputError: no group of two or more children, or a NaN on the diagonal.
    """
    names = np.array(["all"] * len(statistic) if groups is None else groups)
    alike = names[:, None] == names[None]
    kept = np.flatnonzero(alike.sum(axis=1) > 1)
    own = np.diag(statistic)[kept]
    if not len(kept) or not np.isfinite(own).all():
        raise InputError(
            f"{len(kept)} children with another in their group, {int(np.isfinite(own).sum())} of them with a value",
            expected="two or more, each with a value",
            remedy="Give more children with lesions.",
        )
    statistic, alike, names = statistic[np.ix_(kept, kept)], alike[np.ix_(kept, kept)], names[kept]
    off = np.where(alike & ~np.eye(len(kept), dtype=bool), statistic, np.nan)
    missed = np.isnan(off).all(axis=1)  # the maps of all others miss this brain: they put nothing on its lesions
    off[missed] = np.where(alike[missed], 0, np.nan)
    others = np.nanmean(off, axis=1)
    filled = np.where(np.isnan(statistic), others[:, None], statistic)
    rng, rows = np.random.default_rng(seed), np.arange(len(kept))
    orders = np.empty((permutations, len(kept)), dtype=np.int64)
    for name in np.unique(names):
        members = np.flatnonzero(names == name)
        orders[:, members] = rng.permuted(np.tile(members, (permutations, 1)), axis=1)
    dealt = filled[rows, orders].mean(axis=1)
    at_least = int((dealt >= own.mean() - 1e-12).sum())  # ties are ties and not rounding
    p = (1 + at_least) / (1 + permutations)
    return Exchange(float(own.mean()), float(others.mean()), own - others, p, permutations)


def _cut(brain: Bool, affine: Float64) -> tuple[tuple[slice, ...], Float64]:
    """The box of voxels around the brain, and its affine."""
    edges = [np.flatnonzero(brain.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*(edge[0] for edge in edges), 1.0])[:3]
    return tuple(slice(int(edge[0]), int(edge[-1]) + 1) for edge in edges), moved


def _boxed(values: Float32, on: Bool, inside: Bool, distance: Float32, affine: Float64, top: NDArray[Any]) -> Boxed:
    world = np.argwhere(inside) @ affine[:3, :3].T + affine[:3, 3]  # (voxels, 3)
    half = np.abs(affine[:3, :3]).sum(axis=1) / 2  # from a voxel's middle to its corner
    low, high = world.min(axis=0) - half, world.max(axis=0) + half
    steps = (high - low) / np.array(BOX)
    points = (np.stack(np.meshgrid(*map(np.arange, BOX), indexing="ij"), axis=-1).reshape(-1, 3) + 0.5) * steps + low
    voxels = np.linalg.solve(affine[:3, :3], (points - affine[:3, 3]).T)  # (3, points)

    def at_points(volume: NDArray[Any]) -> Float32:
        sampled: Float32 = map_coordinates(volume.astype(np.float32), voxels, order=1, mode="nearest")
        return sampled

    place = np.clip((top - low) / steps, 0, np.array(BOX) - 1).astype(int)
    return Boxed(
        at_points(values),
        at_points(on),
        at_points(inside),
        at_points(distance),
        int(np.ravel_multi_index(tuple(place), BOX)),
    )
