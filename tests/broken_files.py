"""The ways to break a study's files: each is a function that does it to a good `Study`."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np

from tests.broken_headers import edited


@dataclass
class Study:
    """A study whose files a fault breaks; `entry` is what the datalist says of it."""

    flair: Path
    t2w: Path
    entry: dict[str, str] = field(default_factory=dict)

    def replace_t2w(self, data: np.ndarray, affine: np.ndarray | None = None, name: str = "other_T2w.nii") -> None:
        self.t2w = self.t2w.with_name(name)
        nib.save(
            nib.Nifti1Image(data, nib.Nifti1Image.from_filename(self.flair).affine if affine is None else affine),
            self.t2w,
        )

    def add_masks(self, flair: np.ndarray | None = None, affine: np.ndarray | None = None) -> None:
        """Masks of both images as they should be, but for what is given of FLAIR's."""
        self.entry["brain_extraction"] = "mask"
        for modality, image in (
            ("flair", nib.Nifti1Image.from_filename(self.flair)),
            ("t2w", nib.Nifti1Image.from_filename(self.t2w)),
        ):
            mask, place = (image.get_fdata() > 0).astype(np.uint8), image.affine
            if modality == "flair":
                mask, place = mask if flair is None else flair, place if affine is None else affine
            self.entry[f"{modality}_mask"] = str(self.flair.with_name(f"{modality}_mask.nii.gz"))
            nib.save(nib.Nifti1Image(mask, place), self.entry[f"{modality}_mask"])


def t2w_values(study: Study) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(study.t2w).get_fdata(dtype=np.float32))


def with_bytes(change: Callable[[bytes], bytes]) -> Callable[[Study], None]:
    def break_t2w(study: Study) -> None:
        study.t2w.write_bytes(change(study.t2w.read_bytes()))

    return break_t2w


def with_values(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Study], None]:
    return lambda study: study.replace_t2w(change(t2w_values(study)), nib.Nifti1Image.from_filename(study.t2w).affine)


def with_affine(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Study], None]:
    return lambda study: study.replace_t2w(t2w_values(study), change(nib.Nifti1Image.from_filename(study.t2w).affine))


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
    nib.save(nib.Nifti1Image.from_filename(study.flair), study.t2w.with_name("again_T2w.nii"))
    study.t2w = study.t2w.with_name("again_T2w.nii")


def as_t2w(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Study], None]:
    """FLAIR's values changed."""
    return lambda study: study.replace_t2w(
        change(nib.Nifti1Image.from_filename(study.flair).get_fdata(dtype=np.float32))
    )


def flair_with_a_slope(study: Study) -> None:
    study.t2w.write_bytes(edited(study.flair.read_bytes(), scl_slope=2.0, scl_inter=0.0))


def text_in_gzip(study: Study) -> None:
    study.t2w.write_bytes(gzip.compress(b"The scan is on the other disk.\n" * 50))


def nii_cut(study: Study) -> None:
    study.replace_t2w(t2w_values(study))
    study.t2w.write_bytes(study.t2w.read_bytes()[:-1000])


def huge_nii(study: Study) -> None:
    study.replace_t2w(t2w_values(study))
    header = nib.Nifti1Image.from_filename(study.t2w).header.copy()
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
    study.add_masks(affine=shifted(nib.Nifti1Image.from_filename(study.flair).affine, 5.0))


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
        mask = (nib.Nifti1Image.from_filename(study.flair).get_fdata() > 0).astype(np.float32)
        study.add_masks(set_voxels(mask, value))

    return change


def constant_in_mask(study: Study) -> None:
    study.add_masks()
    values = t2w_values(study)
    study.replace_t2w(
        np.where(values > 0, 700, 500 + values).astype(np.float32), nib.Nifti1Image.from_filename(study.t2w).affine
    )


def unknown_method(study: Study) -> None:
    study.entry["brain_extraction"] = "fsl"
