"""The real pairs of `../shared/mri`, for tests that run on them; nothing of them is copied."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def real_cases(mri: Path) -> list[dict[str, Any]]:
    """The five real pairs: brain-extracted ones as they are, those with a skull by their mask."""
    cases: list[dict[str, Any]] = []
    for subject in ("sub-long01", "sub-long04", "sub-long12"):
        stem, masks = f"{subject}_ses-1", mri / "derivatives" / "openms" / subject / "ses-1" / "anat"
        images = mri / subject / "ses-1" / "anat"
        case = {"case": stem, "brain_extraction": "mask"}
        for key, suffix in (("flair", "FLAIR"), ("t2w", "T2w")):
            case[key] = str(images / f"{stem}_{suffix}.nii.gz")
            case[f"{key}_mask"] = str(masks / f"{stem}_space-{suffix}_desc-brain_mask.nii.gz")
        cases.append(case)
    for subject in ("sub-mni07", "sub-mni19"):
        anat = mri / subject / "anat"
        pair = {"flair": str(anat / f"{subject}_FLAIR.nii.gz"), "t2w": str(anat / f"{subject}_T2w.nii.gz")}
        cases.append({"case": subject, "brain_extraction": "none", **pair})
    return cases
