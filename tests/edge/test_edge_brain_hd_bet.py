"""The edge's brain extraction against HD-BET's own code, on real heads, with the stand-in `minibet` for its weights.

`hdbet_reference.json` holds figures of HD-BET's masks (voxels, centre, extent), by `hdbet_reference.py`: of real MRI nothing else
is kept here. Where an environment with hd-bet is at hand ($ETSCNET_HD_BET_PYTHON names its interpreter), the masks themselves are
made and compared, and the scores that they give.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from etscnet_edge.brain_extraction.extractor import extract, opened
from etscnet_edge.brain_extraction.manifest import read_brain_manifest
from etscnet_edge.classifier import Classifier
from etscnet_edge.nifti import read_volume

from export.brain_extraction import export_brain_extraction
from tests.edge.hdbet_reference import figures
from tests.real_mri import real_cases

HERE = Path(__file__).parent
PYTHON = os.environ.get("ETSCNET_HD_BET_PYTHON", "")
LIMITS = {"max_voxels": 10**8, "min_squareness": 0.7}
MODALITIES = ("flair", "t2w")


@pytest.fixture(scope="module")
def heads(shared_dir: Path) -> list[dict[str, Any]]:
    """The three real studies with skull."""
    return [case for case in real_cases(shared_dir / "mri") if "flair_mask" in case]


@pytest.fixture(scope="module")
def with_minibet(exports: Path, shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("minibet") / "exports"
    shutil.copytree(exports, target)
    export_brain_extraction(shared_dir / "hd-bet" / "minibet", target)
    return target


def masks_of(exports: Path, case: dict[str, Any]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Modality -> mask (x, y, z) in RAS and its affine."""
    manifest = read_brain_manifest(exports)
    found = {}
    with opened(manifest, threads=2) as run:
        for name in MODALITIES:
            volume = read_volume(case[name], orientation="RAS", limits=LIMITS)
            found[name] = extract(volume, run, manifest=manifest).mask, volume.affine
    return found


def test_masks_have_the_figures_of_hd_bets(with_minibet: Path, heads: list[dict[str, Any]]) -> None:
    expected = json.loads((HERE / "hdbet_reference.json").read_text())
    assert len(expected) == 6
    for case in heads:
        for name, (mask, affine) in masks_of(with_minibet, case).items():
            found, theirs = figures(mask, affine), expected[Path(case[name]).name]
            assert found["voxels"] == pytest.approx(theirs["voxels"], rel=1e-4)  # nnU-Net sums in float16
            np.testing.assert_allclose(found["centre_mm"], theirs["centre_mm"], atol=0.01)
            np.testing.assert_allclose(found["extent"], theirs["extent"], atol=1)


@pytest.mark.skipif(not PYTHON, reason="hd-bet has an environment of its own: set ETSCNET_HD_BET_PYTHON to its python")
def test_masks_and_scores_are_hd_bets(
    with_minibet: Path, heads: list[dict[str, Any]], shared_dir: Path, tmp_path: Path
) -> None:
    images = [case[name] for case in heads for name in MODALITIES]
    model = str((shared_dir / "hd-bet" / "minibet").resolve())
    script = str(HERE / "hdbet_reference.py")
    subprocess.run([PYTHON, script, model, str(tmp_path), *images], check=True, capture_output=True)
    expected = json.loads((HERE / "hdbet_reference.json").read_text())
    made = json.loads((tmp_path / "reference.json").read_text())
    assert {name: one["voxels"] for name, one in made.items()} == pytest.approx(
        {name: one["voxels"] for name, one in expected.items()}, rel=1e-5
    )  # the stored figures are this code's
    with Classifier(with_minibet, form="standard", brain_extraction="network", mask_quality="warn") as classifier:
        for case in heads:
            files = {name: case[name] for name in MODALITIES}
            for name, (mask, _) in masks_of(with_minibet, case).items():
                theirs = nib.Nifti1Image.from_filename(tmp_path / Path(case[name]).name).get_fdata() > 0
                assert 2 * np.count_nonzero(mask & theirs) / (mask.sum() + theirs.sum()) >= 0.999
            ours = classifier.predict(files)
            by_theirs = classifier.predict(files, {name: tmp_path / Path(case[name]).name for name in MODALITIES})
            assert ours.brain_extraction["method"] == "network" and by_theirs.brain_extraction["method"] == "mask"
            assert ours.score == pytest.approx(by_theirs.score, abs=1e-3)
