"""The test for a skull, on images with one and without: no miss, no false alarm.

.venv/bin/python -m benchmarks.skull --mri MRI_DIR --dataset_dir COHORT_DIR

MRI_DIR is ../shared/mri, COHORT_DIR a synthetic cohort (`python -m scripts phantom`). "passed by volume": images whose tissue
fills no more than a brain, which the volume alone would let pass. A head shrunk to 0.65 is as large as a small baby's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from scripts.bids import find_cases
from scripts.brain_extraction.skull import MAX_SKULL_SHARE, skull_share
from scripts.checks import BRAIN_ML
from scripts.command_line.commands import run_function
from tests.real_mri import real_cases

KEYS = ("flair", "t2w")
SHRUNK = 0.65
TOO_LARGE_MM = (3, 6)
Array = NDArray[np.float32]
Image = tuple[str, bool, Array, NDArray[np.float64]]  # group, whether it has a skull, voxels, affine


def images(mri: Path, cohort: Path) -> Iterator[Image]:
    """Every image and what is made of it."""
    for case in tqdm(real_cases(mri), desc="real"):
        for key in KEYS:
            values, affine = _load(case[key])
            if f"{key}_mask" not in case:
                yield "real brains, extracted by their providers", False, values, affine
                continue
            yield "real heads", True, values, affine
            yield f"real heads, shrunk to {SHRUNK}", True, values, affine @ np.diag([SHRUNK] * 3 + [1])
            mask = _load(case[f"{key}_mask"])[0] > 0
            yield "real heads, masked by their references", False, np.where(mask, values, np.float32(0)), affine
            away = ndimage.distance_transform_edt(~mask, sampling=np.linalg.norm(affine[:3, :3], axis=0))
            for mm in TOO_LARGE_MM:
                yield f"the same, masks {mm} mm too large", False, np.where(away <= mm, values, np.float32(0)), affine
    for case in tqdm(find_cases(cohort), desc="synthetic"):
        for key in KEYS:
            values, affine = _load(case[key])
            yield "synthetic heads", True, values, affine
            quiet = np.where(values > 0.05 * np.percentile(values, 99), values, np.float32(0))
            yield "synthetic heads, the background's noise set to 0", True, quiet, affine
            yield f"the same, shrunk to {SHRUNK}", True, quiet, affine @ np.diag([SHRUNK] * 3 + [1])
            mask = _load(case[f"{key}_mask"])[0] > 0
            yield "synthetic heads, masked exactly", False, np.where(mask, values, np.float32(0)), affine


def measure(mri: Path, dataset_dir: Path) -> str:
    """Test images with a skull and without one for it, and print a table, a row a group of images.

    Args:
        mri: folder of the real pairs.
        dataset_dir: BIDS folder of a synthetic cohort with skulls and masks.

    Example:
        python -m benchmarks.skull --mri ../shared/mri --dataset_dir data/cohort
    """
    groups: dict[str, list[tuple[bool, float, bool]]] = defaultdict(list)
    for group, skull, values, affine in images(mri, dataset_dir):
        millilitres = float(np.count_nonzero(values > 0)) * abs(float(np.linalg.det(affine[:3, :3]))) / 1000
        small = BRAIN_ML[0] <= millilitres <= BRAIN_ML[1]
        groups[group].append((skull, skull_share(values, affine), small))
    lines = [
        "| images | number | with skull | skull share, least to largest | passed by volume | refused for a skull | wrong |"
    ]
    lines.append("|---|---:|---|---|---:|---:|---:|")
    errors = 0
    for group, found in groups.items():
        shares = np.array([share for _, share, _ in found])
        refused = ~(shares <= MAX_SKULL_SHARE)
        wrong = int(np.sum(refused != found[0][0]))
        errors += wrong
        passed = sum(small for *_, small in found)
        lines.append(
            f"| {group} | {len(found)} | {'yes' if found[0][0] else 'no'} | {shares.min():.3f} to {shares.max():.3f} "
            f"| {passed} | {int(refused.sum())} | {wrong} |"
        )
    number = sum(map(len, groups.values()))
    return "\n".join(
        [*lines, "", f"{errors} of {number} images wrong; an image is refused from {MAX_SKULL_SHARE:g} on."]
    )


def _load(file: str) -> tuple[Array, NDArray[np.float64]]:
    image = nib.Nifti1Image.from_filename(file)
    return image.get_fdata(dtype=np.float32), image.affine


if __name__ == "__main__":
    run_function(measure)
