"""A child's map beside its lesion labels, read and compared: what `localization` sums up.

Labels: `derivatives/*/sub-XX[/ses-Y]/anat/*_space-{FLAIR,T2w}_desc-lesions_dseg.nii.gz`, on the image's own grid as the map is;
their meaning in the same derivative's `desc-lesions_dseg.tsv`. No torch.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from scripts.bids import SUFFIXES, Case
from scripts.errors import InputError
from scripts.explanation.maps import bids_name, map_path
from scripts.explanation.overlap import Overlap, overlap

TUBERS = ("tuber", "cyst part of a tuber")  # names in desc-lesions_dseg.tsv


@dataclass(frozen=True)
class Found:
    """One map: what it was compared with, or why it was left out."""

    case: str
    sidecar: Mapping[str, Any]
    measured: Overlap | None
    random: Overlap | None
    left_out: str = ""


@dataclass(frozen=True)
class LesionReader:
    """Case and modality -> its map, compared with its lesions.

    Attributes:
        dataset_dir: BIDS folder with the lesion labels in a derivative.
        maps_dir: of the maps.
        random_dir: of the maps of random weights; None without.
        tolerance_mm: of the pointing game.
        method: of the maps.
    """

    dataset_dir: Path
    maps_dir: Path
    random_dir: Path | None
    tolerance_mm: float
    method: str

    def __call__(self, case: Case, modality: str) -> Found:
        """Raises InputError: a map, a label volume or their meaning is missing or on another grid."""
        name, relative = str(case["case"]), map_path(case["case"], modality, method=self.method)
        values, affine = _volume(self.maps_dir / relative, name)
        sidecar = json.loads((self.maps_dir / str(relative).replace(".nii.gz", ".json")).read_text())
        labels, codes = self._labels(name, modality)
        on = np.isin(self._same_grid(labels, values.shape, affine, name), codes)
        inside = case.get(f"{modality}_mask") or case[modality]  # without a mask the image is brain-extracted
        brain = self._same_grid(Path(inside), values.shape, affine, name) > 0
        measured = overlap(values, on, brain, affine, tolerance_mm=self.tolerance_mm)
        random = None
        if self.random_dir is not None and measured is not None:
            drawn = self._same_grid(self.random_dir / relative, values.shape, affine, name)
            random = overlap(drawn, on, brain, affine, tolerance_mm=self.tolerance_mm)
        reason = ""
        if measured is None:
            reason = "no tubers" if not (on & brain).any() else "the map is 0 everywhere"
        return Found(name, sidecar, measured, random, reason)

    def _labels(self, case: str, modality: str) -> tuple[Path, list[int]]:
        folder = Path(*bids_name(case).split("_"), "anat")
        file = f"{bids_name(case)}_space-{SUFFIXES[modality]}_desc-lesions_dseg.nii.gz"
        found = sorted((self.dataset_dir / "derivatives").glob(f"*/{folder}/{file}"))
        if len(found) != 1:
            raise InputError(
                f"{len(found)} files of lesion labels",
                expected=f"one derivatives/*/{folder}/{file}",
                remedy="Localization needs to know where the lesions are.",
                case=case,
            )
        table = found[0].parents[len(folder.parts)] / "desc-lesions_dseg.tsv"
        if not table.is_file():
            raise InputError(
                "there is no such file",
                expected="columns index and name",
                remedy="Say what the labels mean.",
                file=table,
            )
        with table.open(newline="") as stream:
            rows = list(csv.DictReader(stream, delimiter="\t"))
        codes = [int(row["index"]) for row in rows if row.get("name") in TUBERS]
        if not codes:
            raise InputError(
                "no label is called " + " or ".join(TUBERS), expected="tubers", remedy="Correct the table.", file=table
            )
        return found[0], codes

    @staticmethod
    def _same_grid(path: Path, shape: tuple[int, ...], affine: NDArray[np.float64], case: str) -> NDArray[np.float32]:
        values, own = _volume(path, case)
        if values.shape != shape or not np.allclose(own, affine, atol=1e-2):
            raise InputError(
                f"its grid is {values.shape}, that of the map {shape}, or their affines differ",
                expected="one grid",
                remedy="Make the maps again from this data set.",
                case=case,
                file=path,
            )
        return values


def _volume(path: Path, case: str) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    try:
        image = nib.Nifti1Image.from_filename(path)
        return np.asarray(image.dataobj, dtype=np.float32), image.affine
    except (OSError, EOFError, ValueError) as error:
        raise InputError(
            f"it cannot be read ({error})", expected="a NIfTI image", remedy="Make it again.", case=case, file=path
        ) from error
