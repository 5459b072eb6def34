"""The edge's gate on computed masks is the bundle's, its limits the manifest's; what it refuses can be let pass with a word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from etscnet_edge.brain_extraction.checks import border_shares, mask_faults, overlap_faults, overlaps
from etscnet_edge.brain_extraction.extractor import Extracted
from etscnet_edge.brain_extraction.manifest import NAME, read_brain_manifest
from etscnet_edge.brain_extraction.parts import parts
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.nifti import Volume, read_volume

from export.brain_extraction import export_brain_extraction
from scripts.brain_extraction import quality
from tests.brain_extraction.heads import head
from tests.nnunet_folder import write_bright_is_brain

GATE = {
    "min_largest": quality.MIN_LARGEST,
    "max_border": quality.MAX_BORDER,
    "max_below": quality.MAX_BELOW,
    "min_overlap": quality.MIN_OVERLAP,
}
Change = Callable[[np.ndarray], np.ndarray]


def study(folder: Path, change: Change = lambda mask: mask, **options: Any) -> tuple[Volume, Extracted]:
    """A head as the edge reads it, and a changed mask of its brain as the edge's network would have found it."""
    image, brain = head(spacing=(2.0, 2.0, 4.0), **options)
    nib.save(image, folder / "image.nii.gz")
    volume = read_volume(
        folder / "image.nii.gz", orientation="RAS", limits={"max_voxels": 10**8, "min_squareness": 0.7}
    )
    mask = change(brain.copy())
    _, voxels = parts(mask)
    return volume, Extracted(mask, 0.0, int(voxels.size), float(voxels[0] / voxels.sum()), 0.0, 1, 0.0)


def in_two(mask: np.ndarray) -> np.ndarray:
    middle = mask.shape[1] // 2
    mask[:, middle - 3 : middle + 3] = False
    return mask


def at_the_top(share: float) -> Change:
    """The brain shifted up, until a plane of about this share of its largest lies on the field's last plane."""

    def shifted(mask: np.ndarray) -> np.ndarray:
        areas = np.count_nonzero(mask, axis=(0, 1))
        plane = max(index for index in np.flatnonzero(areas) if areas[index] >= share * areas.max())
        by = mask.shape[2] - 1 - plane
        moved: np.ndarray = np.roll(mask, by, axis=2) & (np.arange(mask.shape[2]) >= by)
        return moved

    return shifted


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda mask: mask, None),
        (in_two, "lies in 2 parts, the largest holds 5"),
        (at_the_top(0.2), None),
        (at_the_top(0.6), "touches the top of the field of view"),
        (lambda mask: at_the_top(0.5)(mask[..., ::-1])[..., ::-1], None),  # a brain stem that goes on
        (lambda mask: at_the_top(0.9)(mask[..., ::-1])[..., ::-1], "touches the bottom of the field of view"),
    ],
)
def test_a_mask_is_judged_as_by_the_bundle(tmp_path: Path, change: Change, words: str | None) -> None:
    volume, found = study(tmp_path, change)
    faults = mask_faults("flair", volume, found, GATE)
    judged = quality.judge_mask(found.mask, volume.affine)
    assert border_shares(found.mask) == judged.border_share
    assert len(faults) == len(judged.faults) == (words is not None)
    if words:
        assert f"flair: the extracted brain {words}" in str(faults[0]) and "flair_mask" in str(faults[0])


@pytest.mark.parametrize(("shift_mm", "apart"), [(0.0, False), (30.0, True)])
def test_masks_that_lie_apart_are_told_as_by_the_bundle(tmp_path: Path, shift_mm: float, apart: bool) -> None:
    studies = {}
    for name, offset in (("flair", 0.0), ("t2w", shift_mm)):
        (tmp_path / name).mkdir()
        studies[name] = study(tmp_path / name, offset=(0.0, 0.0, offset))
    volumes = {name: volume for name, (volume, _) in studies.items()}
    masks = {name: found.mask for name, (_, found) in studies.items()}
    shared = overlaps(volumes, masks)
    judged = quality.judge_study({name: (masks[name], volumes[name].affine) for name in masks})
    assert shared["flair", "t2w"] == pytest.approx(judged.overlap["flair-t2w"], abs=0.01)
    faults = overlap_faults(volumes, shared, GATE)
    assert bool(faults) is bool(judged.faults) is apart
    assert not faults or "t2w: its extracted brain overlaps that of flair by Dice 0" in str(faults[0])
    assert overlaps({"flair": volumes["flair"]}, masks) == {}


@pytest.fixture(scope="module")
def with_gate(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export whose brain extraction takes for brain what is bright."""
    folder = tmp_path_factory.mktemp("gate")
    shutil.copytree(exports, folder / "exports")
    export_brain_extraction(write_bright_is_brain(folder / "model"), folder / "exports")
    return folder / "exports"


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Heads whose upper third the field of view does not hold."""
    folder = tmp_path_factory.mktemp("cut")
    for name, spacing in (("flair", (4.0, 4.0, 6.0)), ("t2w", (4.0, 4.0, 5.0))):
        image, _ = head(spacing=spacing, scalp=60.0, size=1.1)
        planes = round(image.shape[2] * 0.68)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[..., :planes], image.affine), folder / f"{name}.nii.gz")
    return {name: str(folder / f"{name}.nii.gz") for name in ("flair", "t2w")}


def test_a_brain_that_is_cut_off_is_refused_or_let_pass_with_a_word(with_gate: Path, cut_off: dict[str, str]) -> None:
    words = r"flair: the extracted brain touches the top of the field of view with \d\d% .*--mask_quality warn"
    with (
        Classifier(with_gate, form="standard", brain_extraction="network") as classifier,
        pytest.raises(InputError, match=words),
    ):
        classifier.predict(cut_off)
    with Classifier(with_gate, form="standard", brain_extraction="network", mask_quality="warn") as classifier:
        found = classifier.predict(cut_off)
    how = found.brain_extraction
    assert how["mask_quality"] == "warn" and len(how["faults"]) == 2
    assert set(how["faults"]) <= set(found.warnings)
    assert how["images"]["flair"]["border"]["top"] > quality.MAX_BORDER


def test_the_limits_are_the_manifests(with_gate: Path, cut_off: dict[str, str], tmp_path: Path) -> None:
    assert read_brain_manifest(with_gate).gate == GATE
    shutil.copytree(with_gate, tmp_path / "exports")
    said = json.loads((tmp_path / "exports" / NAME).read_text())
    said["gate"]["max_border"] = 1.0
    (tmp_path / "exports" / NAME).write_text(json.dumps(said))
    with Classifier(tmp_path / "exports", form="standard", brain_extraction="network") as classifier:
        assert classifier.predict(cut_off).brain_extraction["faults"] == []


def test_only_known_gates(with_gate: Path) -> None:
    with pytest.raises(InputError, match="no mask_quality 'ignore'"):
        Classifier(with_gate, mask_quality="ignore")
