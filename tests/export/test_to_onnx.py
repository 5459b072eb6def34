"""An export of the shipped weights: checked files with one interface, a manifest that knows them, scores that are torch's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import to_onnx
from export.forms import FORMS, chosen
from export.machine import cpu_flags
from export.manifest import read_manifest
from export.preprocess_graph import preprocess_model
from export.to_onnx import check, export_onnx
from scripts.errors import InputError
from scripts.onnx_session import Session
from tests.conftest import BUNDLE, FLOAT32_FORMS, ROOT
from tests.small_bundle import BACKBONE, SIZE, write_small_bundle

FILES = [FORMS[name].file for name in FLOAT32_FORMS]


@pytest.mark.parametrize("file", FILES)
def test_every_file_has_the_one_interface_and_is_readable_by_older_runtimes(exports: Path, file: str) -> None:
    model = onnx.load(exports / file, load_external_data=False)
    check(model)
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["pred", "branch_scores"]
    assert next(opset.version for opset in model.opset_import if opset.domain == "") <= 18 and model.ir_version <= 10
    assert not any(value.external_data for value in model.graph.initializer)
    assert "Research only, not for diagnosis." in model.doc_string and "synthetic" in model.doc_string


@pytest.mark.parametrize("file", FILES)
def test_no_file_tells_of_the_machine_that_made_it(exports: Path, file: str) -> None:
    content = (exports / file).read_bytes()
    assert str(ROOT).encode() not in content and b"site-packages" not in content


def test_the_manifest_knows_every_file_and_what_it_is(exports: Path) -> None:
    manifest = read_manifest(exports)
    assert set(manifest["files"]) == {path.name for path in exports.iterdir()} - {"etscnet.json", "parity.json"}
    assert {form["precision"] for form in manifest["forms"].values()} == {"float32"}
    state = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    assert manifest["fusion_weights"] == state["fusion_weights"].tolist()
    assert manifest["threshold"] == float(state["threshold"])
    assert manifest["spatial_size"] == state["spatial_size"].tolist() == manifest["inputs"]["image"]["shape"][2:]
    assert manifest["origin"]["data"]["synthetic"] and any("synthetic" in warning for warning in manifest["warnings"])
    assert not manifest["for_timing_only"]


def test_the_export_was_proven(exports: Path) -> None:
    proof = json.loads((exports / "parity.json").read_text())
    ran = [form for form in proof["forms"] if not form["reason"]]
    assert proof["passed"] and all(form["passed"] for form in ran)
    assert {form["form"] for form in ran} >= {"standard", "volume", "gpu-fp32"}


def test_the_golden_case_goes_through_the_exported_files_alone(exports: Path) -> None:
    manifest = read_manifest(exports)
    prepare = onnxruntime.InferenceSession(exports / "preprocess.onnx", providers=["CPUExecutionProvider"])
    with np.load(exports / "golden.npz") as golden, Session(exports / "etscnet.onnx") as session:
        channels = []
        for modality in manifest["modalities"]:
            volume = golden[modality].astype(np.float32)
            one, zero = np.array(1, np.float32), np.array(0, np.float32)
            feeds = {"volume": volume, "slope": one, "intercept": zero, "mask": np.ones(volume.shape, bool)}
            channels.append(prepare.run(None, feeds)[0])
        image = np.concatenate(channels, axis=1)
        assert image[:, :, ::16, ::16, ::16] == pytest.approx(golden["coarse"], abs=1e-4)
        pred, branch_scores = session.run(image)
        assert pred == pytest.approx(golden["pred"], abs=1e-5)
        assert branch_scores == pytest.approx(golden["branch_scores"], abs=1e-5)
        weights = np.array(manifest["fusion_weights"])
        assert float(pred[0, 0]) == pytest.approx(float(branch_scores[0] @ weights), abs=1e-6)


def test_another_process_exports_the_same_bytes_preprocessing_among_them(
    small_bundle: Path, small_exports: Path, tmp_path: Path
) -> None:
    options = {"bundle_root": small_bundle, "output_dir": tmp_path / "again", "forms": ["standard", "volume"]}
    command = [sys.executable, "-m", "export", "onnx"]
    command += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    for file in ("etscnet.onnx", "etscnet.volume.onnx", "preprocess.onnx", "golden.npz"):
        assert (tmp_path / "again" / file).read_bytes() == (small_exports / file).read_bytes(), file
    here = preprocess_model(BUNDLE / "configs" / "inference.json", spatial_size=SIZE).SerializeToString()
    assert (tmp_path / "again" / "preprocess.onnx").read_bytes() == here
    left = [path.name for path in tmp_path.iterdir() if path.name != ".ses"]  # ONNX Runtime's own, 51 bytes
    assert left == ["again"], "nothing is left in the temporary folder"


def test_the_3d_form_takes_any_number_of_images_where_it_is_asked_to(small_bundle: Path, tmp_path: Path) -> None:
    export_onnx(small_bundle, tmp_path / "exports", forms="volume", dynamic_batch=True)
    images = np.random.default_rng(0).random((3, 2, *SIZE), dtype=np.float32)
    with Session(tmp_path / "exports" / "etscnet.volume.onnx") as session:
        together = session.run(images)[0]
        alone = np.concatenate([session.run(image[None])[0] for image in images])
    assert together.shape == (3, 1) and together == pytest.approx(alone, abs=1e-5)
    with pytest.raises(InputError, match="--forms volume"):
        export_onnx(small_bundle, tmp_path, forms="standard", dynamic_batch=True)


def test_untrained_weights_are_refused_and_an_earlier_export_stays(small_exports: Path, tmp_path: Path) -> None:
    write_small_bundle(tmp_path / "bundle", trained=False)
    target = tmp_path / "exports"
    shutil.copytree(small_exports, target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    with pytest.raises(InputError, match="an untrained network proves nothing"):
        export_onnx(tmp_path / "bundle", target, forms="standard")
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "exports"]


def test_a_form_that_differs_fails_the_export(
    small_bundle: Path, small_exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = onnx.load(small_exports / "etscnet.volume.onnx")
    bias = next(value for value in wrong.graph.initializer if value.name.endswith("flair._fc.bias"))
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1e-3), bias.name))
    monkeypatch.setattr(to_onnx, "volume_graph", lambda *args, **kwargs: wrong)
    with pytest.raises(InputError, match="scores are not torch's"):
        export_onnx(small_bundle, tmp_path / "exports", forms="standard")
    assert list(tmp_path.iterdir()) == []


def test_a_size_for_timing_is_marked(small_bundle: Path, tmp_path: Path) -> None:
    size = tuple(edge + 16 for edge in SIZE)
    export_onnx(small_bundle, tmp_path / "exports", forms="standard", spatial_size=size)
    manifest = read_manifest(tmp_path / "exports")
    assert manifest["spatial_size"] == list(size)
    assert manifest["for_timing_only"] and any("timing alone" in warning for warning in manifest["warnings"])


def test_a_form_is_offered_where_the_processor_has_its_blocks() -> None:
    assert set(chosen(None, set())) == {"standard", "gpu-fp32"}
    assert set(chosen(None, {"avx2"})) == {"standard", "gpu-fp32", "nchwc8"}
    assert set(chosen(None, {"avx2", "avx512f"})) == {"standard", "gpu-fp32", "nchwc16"}
    assert set(chosen(None, {"avx2"}, half=True)) == {"standard", "gpu-fp32", "nchwc8", "gpu"}
    assert set(chosen(None, {"avx2"}, lean=True)) == {"standard", "gpu-fp32", "nchwc8", "nchwc8-lean"}


def test_a_form_that_does_not_run_for_this_network_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    form = next((name for name in chosen(None, cpu_flags()) if name.startswith("nchwc")), None)
    if form is None:
        pytest.skip("this processor runs no blocked form")
    monkeypatch.setitem(BACKBONE, "blocks_args_str", ["r1_k5_s22_e1_i32_o8_se0.25", "r1_k3_s11_e1_i8_o8_se0.25"])
    bundle = write_small_bundle(tmp_path / "bundle")  # of fewer channels than a block
    with pytest.raises(InputError, match=f"the form {form} of this network does not run.*--forms standard"):
        export_onnx(bundle, tmp_path / "exports", forms=["standard", form])
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_form_that_nobody_could_compare_with_torch_is_not_exported() -> None:
    with pytest.raises(InputError, match="nchwc16 can't be compared with torch on this processor"):
        chosen(("standard", "nchwc16"), {"avx2"})


def test_an_unknown_precision_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the precision 'int8'; expected fp32 or fp16"):
        export_onnx(BUNDLE, tmp_path / "exports", precision="int8")  # type: ignore[arg-type]  # as a caller without a checker


@pytest.mark.parametrize("addition", [{"lean": True}, {"precision": "fp16"}])
def test_an_addition_to_named_forms_is_refused_and_not_left_out_in_silence(
    tmp_path: Path, addition: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="beside --forms"):
        export_onnx(BUNDLE, tmp_path / "exports", forms="standard", **addition)


def test_an_unknown_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Correct --forms"):
        export_onnx(BUNDLE, tmp_path / "exports", forms="fastest")
    with pytest.raises(InputError, match="Give --bundle_root"):
        export_onnx(tmp_path, tmp_path / "exports")
