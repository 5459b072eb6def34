"""Every way in which a study's files can be broken that we could think of, with words of the message that each must give.

The bundle's tests and the edge package's run over all of them.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.broken_headers import HEADERS, NOT_FINITE, PROMISES, edited
from tests.conftest import write_study


@dataclass
class Study:
    """A study whose files a fault breaks; `entry` is what the datalist says of it."""

    flair: Path
    t2w: Path
    entry: dict[str, str] = field(default_factory=dict)

    def replace_t2w(self, data: np.ndarray, affine: np.ndarray | None = None, name: str = "other_T2w.nii") -> None:
        self.t2w = self.t2w.with_name(name)
        nib.save(nib.Nifti1Image(data, nib.load(self.flair).affine if affine is None else affine), self.t2w)

    def add_masks(self, flair: np.ndarray | None = None, affine: np.ndarray | None = None) -> None:
        """Masks of both images as they should be, but for what is given of FLAIR's."""
        self.entry["brain_extraction"] = "mask"
        for modality, image in (("flair", nib.load(self.flair)), ("t2w", nib.load(self.t2w))):
            mask, place = (image.get_fdata() > 0).astype(np.uint8), image.affine
            if modality == "flair":
                mask, place = mask if flair is None else flair, place if affine is None else affine
            self.entry[f"{modality}_mask"] = str(self.flair.with_name(f"{modality}_mask.nii.gz"))
            nib.save(nib.Nifti1Image(mask, place), self.entry[f"{modality}_mask"])


def t2w_values(study: Study) -> np.ndarray:
    return np.asarray(nib.load(study.t2w).get_fdata(dtype=np.float32))


def with_bytes(change: Callable[[bytes], bytes]) -> Callable[[Study], None]:
    return lambda study: study.t2w.write_bytes(change(study.t2w.read_bytes())) and None


def with_values(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Study], None]:
    return lambda study: study.replace_t2w(change(t2w_values(study)), nib.load(study.t2w).affine)


def with_affine(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Study], None]:
    return lambda study: study.replace_t2w(t2w_values(study), change(nib.load(study.t2w).affine))


def with_voxel(edge: float, shape: tuple[int, int, int] = (48, 56, 20)) -> Callable[[Study], None]:
    data = np.random.default_rng(0).uniform(1, 2, shape).astype(np.float32)
    return lambda study: study.replace_t2w(data, np.diag([edge, edge, edge, 1.0]))


def shifted(affine: np.ndarray, millimetres: float) -> np.ndarray:
    moved = affine.copy()
    moved[2, 3] += millimetres
    return moved


def slanted(affine: np.ndarray) -> np.ndarray:
    sheared = affine.copy()
    sheared[:3, 1] = sheared[:3, 1] + 2 * sheared[:3, 0]
    return sheared


def set_voxels(values: np.ndarray, value: float) -> np.ndarray:
    changed = values.copy()
    changed[24, 28, 10:12] = value
    return changed


def flip_byte(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]


def name_missing(study: Study) -> None:
    study.t2w = Path()


def file_missing(study: Study) -> None:
    study.t2w.unlink()


def folder_instead(study: Study) -> None:
    study.t2w.unlink()
    study.t2w.mkdir()


def same_file(study: Study) -> None:
    study.t2w = study.flair


def symlink(study: Study) -> None:
    study.t2w.unlink()
    study.t2w.symlink_to(study.flair)


def same_bytes(study: Study) -> None:
    shutil.copyfile(study.flair, study.t2w)


def same_voxels(study: Study) -> None:
    nib.save(nib.load(study.flair), study.t2w.with_name("again_T2w.nii"))
    study.t2w = study.t2w.with_name("again_T2w.nii")


def as_t2w(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Study], None]:
    """FLAIR's values changed."""
    return lambda study: study.replace_t2w(change(nib.load(study.flair).get_fdata(dtype=np.float32)))


def flair_with_a_slope(study: Study) -> None:
    study.t2w.write_bytes(edited(study.flair.read_bytes(), scl_slope=2.0, scl_inter=0.0))


def text_in_gzip(study: Study) -> None:
    study.t2w.write_bytes(gzip.compress(b"The scan is on the other disk.\n" * 50))


def nii_cut(study: Study) -> None:
    study.replace_t2w(t2w_values(study))
    study.t2w.write_bytes(study.t2w.read_bytes()[:-1000])


def huge_nii(study: Study) -> None:
    study.replace_t2w(t2w_values(study))
    header = nib.load(study.t2w).header.copy()
    header["dim"][1:4], header["vox_offset"] = 32767, 352
    study.t2w.write_bytes(header.binaryblock + bytes(4))


def too_many_voxels(study: Study) -> None:
    """A file long enough that gzip could hold what the header promises."""
    content = edited(study.t2w.read_bytes(), dim=[3, 900, 900, 900, 1, 1, 1, 1], datatype=2, bitpix=8)
    noise = np.random.default_rng(0).bytes(800_000)
    study.t2w.write_bytes(content + gzip.compress(noise, 0))


def colours(study: Study) -> None:
    study.replace_t2w(np.zeros((48, 56, 20), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))


def skull_left(study: Study) -> None:
    study.replace_t2w(np.random.default_rng(0).uniform(1, 2, (48, 56, 20)).astype(np.float32))


def masks_missing(study: Study) -> None:
    study.entry["brain_extraction"] = "mask"


def mask_on_other_grid(study: Study) -> None:
    study.add_masks(np.ones((24, 28, 10), np.uint8))


def mask_shifted(study: Study) -> None:
    study.add_masks(affine=shifted(nib.load(study.flair).affine, 5.0))


def mask_empty(study: Study) -> None:
    study.add_masks(np.zeros((48, 56, 20), np.uint8))


def mask_damaged(study: Study) -> None:
    study.add_masks()
    path = Path(study.entry["flair_mask"])
    path.write_bytes(path.read_bytes()[:200])


def mask_nowhere(study: Study) -> None:
    study.add_masks()
    path = Path(study.entry["flair_mask"])
    path.write_bytes(edited(path.read_bytes(), srow_x=0))


def mask_with(value: float) -> Callable[[Study], None]:
    def change(study: Study) -> None:
        mask = (nib.load(study.flair).get_fdata() > 0).astype(np.float32)
        study.add_masks(set_voxels(mask, value))

    return change


def constant_in_mask(study: Study) -> None:
    study.add_masks()
    values = t2w_values(study)
    study.replace_t2w(np.where(values > 0, 700, 500 + values).astype(np.float32), nib.load(study.t2w).affine)


def unknown_method(study: Study) -> None:
    study.entry["brain_extraction"] = "fsl"


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
        study = Study(**paths)
        if name in FAULTS:
            FAULTS[name][0](study)
        elif name == "good-with-masks":
            study.add_masks()
        elif name == "good-nii":
            study.replace_t2w(t2w_values(study), nib.load(study.t2w).affine)
        paths = {"flair": study.flair, "t2w": study.t2w}
        entries[name] = {
            "case": name,
            **{modality: str(path) for modality, path in paths.items() if path != Path()},
            **study.entry,
        }
    return entries
