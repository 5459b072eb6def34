"""`run inference` with the overlay inference_trt.json: an engine of this export, on its GPU, or a refusal that says why."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from export.manifest import MANIFEST
from scripts import exported
from scripts.errors import InputError
from scripts.exported import EngineNetwork, GraphNetwork
from scripts.files import sha256
from tests.conftest import BUNDLE, write_study

WEIGHTS = BUNDLE / "models" / "model.pt"


@pytest.fixture
def built(exports: Path, tmp_path: Path) -> Path:
    """An export with an entry of an engine, whose file holds nothing that TensorRT could load."""
    folder = tmp_path / "exports"
    folder.mkdir()
    for name in (MANIFEST, "etscnet.onnx"):
        shutil.copy(exports / name, folder / name)
    engine = folder / "etscnet.engine"
    engine.write_bytes(b"an engine")
    said = json.loads((folder / MANIFEST).read_text())
    graph = said["files"][said["forms"]["gpu-fp32"]["file"]]["sha256"]
    said["engines"] = {
        engine.name: {
            "file": engine.name,
            "form": "gpu-fp32",
            "onnx_sha256": graph,
            "target": "tensorrt",
            "version": "10.3.0",
            "gpu": "Orin",
            "compute_capability": "8.7",
        }
    }
    said["files"][engine.name] = {"sha256": sha256(engine)}
    (folder / MANIFEST).write_text(json.dumps(said))
    return folder


class GraphAsEngine:
    """Stands for the engine of a GPU that is not here: the graph that it would have been built from."""

    device = torch.device("cpu")

    def __init__(self, file: Path, *, library: str, device: torch.device | str) -> None:
        assert library == "tensorrt" and file.name == "etscnet.engine"
        self.graph = GraphNetwork(file.parent / MANIFEST, checkpoint=WEIGHTS, threads=1)

    def run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"branch_scores": self.graph._branch_scores(inputs["image"])}


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU with TensorRT 10.3.0, as far as the checks see."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0"))
    monkeypatch.setattr(exported, "Engine", GraphAsEngine)


def test_the_engines_scores_become_the_networks(built: Path, gpu: None) -> None:
    engine = EngineNetwork(built / MANIFEST, checkpoint=WEIGHTS)
    graph = GraphNetwork(built / MANIFEST, checkpoint=WEIGHTS, threads=1)
    image = torch.rand(2, 2, *engine.spatial_size.tolist(), generator=torch.Generator().manual_seed(0))
    assert torch.equal(engine(image), graph(image)) and engine(image).shape == (2, 1)
    assert float(engine.threshold) == float(graph.threshold)


Spoil = Callable[[Path, dict[str, Any]], object]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder, said: (folder / "etscnet.engine").write_bytes(b"another"), "not the file that was exported"),
        (lambda folder, said: said.pop("engines"), "'etscnet.engine' is not among the export's engines"),
        (
            lambda folder, said: said["engines"]["etscnet.engine"].update(onnx_sha256="0"),
            "an engine of an earlier export",
        ),
        (
            lambda folder, said: said["engines"]["etscnet.engine"].update(version="10.13.2"),
            "an engine of tensorrt 10.13.2",
        ),
        (lambda folder, said: said["origin"].update(sha256="0" * 64), "an export of other weights"),
        (lambda folder, said: said.update(for_timing_only=True), "an export for timing alone"),
    ],
)
def test_an_engine_that_is_not_of_this_export_is_refused(built: Path, gpu: None, spoil: Spoil, said: str) -> None:
    manifest = json.loads((built / MANIFEST).read_text())
    spoil(built, manifest)
    (built / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=said):
        EngineNetwork(built / MANIFEST, checkpoint=WEIGHTS)


def test_the_cpu_is_no_place_for_an_engine(built: Path, gpu: None) -> None:
    with pytest.raises(InputError, match=r"no NVIDIA GPU for the engine \(device cpu\); expected the one .* Orin"):
        EngineNetwork(built / MANIFEST, checkpoint=WEIGHTS, device="cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_overlay_without_a_gpu_refuses_and_scores_nothing(
    built: Path, run_bundle: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    write_study(tmp_path / "data", "sub-01", seed=1, bright=0)
    options = {"dataset_dir": tmp_path / "data", "manifest": built / MANIFEST, "output_dir": tmp_path / "output"}
    done = run_bundle("inference", "inference.json", "inference_trt.json", check=False, **options)
    assert done.returncode == 1 and "no NVIDIA GPU for the engine" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "output" / "predictions.csv").exists()
