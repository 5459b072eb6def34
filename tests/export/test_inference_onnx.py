"""`run inference` with the overlay inference_onnx.json: the same files and scores, from the exported graph."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scripts.errors import InputError
from scripts.exported import GraphNetwork
from tests.conftest import BUNDLE, write_study

Run = Callable[..., subprocess.CompletedProcess[str]]
WEIGHTS = BUNDLE / "models" / "model.pt"


def scores(folder: Path) -> dict[str, float]:
    with (folder / "predictions.csv").open() as file:
        return {row["case"]: float(row["score"]) for row in csv.DictReader(file)}


def test_the_overlay_scores_as_torch_does(exports: Path, run_bundle: Run, tmp_path: Path) -> None:
    for number in (1, 2):
        write_study(tmp_path / "data", f"sub-{number:02d}", seed=number, bright=number - 1)
    options = {"dataset_dir": tmp_path / "data", "pictures": False}
    run_bundle("inference", "inference.json", output_dir=tmp_path / "torch", **options)
    overlay = ("inference.json", "inference_onnx.json")
    run_bundle(
        "inference", *overlay, output_dir=tmp_path / "onnx", manifest=exports / "etscnet.json", form="volume", **options
    )
    torch_scores, onnx_scores = scores(tmp_path / "torch"), scores(tmp_path / "onnx")
    assert len(torch_scores) == 2 and onnx_scores == pytest.approx(torch_scores, abs=1e-5)


def test_the_exported_network_stands_for_the_network(exports: Path) -> None:
    network = GraphNetwork(exports / "etscnet.json", checkpoint=WEIGHTS, form="standard", threads=1)
    state = torch.load(WEIGHTS, weights_only=True)
    assert network.modalities == ("flair", "t2w")
    assert torch.equal(network.fusion_weights, state["fusion_weights"].float())
    assert float(network.threshold) == float(state["threshold"])
    image = torch.rand(2, 2, *network.spatial_size.tolist())
    logits, pred = network(image, return_logits=True), network(image)
    assert logits.shape == (2, 2) and torch.equal(pred, network.fuse(logits))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder, said: (folder / "etscnet.onnx").write_bytes(b"another"), "not the file that was exported"),
        (lambda folder, said: said["origin"].update(sha256="0" * 64), "an export of other weights"),
        (lambda folder, said: said.update(for_timing_only=True), "an export for timing alone"),
        (lambda folder, said: said.pop("fusion_weights"), "no export .KeyError: 'fusion_weights'"),
        (lambda folder, said: said["files"].pop("etscnet.onnx"), "not the file that was exported"),
        (lambda folder, said: said["forms"].pop("standard"), "'standard' is not among the export's forms"),
    ],
)
def test_a_graph_that_is_not_the_weights_own_is_refused(
    exports: Path, tmp_path: Path, spoil: Callable[[Path, dict[str, dict[str, object]]], object], said: str
) -> None:
    folder = tmp_path / "exports"
    folder.mkdir()
    for name in ("etscnet.json", "etscnet.onnx"):
        shutil.copy(exports / name, folder / name)
    manifest = json.loads((folder / "etscnet.json").read_text())
    spoil(folder, manifest)
    (folder / "etscnet.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=said):
        GraphNetwork(folder / "etscnet.json", checkpoint=WEIGHTS)
