"""Every way in which a study's files can be broken that we could think of, with words of the message that each must give.

The bundle's tests and the edge package's run over all of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.broken_files import (
    Study,
    as_t2w,
    colours,
    constant_in_mask,
    file_missing,
    flair_with_a_slope,
    flip_byte,
    folder_instead,
    huge_nii,
    mask_damaged,
    mask_empty,
    mask_nowhere,
    mask_on_other_grid,
    mask_shifted,
    mask_with,
    masks_missing,
    name_missing,
    nii_cut,
    same_bytes,
    same_file,
    same_voxels,
    set_voxels,
    shifted,
    skull_left,
    slanted,
    symlink,
    t2w_values,
    text_in_gzip,
    too_many_voxels,
    unknown_method,
    with_affine,
    with_bytes,
    with_values,
    with_voxel,
)
from tests.broken_headers import HEADERS, NOT_FINITE, PROMISES
from tests.conftest import write_study

CUT, CHECKSUM = "cut short or damaged (Compressed file ended", "cut short or damaged (CRC check failed"
SCALE, FLAT = "its voxels equal flair's but for their scale", "the brain has no contrast"
# name -> what breaks the study, and the words of the message that no other kind of fault shares.
FAULTS: dict[str, tuple[Callable[[Study], None], str]] = {
    "no-t2w": (name_missing, "no t2w file is given"),
    "t2w-not-there": (file_missing, "there is no t2w file"),
    "t2w-a-folder": (folder_instead, "the t2w path is a folder"),
    "same-file": (same_file, "flair and t2w are the same image"),
    "symlink": (symlink, "flair and t2w are the same image"),
    "same-bytes": (same_bytes, "flair and t2w are the same image"),
    "same-voxels": (same_voxels, SCALE),
    "same-with-a-slope": (flair_with_a_slope, SCALE),
    "same-scaled": (as_t2w(lambda values: values * np.float32(1.7)), SCALE),
    "same-but-for-two-voxels": (as_t2w(lambda values: set_voxels(values, 333)), SCALE),
    "zero-bytes": (with_bytes(lambda _: b""), "the file is empty"),
    "text": (with_bytes(lambda _: b"<html>404 Not Found</html>" * 40), "Not a gzipped file"),
    "text-in-gzip": (text_in_gzip, "not NIfTI (the header's magic word"),
    **{name: (with_bytes(change), words) for name, (change, words) in HEADERS.items()},
    "cut-at-10-percent": (
        with_bytes(lambda content: content[: len(content) // 10]),
        CUT,
    ),
    "cut-at-half": (
        with_bytes(lambda content: content[: len(content) // 2]),
        CUT,
    ),
    "cut-in-the-header": (with_bytes(lambda content: content[:60]), CUT),
    "cut-before-checksum": (with_bytes(lambda content: content[:-8]), CUT),
    "byte-flipped": (with_bytes(flip_byte), "cut short or damaged ("),
    "checksum-wrong": (
        with_bytes(lambda content: content[:-8] + b"\0" * 4 + content[-4:]),
        CHECKSUM,
    ),
    "nii-cut": (nii_cut, PROMISES),
    "huge-header": (huge_nii, PROMISES),
    "too-many-voxels": (too_many_voxels, "the image has 729000000 voxels"),
    "2-d": (with_values(lambda values: values[:, :, 10]), "the shape (52, 60)"),
    "one-slice": (with_values(lambda values: values[:, :, 10:11]), "the shape (52, 60, 1)"),
    "4-d": (with_values(lambda values: np.stack([values, values], axis=3)), "the shape (52, 60, 20, 2)"),
    "5-d": (with_values(lambda values: values[..., None, None].repeat(2, 4)), "the shape (52, 60, 20, 1, 2)"),
    "colours": (colours, "its voxels are colours"),
    "complex": (with_values(lambda values: values.astype(np.complex64)), "its voxels are complex numbers"),
    "nan": (with_values(lambda values: set_voxels(values, np.nan)), "2 voxels are NaN or infinite"),
    "inf": (with_values(lambda values: set_voxels(values, -np.inf)), "2 voxels are NaN or infinite"),
    "beyond-float32": (
        with_values(lambda values: set_voxels(values.astype(np.float64), 1e300)),
        "2 voxels are NaN or infinite",
    ),
    "constant": (with_values(lambda values: np.full_like(values, 7)), "all intensities lie between 7 and 7"),
    "all-zero": (with_values(np.zeros_like), "all intensities lie between 0 and 0"),
    "image-a-mask": (with_values(lambda values: (values > 0).astype(np.uint8)), FLAT),
    "constant-in-the-mask": (constant_in_mask, FLAT),
    "two-voxels-of-1e30": (with_values(lambda values: set_voxels(values, 1e30)), FLAT),
    "all-negative": (with_values(lambda values: -values - 1), "and -1;"),
    "voxel-0.01-mm": (with_voxel(0.01), "voxels of 0.01 x 0.01 x 0.01 mm"),
    "voxel-50-mm": (with_voxel(50.0), "voxels of 50 x 50 x 50 mm"),
    "view-of-10-mm": (with_voxel(1.0, (10, 10, 10)), "a field of view of 10 x 10 x 10 mm"),
    "view-of-2-m": (with_voxel(10.0, (200, 20, 20)), "a field of view of 2000 x 200 x 200 mm"),
    "axes-slanted": (with_affine(slanted), "is no position in space"),
    "60-mm-apart": (with_affine(lambda affine: shifted(affine, 60)), "its centre lies 61 mm from that of flair"),
    "skull-left": (skull_left, "the brain-extracted image fills 4610 ml"),
    "no-brain": (with_values(lambda values: values * (values > 480)), "the brain-extracted image fills"),
    "mask-missing": (masks_missing, "no flair_mask file is given"),
    "mask-on-other-grid": (mask_on_other_grid, "flair_mask: its grid is (24, 28, 10)"),
    "mask-shifted": (mask_shifted, "flair_mask: its grid is (48, 56, 20)"),
    "mask-empty": (mask_empty, "the brain-extracted image fills 0 ml"),
    "mask-nan": (mask_with(np.nan), NOT_FINITE),
    "mask-infinite": (mask_with(np.inf), NOT_FINITE),
    "mask-damaged": (mask_damaged, CUT),
    "mask-nowhere": (mask_nowhere, "is no position in space"),
    "method-unknown": (unknown_method, "brain_extraction is 'fsl'; expected one of hd-bet, bet, mask, none"),
}
GOOD = ("good", "good-with-masks", "good-nii")
AT_FLAIR = {"mask-empty", "same-file"}  # the message names FLAIR's file; elsewhere T2w's, or the mask
NO_FILE = {"no-t2w", "mask-missing", "method-unknown"}  # and here none


def write_studies(folder: Path) -> dict[str, dict[str, str]]:
    """Every broken study and the good ones, name -> its entry of a datalist."""
    model = write_study(folder, "sub-model", seed=1)
    entries: dict[str, dict[str, str]] = {}
    for name in (GOOD[0], *FAULTS, *GOOD[1:]):  # good ones before, between and behind
        (folder / name).mkdir()
        paths = {modality: folder / name / Path(path).name for modality, path in model.items()}
        for modality, path in paths.items():
            shutil.copyfile(model[modality], path)
        study = Study(paths["flair"], paths["t2w"])
        if name in FAULTS:
            FAULTS[name][0](study)
        elif name == "good-with-masks":
            study.add_masks()
        elif name == "good-nii":
            study.replace_t2w(t2w_values(study), nib.Nifti1Image.from_filename(study.t2w).affine)
        paths = {"flair": study.flair, "t2w": study.t2w}
        entries[name] = {
            "case": name,
            **{modality: str(path) for modality, path in paths.items() if path != Path()},
            **study.entry,
        }
    return entries
