"""A budget of memory is met, or refused before anything is loaded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.memory import resident_mb

from tests.broken_headers import edited, endless_name, extension_bomb, tail_bomb, zeros
from tests.conftest import ROOT, brain_image, write_study


def predict(exports: Path, paths: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "etscnet_edge", "predict", "--exports", str(exports), *options]
    command += [word for name, path in paths.items() for word in (f"--{name}", path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge")}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def large_study(folder: Path, edge: int, dtype: Any) -> dict[str, str]:
    paths = {}
    for number, name in enumerate(("flair", "t2w")):
        data = np.asarray(brain_image(number, shape=(edge // 4, edge // 4, edge // 4)).dataobj).astype(dtype)
        data = data.repeat(4, axis=0).repeat(4, axis=1).repeat(4, axis=2)  # drawn and zipped in a fraction of the time
        header = nib.Nifti1Header()
        header.set_data_dtype(dtype)
        paths[name] = str(folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(data, np.diag([150 / edge] * 3 + [1.0]), header), paths[name])
    return paths


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
def test_a_budget_is_met_by_the_largest_study_that_it_lets_pass(exports: Path, tmp_path: Path, dtype: Any) -> None:
    paths = large_study(tmp_path, 200, dtype)  # 8 million voxels an image
    said = json.loads(predict(exports, paths, "--memory_mb", "720").stdout)
    assert said["peak_memory_mb"] <= 720
    refused = predict(exports, paths, "--memory_mb", "560")
    assert refused.returncode == 1 and "8000000 voxels" in refused.stderr and "--memory_mb" in refused.stderr


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(exports: Path, tmp_path: Path) -> None:
    paths = write_study(tmp_path, "sub-01", seed=1)
    done = predict(exports, paths, "--memory_mb", "120")
    assert done.returncode == 1 and "error: the model takes" in done.stderr and "Give more --memory_mb" in done.stderr


def test_a_leaner_form_is_taken_where_it_fits_and_said(exports: Path) -> None:
    forms = json.loads((exports / "etscnet.json").read_text())["forms"]
    lean = next((name for name in forms if name.endswith("-lean")), None)
    if lean is None:
        pytest.skip("this processor has no lean form")
    usual = lean.removesuffix("-lean")
    assert forms[lean]["memory_mb"] < forms[usual]["memory_mb"]
    with Classifier(exports) as classifier:
        assert classifier.form == usual
    between = (forms[lean]["memory_mb"] + forms[usual]["memory_mb"]) / 2
    with Classifier(exports, memory_mb=resident_mb() + between) as classifier:
        assert classifier.form == lean == classifier.model["form"]
    with pytest.raises(InputError, match=f"MB \\({usual}\\)"):
        Classifier(exports, form=usual, memory_mb=resident_mb() + between)


def test_a_packed_bomb_is_refused_without_being_unpacked(tmp_path: Path) -> None:
    """200 MiB of zeros before or behind the image, or in what a header says to be one."""
    content = Path(write_study(tmp_path, "sub-01", seed=1)["t2w"]).read_bytes()
    bombs = {
        "extension": extension_bomb(content, at_its_end=True),
        "extension-beyond-the-image": extension_bomb(content, at_its_end=False),
        "tail": tail_bomb(content),
        "name": endless_name(content),
        "far-image": edited(content, vox_offset=2e8)[:-8] + zeros(),
    }
    for name, bomb in {"good": content, **bombs}.items():
        (tmp_path / f"{name}.nii.gz").write_bytes(bomb)
    code = (
        "import sys; from etscnet_edge.nifti import read_volume; from etscnet_edge.memory import peak_mb\n"
        "limits = {'max_voxels': 2**29, 'min_squareness': 0.7}\n"
        "good, *bombs = sys.argv[1:]\n"
        "read_volume(good, orientation='RAS', limits=limits); before = peak_mb()\n"
        "for bomb in bombs:\n"
        "    try: read_volume(bomb, orientation='RAS', limits=limits)\n"
        "    except ValueError as error: print(error)\n"
        "print(peak_mb() - before)"
    )
    command = [sys.executable, "-c", code, *(str(tmp_path / f"{name}.nii.gz") for name in ("good", *bombs))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT / "edge", check=True)
    *said, grown = done.stdout.splitlines()
    assert len(said) == len(bombs) and all(f"/{name}.nii.gz: " in line for name, line in zip(bombs, said, strict=True))
    assert float(grown) < 100  # MB
