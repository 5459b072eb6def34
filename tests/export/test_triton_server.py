"""The real Triton server: it reads the repository, warms up with the golden image, and answers the edge server's clients.

The server, its HTTP front, scheduler, warm-up and metrics are Triton's (2.51.0, of nvidia-pytriton 0.7.0). Its wheel has no
ONNX Runtime backend: triton_backend.py stands in for that one part, unless $TRITON_BACKENDS names the real one.
`make triton-test`; elsewhere these skip themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import requests
import tritonclient.http as http
from tritonclient.utils import InferenceServerException

from export.manifest import read_manifest
from export.to_onnx import export_onnx
from export.triton.check import check_server
from export.triton.client import describe, open_client
from export.triton.golden import golden_case
from export.triton.kserve import SERVER_MIB
from export.triton.repository import write_repository
from tests.conftest import BUNDLE
from tests.edge.conftest import Server, running_server
from tests.export.triton_server import Triton, packages, running_triton
from tests.export.triton_stand_in import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    packages()
    folder = tmp_path_factory.mktemp("repository")
    write_repository(exports, folder, queue=2)
    return folder / "models"


@pytest.fixture(scope="module")
def triton(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Triton]:
    with running_triton(models, tmp_path_factory.mktemp("triton")) as running:
        yield running


@pytest.fixture(scope="module")
def edge(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(exports, tmp_path_factory.mktemp("edge")) as running:
        yield running


def metrics(url: str) -> dict[str, float]:
    """Name -> value, of the model's. Not by prometheus_client, which puts _total behind Triton's counters."""
    text = requests.get(url, timeout=30).text
    return {name: float(value) for name, value in re.findall(r'^(\w+)\{model="etscnet".*\} (\S+)$', text, re.MULTILINE)}


def test_triton_is_ready_after_the_golden_image_has_run(triton: Triton) -> None:
    assert metrics(triton.metrics)["nv_inference_request_success"] >= 1  # nobody has asked yet
    log = triton.log.read_text()
    assert "\"successfully loaded 'etscnet'\"" in log and "failed to" not in log


def test_triton_is_accepted_as_the_exported_model(triton: Triton, exports: Path) -> None:
    assert "(triton 2." in check_server(triton.url, exports).text


def test_triton_keeps_what_was_written(triton: Triton) -> None:
    config = requests.get(f"{triton.url}/v2/models/etscnet/config", timeout=30).json()
    assert config["max_batch_size"] == 0 and config["version_policy"] == {"specific": {"versions": [1]}}
    assert config["dynamic_batching"]["default_queue_policy"] == {
        "timeout_action": "REJECT",
        "default_timeout_microseconds": 60_000_000,
        "allow_timeout_override": False,
        "max_queue_size": 2,
    }
    assert [(group["kind"], group["count"]) for group in config["instance_group"]] == [("KIND_CPU", 1)]


def test_the_stand_in_of_the_other_tests_describes_as_triton_does(triton: Triton, models: Path) -> None:
    with serving(models) as url, open_client(url) as client:
        stand_in = describe(client)
    with open_client(triton.url) as client:
        real = describe(client)
    assert {**vars(stand_in), "server": ""} == {**vars(real), "server": ""}


def test_the_edge_servers_clients_get_the_same_from_both(triton: Triton, edge: Server, exports: Path) -> None:
    """As test_edge_tensors.py asks the edge server."""
    image = golden_case(exports, read_manifest(exports)).image[:, :, ::-1].copy()
    found = {}
    for url in (triton.url, edge.url):
        with http.InferenceServerClient(url.removeprefix("http://")) as client:
            assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("etscnet", "1")
            assert not client.is_model_ready("etscnet", "2")
            metadata = client.get_model_metadata("etscnet")
            tensor = http.InferInput("image", list(image.shape), "FP32")
            tensor.set_data_from_numpy(image)
            result = client.infer("etscnet", [tensor], request_id="study-7")
            response = result.get_response()
            found[url] = {key: metadata[key] for key in ("name", "versions", "platform", "inputs", "outputs")}
            found[url] |= {key: response[key] for key in ("model_name", "model_version", "id")}
            found[url]["scores"] = result.as_numpy("pred"), result.as_numpy("branch_scores")
    scores = [found[url].pop("scores") for url in (triton.url, edge.url)]
    assert found[triton.url] == found[edge.url]
    for one, other in zip(*scores, strict=True):
        assert one.shape == other.shape and one == pytest.approx(other, abs=1e-5)
    edges = metrics(f"{edge.url}/metrics")
    assert edges["nv_inference_count"] == 1 and set(edges) <= set(metrics(triton.metrics))  # one dashboard for both


def test_triton_refuses_another_shape_and_more_than_its_queue(triton: Triton) -> None:
    def ask(image: np.ndarray) -> str:
        with http.InferenceServerClient(triton.url.removeprefix("http://"), network_timeout=120) as client:
            tensor = http.InferInput("image", list(image.shape), "FP32")
            tensor.set_data_from_numpy(image)
            try:
                client.infer("etscnet", [tensor])
            except InferenceServerException as error:
                return f"{error.status()} {error.message()}"
        return ""

    assert ask(np.zeros((1, 2, 8, 8, 8), np.float32)).startswith("400")
    image = np.random.default_rng(0).random((1, 2, 96, 96, 32), dtype=np.float32)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(image), range(16)))
    assert "" in answers and any(answer.startswith("503 ") for answer in answers)
    assert {answer.partition(" ")[0] for answer in answers} == {"", "503"}


def test_a_form_with_a_free_batch_is_batched_and_scores_as_torch(tmp_path: Path) -> None:
    packages()
    export_onnx(BUNDLE, tmp_path / "exports", forms="volume", dynamic_batch=True)
    write_repository(tmp_path / "exports", tmp_path / "triton", form="volume", max_batch_size=4, queue=16)
    with running_triton(tmp_path / "triton" / "models", tmp_path) as batching:
        assert "[-1, 2, " in check_server(batching.url, tmp_path / "exports").text
        image = golden_case(tmp_path / "exports", read_manifest(tmp_path / "exports")).image

        def ask(_: int) -> float:
            with http.InferenceServerClient(batching.url.removeprefix("http://"), network_timeout=120) as client:
                tensor = http.InferInput("image", list(image.shape), "FP32")
                tensor.set_data_from_numpy(image)
                return float(client.infer("etscnet", [tensor]).as_numpy("pred")[0, 0])

        with ThreadPoolExecutor(8) as pool:
            scores = list(pool.map(ask, range(8)))
        said = requests.get(f"{batching.url}/v2/models/etscnet/stats", timeout=30).json()["model_stats"][0]
    assert np.ptp(scores) < 1e-6
    assert max(entry["batch_size"] for entry in said["batch_stats"]) > 1
    assert said["execution_count"] < said["inference_count"]


def test_the_server_takes_less_than_kserve_is_asked_for(triton: Triton) -> None:
    """After the requests above; half of the room is for the pinned pool and the libraries of a GPU."""
    print(f"the server's process: {triton.peak_mib():.0f} MiB")
    assert triton.peak_mib() < SERVER_MIB / 2
