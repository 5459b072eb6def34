"""Whether a brain mask can be right: its volume at the child's age, in one piece, inside the field of view, alike in both images.

The limits let every reference mask of the development set and every exact mask of the synthetic cohort pass, and refuse what a
failed extraction looks like: `benchmarks/brain_extraction.py` counts both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from scripts.brain_extraction.carry import Affine, Mask, world_dice
from scripts.brain_extraction.norms import plausible_ml

MIN_LARGEST = 0.95  # of the mask in its largest piece; exact masks: 0.9999 and more
# Of the mask's largest cross-section along an axis, on the field of view's first or last plane there. Exact masks: up to 0.24 at
# the top, where a protocol cuts a tall head, and 0.19 at the bottom, where the brain stem goes on.
MAX_BORDER, MAX_BELOW = 0.35, 0.6
MIN_OVERLAP = 0.8  # Dice in world space; exact masks: 0.97 and more
GATES = ("refuse", "warn")  # what a failed check does
SIDES = (("left", "right"), ("back", "front"), ("bottom", "top"))


@dataclass(frozen=True)
class MaskQuality:
    """One mask's measurements, and what is wrong with it. True where nothing is.

    Attributes:
        volume_ml: of the mask.
        plausible_ml: the least and the largest volume at this age, or at any.
        age_months: of the child; None: not known.
        pieces: connected ones (face to face).
        largest_share: of the mask, in the largest piece.
        border_share: side of the field of view -> share of the largest cross-section that lies on it.
        faults: in words.
    """

    volume_ml: float
    plausible_ml: tuple[float, float]
    age_months: float | None
    pieces: int
    largest_share: float
    border_share: dict[str, float]
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.faults


@dataclass(frozen=True)
class StudyQuality:
    """All masks of one study. True where nothing is wrong.

    Attributes:
        masks: by modality.
        overlap: "flair-t2w" -> Dice in world space, of every pair.
        faults: in words, each with its modality.
    """

    masks: dict[str, MaskQuality]
    overlap: dict[str, float]
    faults: tuple[str, ...]

    def __bool__(self) -> bool:
        return not self.faults

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return asdict(self)


def judge_study(masks: Mapping[str, tuple[Mask, Affine]], *, age_months: float | None = None) -> StudyQuality:
    """Judge every mask, and every two against each other.

    Args:
        masks: modality -> (x, y, z) and its affine (voxel -> RAS+ mm).
        age_months: at MRI; None: not known.
    """
    judged = {name: judge_mask(mask, affine, age_months=age_months) for name, (mask, affine) in masks.items()}
    faults = [f"{name}: {fault}" for name, quality in judged.items() for fault in quality.faults]
    overlap: dict[str, float] = {}
    for first, second in combinations(masks, 2):
        (one, affine), (other, onto) = masks[first], masks[second]
        if not (one.any() and other.any()):
            continue  # an empty mask has its own fault
        shared = overlap[f"{first}-{second}"] = round(world_dice(one, affine, other, onto=onto), 4)
        if not shared >= MIN_OVERLAP:
            faults.append(
                f"the masks of {first} and {second} overlap by a Dice of {shared:.2f} in space, not {MIN_OVERLAP:g}"
            )
    return StudyQuality(judged, overlap, tuple(faults))


def judge_mask(mask: Mask, affine: Affine, *, age_months: float | None = None) -> MaskQuality:
    """Judge one mask, (x, y, z) with its affine (voxel -> RAS+ mm)."""
    ras = nib.orientations.apply_orientation(mask, nib.orientations.io_orientation(affine))
    volume = int(np.count_nonzero(ras)) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    low, high = plausible_ml(age_months)
    labels, pieces = ndimage.label(ras)
    largest = float(np.bincount(labels.ravel())[1:].max() / max(np.count_nonzero(ras), 1)) if pieces else 0.0
    border = _border_shares(ras)
    faults = []
    if not low <= volume <= high:
        when = "at any age" if age_months is None else f"at {age_months:g} months"
        faults.append(f"the mask holds {volume:.0f} ml, not {low:.0f} to {high:.0f} ml as a brain {when}")
    if pieces and largest < MIN_LARGEST:
        faults.append(
            f"the mask is in {pieces} pieces, the largest of which holds {largest:.0%} of it, not {MIN_LARGEST:.0%}"
        )
    for side, share in border.items():
        limit = MAX_BELOW if side == "bottom" else MAX_BORDER
        if share > limit:
            faults.append(
                f"the mask touches the {side} of the field of view with {share:.0%} of its cross-section, not {limit:.0%}"
            )
    return MaskQuality(round(volume, 1), (low, high), age_months, pieces, round(largest, 5), border, tuple(faults))


def _border_shares(ras: Mask) -> dict[str, float]:
    shares: dict[str, float] = {}
    for axis, (first, last) in enumerate(SIDES):
        areas = np.count_nonzero(ras, axis=tuple(other for other in range(3) if other != axis))
        largest = max(int(areas.max()), 1)
        shares |= {first: round(int(areas[0]) / largest, 3), last: round(int(areas[-1]) / largest, 3)}
    return shares
