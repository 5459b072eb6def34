"""Every form of an export on studies, real ones among them, by ONNX Runtime and by torch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from export.bundle import load_bundle
from export.parity import parity, prove
from tests.conftest import BUNDLE, write_study
from tests.real_mri import real_cases


def test_parity_on_studies_is_written_beside_the_forms(small_bundle: Path, small_exports: Path, tmp_path: Path) -> None:
    shutil.copytree(small_exports, tmp_path / "exports")
    write_study(tmp_path / "data", "sub-01", seed=1)
    write_study(tmp_path / "data", "sub-02", seed=2, bright=1.0)
    said = parity(small_bundle, tmp_path / "exports", dataset_dir=tmp_path / "data", brain_extraction="none").text
    proof = json.loads((tmp_path / "exports" / "parity.json").read_text())
    assert "| standard | float32 | 9 |" in said and proof["passed"]
    assert proof["studies"][0] == "golden" and proof["studies"][-2:] == ["sub-01", "sub-02"]


def test_every_form_scores_real_mri_as_torch_does(exports: Path, shared_dir: Path) -> None:
    cases = real_cases(shared_dir / "mri")
    result = prove(load_bundle(BUNDLE), exports, cases=cases)
    assert result and {case["case"] for case in cases} < set(result.studies)
    assert all(form.studies == len(result.studies) for form in result.forms)
