"""Whether a study's masks can be one child's brain, by the limits of the export's manifest, which are the bundle's own.

A mask's volume and contrast, and whether a skull still shows, are `study`'s to check, as of a mask that is given. The bundle's
gate knows the child's age, too; here a volume may be that of any age.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.brain_extraction.extractor import Extracted
from etscnet_edge.errors import InputError
from etscnet_edge.nifti import Volume

GATES = ("refuse", "warn")  # what a failed check does
SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))  # of the field of view, in RAS
Mask = NDArray[np.bool_]
Gate = Mapping[str, float]


def mask_faults(name: str, volume: Volume, found: Extracted, gate: Gate) -> list[InputError]:
    """What is wrong with one mask: pieces, or brain cut off by the field of view.

    Args:
        name: of the modality.
        volume: the image, in RAS.
        found: its mask.
        gate: "min_largest", "max_border", "max_below": shares, see BrainManifest.gate.
    """
    faults, remedy = [], f"Look at the image; give the brain's mask ({name}_mask), or --mask_quality warn."
    if not found.largest_share >= gate["min_largest"]:
        said = f"{name}: the extracted brain lies in {found.parts} parts, the largest holds {found.largest_share:.0%} of it"
        expected = f"at least {gate['min_largest']:.0%} in one part"
        faults.append(InputError(said, expected=expected, remedy=remedy, file=volume.file))
    for side, share in border_shares(found.mask).items():
        most = gate["max_below"] if side == "bottom" else gate["max_border"]
        if not share <= most:
            said = f"{name}: the extracted brain touches the {side} of the field of view with {share:.0%} of its cross-section"
            faults.append(InputError(said, expected=f"at most {most:.0%}", remedy=remedy, file=volume.file))
    return faults


def border_shares(mask: Mask) -> dict[str, float]:
    """Side of the field of view -> how much of the mask's largest cross-section along that axis lies on it.

    Args:
        mask: (x, y, z) in RAS.
    """
    shares: dict[str, float] = {}
    for axis, (first, last) in enumerate(SIDES):
        areas = np.count_nonzero(mask, axis=tuple(other for other in range(3) if other != axis))
        largest = max(int(areas.max()), 1)
        shares |= {first: round(int(areas[0]) / largest, 3), last: round(int(areas[-1]) / largest, 3)}
    return shares


def overlaps(volumes: Mapping[str, Volume], masks: Mapping[str, Mask]) -> dict[tuple[str, str], float]:
    """Every two modalities -> Dice of their masks in space."""
    return {
        (first, second): round(_dice((volumes[first], masks[first]), (volumes[second], masks[second])), 4)
        for first, second in combinations(volumes, 2)
    }


def overlap_faults(
    volumes: Mapping[str, Volume], shared: Mapping[tuple[str, str], float], gate: Gate
) -> list[InputError]:
    """Masks that lie apart in space.

    Args:
        volumes: by modality.
        shared: see `overlaps`.
        gate: "min_overlap", a Dice.
    """
    return [
        InputError(
            f"{second}: its extracted brain overlaps that of {first} by Dice {overlap:.2f}",
            expected=f"at least {gate['min_overlap']:g}: one head in one place",
            remedy="Check that both series are of one child and one session, and look at the images; or give masks.",
            file=volumes[second].file,
        )
        for (first, second), overlap in shared.items()
        if not overlap >= gate["min_overlap"]
    ]


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
