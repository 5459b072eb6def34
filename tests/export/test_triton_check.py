"""One client, two servers: the edge server's process and a repository's. The check refuses whatever is not the exported model."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from export.manifest import read_manifest
from export.triton.check import Point, Verdict, check_server
from export.triton.client import describe, open_client, score
from export.triton.golden import golden_case
from export.triton.repository import write_repository
from scripts.errors import InputError
from tests.conftest import ROOT
from tests.edge.conftest import running_server
from tests.export.triton_stand_in import serving
from tests.processes import run_module

WAYS = [(True, True), (True, False), (False, True), (False, False)]


@pytest.fixture(scope="module")
def edge_url(small_exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    with running_server(small_exports, tmp_path_factory.mktemp("edge")) as server:
        yield server.url


@pytest.fixture(scope="module")
def repository_url(small_exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("triton")
    write_repository(small_exports, folder)
    with serving(folder / "models") as url:
        yield url


def test_both_servers_describe_the_same_model(edge_url: str, repository_url: str, small_exports: Path) -> None:
    found = {}
    for url in (edge_url, repository_url):
        with open_client(url) as client:
            found[url] = describe(client)
    edge, repository = found[edge_url], found[repository_url]
    assert (edge.name, edge.version, edge.platform) == (repository.name, repository.version, repository.platform)
    assert edge.inputs == repository.inputs and edge.outputs == repository.outputs
    assert list(edge.outputs) == list(repository.outputs)
    for name in ("model_version", "modalities", "threshold", "intended_use", "warnings"):
        assert edge.said[name] == repository.said[name]
    assert edge.server.startswith("etscnet-edge") and repository.server.startswith("triton")


@pytest.mark.parametrize(("binary_input", "binary_output"), WAYS)
def test_both_servers_give_one_client_the_same_scores(
    edge_url: str, repository_url: str, small_exports: Path, binary_input: bool, binary_output: bool
) -> None:
    image = (
        golden_case(small_exports, read_manifest(small_exports)).image[:, :, ::-1].copy()
    )  # not the one that the check asks for
    answers = []
    for url in (edge_url, repository_url):
        with open_client(url) as client:
            answers.append(
                score(
                    client,
                    describe(client),
                    image,
                    binary_input=binary_input,
                    binary_output=binary_output,
                )
            )
    edge, repository = answers
    assert edge.pred.shape == repository.pred.shape == (1, 1) and edge.branch_scores.shape == (1, 2)
    # Two forms of the network on two settings of ONNX Runtime: as far apart as either may be from torch.
    assert edge.pred == pytest.approx(repository.pred, abs=1e-5)
    assert edge.branch_scores == pytest.approx(repository.branch_scores, abs=1e-5)


@pytest.mark.parametrize("server", ["edge", "repository"])
def test_the_exported_model_is_accepted(edge_url: str, repository_url: str, small_exports: Path, server: str) -> None:
    table = check_server({"edge": edge_url, "repository": repository_url}[server], small_exports).text
    assert "is the exported model" in table and "NO" not in table
    assert "pred, JSON in, JSON out" in table and "branch_scores, binary in, binary out" in table


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / "etscnet.json").read_text())
    change(manifest)
    (folder / "etscnet.json").write_text(json.dumps(manifest))


def perturb(folder: Path) -> None:
    """A network with one layer changed, whose golden case is its own: the edge server starts with it."""
    model = onnx.load(folder / "etscnet.onnx")
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) * np.float32(1.2), weights.name))
    onnx.save(model, folder / "etscnet.onnx")
    manifest = json.loads((folder / "etscnet.json").read_text())
    manifest["files"]["etscnet.onnx"] = entry(folder / "etscnet.onnx")
    (folder / "etscnet.json").write_text(json.dumps(manifest))
    image = golden_case(folder, manifest).image
    session = onnxruntime.InferenceSession(folder / "etscnet.onnx", providers=["CPUExecutionProvider"])
    pred, branch_scores = session.run(["pred", "branch_scores"], {"image": image})
    with np.load(folder / "golden.npz") as golden:
        kept = {name: golden[name] for name in golden.files}
    np.savez_compressed(folder / "golden.npz", **{**kept, "pred": pred, "branch_scores": branch_scores})
    assert abs(float(kept["pred"][0, 0] - pred[0, 0])) > 1e-5
    manifest["files"]["golden.npz"] = entry(folder / "golden.npz")
    (folder / "etscnet.json").write_text(json.dumps(manifest))


def entry(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: change_manifest(folder, lambda said: said.update(threshold=0.25)), "threshold | 0.25"),
        (perturb, "pred, binary in, binary out | differs by"),
    ],
    ids=["another threshold", "other weights"],
)
def test_an_edge_server_of_another_model_is_refused(
    small_exports: Path, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    other = tmp_path / "exports"
    shutil.copytree(small_exports, other)
    change(other)
    with running_server(other, tmp_path, "--form", "standard") as server:
        with pytest.raises(InputError) as refused:
            check_server(server.url, small_exports)
        assert said in str(refused.value) and "| NO |" in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (perturb, "branch_scores, JSON in, JSON out | differs by"),
        (
            lambda folder: change_manifest(folder, lambda said: said.update(modalities=["t2w", "flair"])),
            "modalities | ['t2w', 'flair']",
        ),
        (lambda folder: change_manifest(folder, lambda said: said.update(version="9.9")), "model_version | 9.9"),
    ],
    ids=["other weights", "other modalities", "another version"],
)
def test_a_repository_of_another_model_is_refused(
    small_exports: Path, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    other = tmp_path / "exports"
    shutil.copytree(small_exports, other)
    change(other)
    if said.startswith("modalities"):  # of the golden study each channel keeps its own
        image = golden_case(small_exports, read_manifest(small_exports))
        with np.load(other / "golden.npz") as golden:
            kept = {name: golden[name] for name in golden.files}
        kept["coarse"] = image.image[:, ::-1, ::16, ::16, ::16]
        np.savez_compressed(other / "golden.npz", **kept)
        change_manifest(other, lambda told: told["files"].update({"golden.npz": entry(other / "golden.npz")}))
    write_repository(other, tmp_path / "triton")
    with serving(tmp_path / "triton" / "models") as url, pytest.raises(InputError) as refused:
        check_server(url, small_exports)
    assert said in str(refused.value)


def test_a_server_that_does_not_say_its_threshold_fails_the_command(small_exports: Path, tmp_path: Path) -> None:
    write_repository(small_exports, tmp_path)
    file = tmp_path / "models" / "etscnet" / "config.pbtxt"
    file.write_text(file.read_text().replace('key: "threshold"', 'key: "limit"'))
    with serving(tmp_path / "models") as url:
        done = run_module("export", ["triton-check", "--url", url, "--exports", str(small_exports)], cwd=ROOT)
    assert done.returncode == 1 and "| threshold | not said |" in done.stderr and not done.stdout


def test_no_server_and_no_such_version_are_said_plainly(small_exports: Path, repository_url: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InputError, match="no answer from"):
        check_server(f"http://127.0.0.1:{port}", small_exports)
    with pytest.raises(InputError, match="not ready"):
        check_server(repository_url, small_exports, version=2)
    with pytest.raises(InputError, match="--url 'localhost:8000'"):
        check_server("localhost:8000", small_exports)


def test_a_token_is_sent(small_exports: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("a-token-of-some-length-for-the-tests\n")
    token.chmod(0o600)
    with running_server(small_exports, tmp_path, "--token_file", str(token)) as server:
        assert "is the exported model" in check_server(server.url, small_exports, token_file=token).text
        with pytest.raises(InputError, match="No token"):
            check_server(server.url, small_exports)
    with pytest.raises(InputError, match="no token"):
        check_server("http://127.0.0.1:1", small_exports, token_file=tmp_path / "none")


def test_a_score_that_is_no_number_is_no_agreement() -> None:
    points = (Point("pred", "nan", "0.5", bool(float("nan") <= 1e-5)), Point("threshold", "0.5", "0.5", True))
    verdict = Verdict("a server", points)
    assert not verdict and verdict.to_dict()["accepted"] is False and "| NO |" in verdict.table()
    assert Verdict("a server", points[1:])
