"""The dictionary transforms that MONAI lacks: reading with a clear word on every fault, checks, brain extraction, fused scores.

A case is a dictionary: "case" its name, one path a modality ("flair", "t2w"), for brain masks "flair_mask", "t2w_mask". After
reading, a modality holds a MetaTensor (1, x, y, z) with its affine (voxel -> RAS+ millimetres). Units: mm, ml.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, Orientation, Transform

from scripts.brain_extraction import hd_bet, picture
from scripts.brain_extraction.masks import COMPUTED, Extractor
from scripts.brain_extraction.norms import age_months
from scripts.brain_extraction.quality import GATES, StudyQuality, judge_study
from scripts.checks import (
    Case,
    check_brain,
    check_finite,
    check_geometry,
    check_pair,
    check_values,
    fault,
)
from scripts.errors import InputError, RefusedMaskError
from scripts.network import ETSCNet
from scripts.nifti import read_nifti


class LoadStudyd(MapTransform):
    """Read every modality's NIfTI file to a MetaTensor (1, x, y, z) float32, slope and intercept applied.

    Raises:
        InputError: a modality is missing, its file doesn't exist or equals another's, or `read_nifti` refuses it.
    """

    def __call__(self, data: Case) -> dict[Hashable, Any]:
        case = dict(data)
        paths = {str(key): _existing_file(case, str(key)) for key in self.keys}
        _refuse_identical(str(case["case"]), paths)
        return {**case, **{key: read_nifti(path, case=str(case["case"])) for key, path in paths.items()}}


def _existing_file(case: Case, key: str) -> Path:
    path = case.get(key)
    if path and Path(path).is_file():
        return Path(path)
    if path and Path(path).exists():
        found = f"the {key} path is a folder"
    else:
        found = f"there is no {key} file" if path else f"no {key} file is given"
    remedy = f"Give the {key} file, or leave the case out."
    raise InputError(found, expected="a NIfTI file", remedy=remedy, case=str(case["case"]), file=path)


def _refuse_identical(name: str, paths: Mapping[str, Path]) -> None:
    """Two modalities from one file, or from two files with the same bytes, are a mix-up."""
    for (first, one), (second, other) in combinations(paths.items(), 2):
        same = one.samefile(other) or (one.stat().st_size == other.stat().st_size and _digest(one) == _digest(other))
        if same:
            raise InputError(
                f"{first} and {second} are the same image ({one.name}, {other.name})",
                expected=f"the {first} and the {second} series of one child",
                remedy=f"Give the {second} file in place of the copy.",
                case=name,
                file=other,
            )


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class CheckStudyd(MapTransform):
    """Refuse what can't be a pair of head images, before anything is computed from it. The images pass unchanged.

    Raises:
        InputError: values that are not finite, a constant or empty image, a voxel size or field of view that holds no head,
            modalities whose fields of view lie apart in world space, or whose voxels are equal but for their scale.
    """

    def __call__(self, data: Case) -> Case:
        for key in self.keys:
            check_values(data, str(key))
            check_geometry(data, str(key))
        for first, second in combinations(map(str, self.keys), 2):
            check_pair(data, first, second)
        return data


class BrainExtractiond(MapTransform):
    """Set everything but the brain to 0, by one of the `METHODS`:

    - "hd-bet": by the network of the package hd-bet.
    - "bet": by a growing surface, without weights (the package brainextractor).
    - "mask": by the mask file of each modality, `<modality>_mask` in the case, on that image's own grid.
    - "none": the images are brain-extracted already.

    A case overrides the method by an entry "brain_extraction" of its own. A computed mask passes the quality gate
    (`brain_extraction.quality`), every result the test for a skull (`brain_extraction.skull`). What was done, and what the gate
    found, is added to the case as "extraction" (JSON) and "extraction_faults" (text).

    Args:
        keys: the modalities.
        method: one of `METHODS`.
        hd_bet_weights: HD-BET's model folder; None: its own, ~/hd-bet_params/release_2.0.0.
        hd_bet_mirroring: HD-BET's test-time augmentation, eight times as much work.
        device: of HD-BET.
        mask_quality: what a failed check of a computed mask does: "refuse" the case, or "warn" in its result.

    Raises:
        InputError: an unknown method, no mask, a mask on another grid or with voxels that are not finite, a brain of no human
            size or without contrast, an image that shows a skull.
        UnavailableError: the method's package or weights are not there.
        RefusedMaskError: the quality gate.
    """

    METHODS = ("hd-bet", "bet", "mask", "none")

    def __init__(
        self,
        keys: Sequence[str],
        method: str,
        *,
        hd_bet_weights: str | Path | None = None,
        hd_bet_mirroring: bool = False,
        device: str | torch.device = "cpu",
        mask_quality: str = "refuse",
    ) -> None:
        super().__init__(keys)
        self.method = self._known(method)
        if mask_quality not in GATES:
            expected = f"one of {', '.join(GATES)}"
            raise InputError(f"mask_quality is {mask_quality!r}", expected=expected, remedy="Correct it.")
        weights = None if hd_bet_weights is None else str(hd_bet_weights)
        self.mask_quality = mask_quality
        # This object is part of the cache's key: a rank's number must not be, the weights' content must.
        self.hd_bet = (weights, torch.device(device).type, bool(hd_bet_mirroring)) if method == "hd-bet" else None
        self.weights_sha256 = hd_bet.fingerprint(weights) if method == "hd-bet" else None

    def __call__(self, data: Case) -> dict[Hashable, Any]:
        case = dict(data)
        method = self._known(str(case.get("brain_extraction") or self.method), case=str(case["case"]))
        if method in COMPUTED:
            case = self._computed(case, method)
        elif method == "mask":
            case |= {key: case[key] * self._mask(case, key) for key in map(str, self.keys)}
        for key in map(str, self.keys):
            check_brain(case, key, method)
        return case

    def _known(self, method: str, *, case: str | None = None) -> str:
        if method not in self.METHODS:
            expected = f"one of {', '.join(self.METHODS)}"
            raise InputError(f"brain_extraction is {method!r}", expected=expected, remedy="Correct it.", case=case)
        return method

    def _computed(self, case: dict[Hashable, Any], method: str) -> dict[Hashable, Any]:
        """The case with its brains extracted, or refused."""
        weights, device, mirroring = self.hd_bet or (None, "cpu", False)
        extractor = Extractor(method, weights, device, mirroring)
        how = extractor.describe()
        images = {str(key): (case[key][0].numpy(), case[key].affine.numpy().astype(float)) for key in self.keys}
        masks = {key: extractor.mask(values, affine) for key, (values, affine) in images.items()}
        path = case[self.keys[0]].meta.get("filename_or_obj")
        judged = judge_study(
            {key: (mask, images[key][1]) for key, mask in masks.items()}, age_months=age_months(path) if path else None
        )
        if not judged and self.mask_quality == "refuse":
            raise _refused(
                str(case["case"]), judged, {key: (images[key][0], masks[key], images[key][1]) for key in masks}
            )
        case |= {key: case[key] * torch.from_numpy(mask)[None] for key, mask in masks.items()}
        return {**case, "extraction": json.dumps(how), "extraction_faults": "; ".join(judged.faults)}

    def _mask(self, case: Case, key: str) -> torch.Tensor:
        image, name = case[key], f"{key}_mask"
        mask = read_nifti(_existing_file(case, name), case=str(case["case"]))
        check_geometry({**case, name: mask}, name)
        mask = Orientation(axcodes="".join(nib.aff2axcodes(image.affine.numpy())), labels=None)(mask)  # type: ignore[assignment]
        if mask.shape != image.shape or not np.allclose(mask.affine, image.affine, atol=1e-2):
            found = f"its grid is {tuple(mask.shape[1:])} with affine {mask.affine[:3].tolist()}"
            expected = f"the image's, {tuple(image.shape[1:])} with affine {image.affine[:3].tolist()}"
            raise fault(
                {**case, name: mask}, name, found, expected, "Resample the mask to its image (nearest neighbour)."
            )
        check_finite({**case, name: mask}, name)
        return (mask.as_tensor() > 0).to(torch.float32)


def _refused(
    case: str, judged: StudyQuality, studies: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> RefusedMaskError:
    error = RefusedMaskError(
        "; ".join(judged.faults),
        expected="a brain's mask",
        remedy="Look at its picture; give another --brain_extraction (hd-bet, bet, mask, none), or --mask_quality warn.",
        case=case,
    )
    error.picture = picture.refusal_picture(picture.strip(studies, refused=True), case, judged.faults)
    return error


class FuseScoresd(Transform):
    """Replace a case's logits (M,) under "pred" by the fused score (1,), and add its branches' scores (M,) as "branch_scores"."""

    def __init__(self, network: ETSCNet) -> None:
        self.network = network

    def __call__(self, data: Case) -> dict[Hashable, Any]:
        logits = data["pred"].as_tensor() if isinstance(data["pred"], MetaTensor) else data["pred"]
        fused = self.network.fuse(logits[None])[0]
        return {**data, "pred": fused, "branch_scores": torch.sigmoid(logits)}
