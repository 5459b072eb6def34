"""The manifest says what was exported, number for number, and is believed only with the files that it was written for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from export import manifest as module
from export.bundle import TrainedBundle, load_bundle
from export.forms import FORMS, Form
from export.manifest import read_manifest, write_manifest
from export.preprocess_graph import parameters
from scripts.checkpoint import SYNTHETIC
from scripts.errors import InputError
from scripts.files import sha256
from tests.conftest import BUNDLE

TWO = {name: FORMS[name] for name in ("standard", "gpu")}
FILES = ("etscnet.onnx", "etscnet.gpu.onnx", "preprocess.onnx", "golden.npz")


@pytest.fixture(scope="module")
def bundle() -> TrainedBundle:
    return load_bundle(BUNDLE)


@pytest.fixture(autouse=True)
def _memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is run: `test_to_onnx.py` measures what a form takes. The shape that it is asked for comes back in the figure."""

    def taken(forms: Mapping[str, Form], folder: Path, *, shape: Sequence[int]) -> dict[str, int]:
        assert all((folder / form.file).is_file() for form in forms.values())
        return dict.fromkeys(forms, int(torch.tensor(shape).prod()))

    monkeypatch.setattr(module, "form_memory", taken)


def written(bundle: TrainedBundle, folder: Path, *, size: Sequence[int] | None = None) -> dict[str, Any]:
    """A manifest for files of which nothing but the names is true."""
    folder.mkdir()
    for name in (*FILES, "parity.json"):
        (folder / name).write_text(f"this is {name}")
    said = write_manifest(bundle, TWO, folder, spatial_size=size or bundle.spatial_size)
    assert read_manifest(folder) == json.loads((folder / "etscnet.json").read_text()) == json.loads(json.dumps(said))
    return said


def test_it_says_all_that_a_device_needs(bundle: TrainedBundle, tmp_path: Path) -> None:
    said, origin = written(bundle, tmp_path / "exports"), json.loads((BUNDLE / "models" / "model.json").read_text())
    state, size = torch.load(BUNDLE / "models" / "model.pt", weights_only=True), list(bundle.spatial_size)
    digest = sha256(BUNDLE / "models" / "model.pt")
    reference = {name: value for name, value in origin["reference"].items() if name != "features"}
    figures = {"memory_mb": 2 * size[0] * size[1] * size[2]}
    assert said == {
        "schema": 3,
        "name": "eTSC-Net",
        "version": f"{bundle.version}+{digest[:8]}",
        "intended_use": "Research only, not for diagnosis.",
        "warnings": [SYNTHETIC],
        "for_timing_only": False,
        "modalities": ["flair", "t2w"],
        "spatial_size": size,
        "inputs": {"image": {"shape": [1, 2, *size], "dtype": "float32", "range": [0.0, 1.0]}},
        "outputs": {
            "pred": {"shape": [1, 1], "dtype": "float32"},
            "branch_scores": {"shape": [1, 2], "dtype": "float32"},
        },
        "preprocessing": {"file": "preprocess.onnx", **parameters(bundle.preprocessing, spatial_size=size)},
        "fusion_weights": state["fusion_weights"].tolist(),
        "threshold": float(state["threshold"]),
        "chosen_on_validation": {"fusion": origin["fusion"], "threshold": origin["threshold"]},
        "temperature": origin["temperature"],
        "reference": reference,
        "labels": {"0": "uncontrolled", "1": "controlled"},
        "forms": {
            "standard": {
                "file": "etscnet.onnx",
                "precision": "float32",
                "meant_for": "any runtime, on a CPU",
                "cpu_flag": "",
                "without_flag": "",
                "tolerance": 1e-5,
                **figures,
            },
            "gpu": {
                "file": "etscnet.gpu.onnx",
                "precision": "float16",
                "meant_for": FORMS["gpu"].meant_for,
                "cpu_flag": "",
                "without_flag": "",
                "tolerance": 1e-3,
                **figures,
            },
        },
        "golden": "golden.npz",
        "files": {
            name: {"sha256": sha256(tmp_path / "exports" / name), "bytes": len(f"this is {name}")}
            for name in sorted(FILES)
        },
        "origin": {
            name: origin.get(name) for name in ("sha256", "data", "settings", "epochs", "best_epochs", "made_with")
        },
        "made_with": {
            name: said["made_with"]["python"] if name == "python" else version(name)
            for name in ("python", "torch", "monai", "onnx", "onnxscript", "onnxruntime", "numpy")
        },
    }
    assert said["origin"]["sha256"] == digest


def test_a_size_for_timing_is_marked_and_has_no_reference(bundle: TrainedBundle, tmp_path: Path) -> None:
    said = written(bundle, tmp_path / "exports", size=(64, 64, 32))
    trained = list(bundle.spatial_size)
    assert said["for_timing_only"] and said["spatial_size"] == [64, 64, 32]
    assert said["warnings"] == [SYNTHETIC, f"The weights were trained at {trained}: this export is for timing alone."]
    assert said["inputs"]["image"]["shape"] == [1, 2, 64, 64, 32]
    assert said["reference"] == {"reason": "no reference: the weights were trained at another size."}
    assert said["forms"]["standard"]["memory_mb"] == 2 * 64 * 64 * 32


def test_weights_of_unknown_origin_have_neither_temperature_nor_reference_and_say_so(
    bundle: TrainedBundle, tmp_path: Path
) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes((BUNDLE / "models" / "model.pt").read_bytes())
    said = written(replace(bundle, weights=weights), tmp_path / "exports")
    assert said["temperature"]["temperature"] is None and "no temperature" in said["temperature"]["reason"]
    assert list(said["reference"]) == ["reason"] and "no reference" in said["reference"]["reason"]
    assert len(said["warnings"]) == 1 and "unknown" in said["warnings"][0]
    assert said["chosen_on_validation"] == {"fusion": None, "threshold": None} and said["origin"]["data"] is None


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_or_is_missing_is_refused(bundle: TrainedBundle, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "exports"
    written(bundle, folder)
    (folder / name).write_text(f"that is {name}")
    with pytest.raises(InputError, match=f"{name} is not the file that was exported") as refused:
        read_manifest(folder)
    assert refused.value.file == str(folder / name)
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no manifest"),
        ("{", "not JSON"),
        ('{"schema": 0}', "schema 0"),
        ('{"schema": 4}', "schema 4"),
        ("[3]", "schema None"),
    ],
)
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    if text is not None:
        (tmp_path / "etscnet.json").write_text(text)
    with pytest.raises(InputError, match=said) as refused:
        read_manifest(tmp_path)
    assert refused.value.file == str(tmp_path / "etscnet.json")
