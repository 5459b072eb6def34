"""Seeded heads: a brain, liquor, bone without signal, a scalp; on grids and axes of choice."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

AXES_MM = (64.0, 80.0, 60.0)  # half axes of the brain
BONE_MM, SCALP_MM = 9.0, 6.0


def head(
    *,
    spacing: tuple[float, float, float] = (2.0, 2.0, 4.0),
    size: float = 1.0,
    skull: bool = True,
    scalp: float = 250.0,
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
    seed: int = 0,
) -> tuple[nib.Nifti1Image, np.ndarray]:
    """An image and its brain mask.

    Args:
        spacing: mm.
        size: of everything, relative to an adult's.
        skull: with bone and scalp around the brain.
        scalp: its signal; the brain's is 300.
        offset: of the head in the world, mm.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    reach = size * (np.array(AXES_MM) + BONE_MM + SCALP_MM) + 12
    shape = np.ceil(2 * reach / spacing).astype(int)
    x, y, z = np.meshgrid(
        *[(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing, strict=True)], indexing="ij"
    )
    a, b, c = (size * axis for axis in AXES_MM)
    depth = (
        (np.sqrt((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2) - 1) * (a + b + c) / 3
    )  # mm outside of the brain, about
    brain = depth < 0
    values = np.where(brain, 300 + 40 * rng.standard_normal(shape) + 60 * np.sin(x / 9) * np.cos(y / 11), 0)
    if skull:
        bone, outside = size * BONE_MM, size * (BONE_MM + SCALP_MM)
        values = np.where((depth >= 0) & (depth < bone), 15 + 5 * rng.standard_normal(shape), values)
        values = np.where((depth >= bone) & (depth < outside), scalp + 20 * rng.standard_normal(shape), values)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(shape - 1) / 2 * spacing + offset
    return nib.Nifti1Image(np.clip(values, 0, None).astype(np.int16), affine), brain


def write_heads(root: Path, subjects: int = 2, *, skull: bool = True) -> list[str]:
    """A BIDS folder of pairs on two grids; participants.tsv gives an age of 6 years. Returns the subjects."""
    names = [f"sub-{number + 1:02d}" for number in range(subjects)]
    for number, name in enumerate(names):
        (root / name / "anat").mkdir(parents=True)
        for suffix, spacing in (("FLAIR", (2.0, 2.0, 5.0)), ("T2w", (1.8, 1.8, 4.0))):
            image, _ = head(spacing=spacing, skull=skull, seed=10 * number + len(suffix))
            nib.save(image, root / name / "anat" / f"{name}_{suffix}.nii.gz")
    (root / "participants.tsv").write_text(
        "participant_id\toutcome\tage_mri_months\n" + "".join(f"{name}\tcontrolled\t72\n" for name in names)
    )
    return names
