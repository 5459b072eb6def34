"""Whether a study's masks can be one child's brain: what is not is refused before it is scored.

A mask's volume and contrast are `study`'s to check, as those of a mask that is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.brain_extraction.extractor import Extracted
from etscnet_edge.errors import InputError
from etscnet_edge.nifti import Volume

MIN_LARGEST = 0.95  # of what the network finds, in one part; the bundle's limit, too
MIN_OVERLAP = (
    0.8  # Dice of two masks of one head, the bundle's limit, too; three real pairs by a small network: 0.928 to 0.952
)
Mask = NDArray[np.bool_]


def check_parts(name: str, volume: Volume, found: Extracted) -> None:
    """Refuse a mask in pieces.

    Raises:
        InputError: the largest part holds too little of it.
    """
    if not found.largest_share >= MIN_LARGEST:
        raise InputError(
            f"{name}: the extracted brain lies in {found.parts} parts, the largest holds {found.largest_share:.0%} of it",
            expected=f"at least {MIN_LARGEST:.0%} in one part",
            remedy=f"Give the brain's mask ({name}_mask).",
            file=volume.file,
        )


def check_overlap(volumes: Mapping[str, Volume], masks: Mapping[str, Mask]) -> dict[str, float]:
    """Refuse masks that lie apart in space.

    Returns:
        "flair and t2w" -> Dice of the two.

    Raises:
        InputError: two masks overlap too little.
    """
    overlaps = {}
    for first, second in combinations(volumes, 2):
        one, other = (volumes[first], masks[first]), (volumes[second], masks[second])
        overlap = _dice(one, other)
        overlaps[f"{first} and {second}"] = round(overlap, 4)
        if not overlap >= MIN_OVERLAP:
            raise InputError(
                f"{second}: its extracted brain overlaps that of {first} by Dice {overlap:.2f}",
                expected=f"at least {MIN_OVERLAP:g}: one head in one place",
                remedy="Check that both series are of one child and one session, and look at the masks; or give masks.",
                file=volumes[second].file,
            )
    return overlaps


def _dice(one: tuple[Volume, Mask], other: tuple[Volume, Mask]) -> float:
    """Twice what both hold by the sum of both, within the field of each other; volumes in mm3.

    Each mask's voxels are looked up in the other's grid, the nearest one, and the two counts of what both hold are averaged: a
    coarse grid and a fine one are treated alike.
    """
    shared, total = 0.0, 0.0
    for (volume, mask), (target, held) in ((one, other), (other, one)):
        voxels = np.argwhere(mask)  # (n, 3)
        way = np.linalg.inv(target.affine) @ volume.affine
        there = np.rint(voxels @ way[:3, :3].T + way[:3, 3]).astype(np.intp)
        seen = ((there >= 0) & (there < held.shape)).all(axis=1)
        edge = abs(float(np.linalg.det(volume.affine[:3, :3])))
        shared += np.count_nonzero(held[tuple(there[seen].T)]) * edge
        total += np.count_nonzero(seen) * edge
    return float(shared / total) if total else 0.0
