"""The Open Inference Protocol by Triton's own client, and what is no prepared image or no request."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests
import tritonclient.http as triton
from etscnet_edge.classifier import Classifier

from tests.edge.asking import INFER
from tests.edge.conftest import Server


@pytest.fixture(scope="module")
def image(exports: Path, pair: dict[str, str]) -> np.ndarray:
    with Classifier(exports) as classifier:
        return classifier.predict(pair).image


@pytest.fixture(scope="module")
def score(exports: Path, pair: dict[str, str]) -> float:
    with Classifier(exports) as classifier:
        return classifier.predict(pair).score


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(urlsplit(server.url).netloc) as opened:
        yield opened


def test_tritons_client_finds_a_server_and_a_model(client: triton.InferenceServerClient, exports: Path) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("etscnet")
    assert client.get_server_metadata()["name"] == "etscnet-edge"
    metadata = client.get_model_metadata("etscnet")
    manifest = json.loads((exports / "etscnet.json").read_text())
    shape = manifest["inputs"]["image"]["shape"]
    assert metadata["inputs"] == [{"name": "image", "datatype": "FP32", "shape": shape}]
    assert [output["name"] for output in metadata["outputs"]] == ["pred", "branch_scores"]
    assert metadata["parameters"]["modalities"] == ["flair", "t2w"]
    assert metadata["parameters"]["intended_use"] == "Research only, not for diagnosis."
    assert client.get_model_config("etscnet")["input"] == [{"name": "image", "data_type": "TYPE_FP32", "dims": shape}]


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False])
def test_tritons_client_gets_the_score(
    client: triton.InferenceServerClient, image: np.ndarray, score: float, binary_input: bool, binary_output: bool
) -> None:
    tensor = triton.InferInput("image", list(image.shape), "FP32")
    tensor.set_data_from_numpy(image, binary_data=binary_input)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary_output) for name in ("branch_scores", "pred")]
    result = client.infer("etscnet", [tensor], request_id="study-7", outputs=outputs)
    assert float(result.as_numpy("pred")[0, 0]) == pytest.approx(score, abs=1e-6)
    assert result.as_numpy("branch_scores").shape == (1, 2)
    response = result.get_response()
    assert [output["name"] for output in response["outputs"]] == ["branch_scores", "pred"]
    assert response["id"] == "study-7" and response["parameters"]["intended_use"].startswith("Research only")
    everything = client.infer("etscnet", [tensor])
    assert float(everything.as_numpy("pred")[0, 0]) == pytest.approx(score, abs=1e-6)


def test_a_version_is_named_1(client: triton.InferenceServerClient) -> None:
    assert client.is_model_ready("etscnet", "1") and not client.is_model_ready("etscnet", "2")
    assert not client.is_model_ready("another")


def tensor(image: np.ndarray, **changes: Any) -> dict[str, Any]:
    return {"name": "image", "datatype": "FP32", "shape": list(image.shape), "data": image.ravel().tolist(), **changes}


def spoilt(image: np.ndarray, value: float) -> list[float]:
    values = image.ravel().tolist()
    values[100] = value
    return values


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: [], "'inputs' is []; expected"),
        (lambda image: [tensor(image), tensor(image)], "expected a list of one tensor"),
        (lambda image: [tensor(image, name="volume")], "'name': 'volume'"),
        (lambda image: [tensor(image, datatype="FP64")], "FP64"),
        (lambda image: [tensor(image, datatype="BYTES")], "BYTES"),
        (lambda image: [tensor(image, shape=[1, 2, 8, 8, 8])], "[1, 2, 8, 8, 8]"),
        (lambda image: [tensor(image, shape=[-1, 2, 96, 96, 32])], "[-1, 2"),
        (lambda image: [tensor(image, shape="all")], "'shape': 'all'"),
        (lambda image: [tensor(image, data=[0.5])], "its first 1 are numbers"),
        (lambda image: [tensor(image, data=None)], "its first 0 are numbers"),
        (lambda image: [tensor(image, data=[*image.ravel().tolist(), 0.5])], "'data' is no list of"),
        (lambda image: [tensor(image, data=[True] * image.size)], "its first 0 are numbers"),
        (lambda image: [tensor(image, data=[10**400] * 3)], "its first 0 are numbers"),
        (lambda image: [tensor(image, data=[[0.1], [0.2, 0.3]])], "its first 3 are numbers"),
        (lambda image: [tensor(image, data=["a" * 1000, *["b"] * 1000])], "its first 0 are numbers"),
        (lambda image: [tensor(image, data=spoilt(image, float("nan")))], "expected images that were prepared"),
        (lambda image: [tensor(image, data=spoilt(image, float("inf")))], "expected images that were prepared"),
        (lambda image: [tensor(image, data=spoilt(image, 1.5))], "expected images that were prepared"),
        (lambda image: [tensor(image, data=spoilt(image, -0.5))], "expected images that were prepared"),
        (lambda image: [tensor(0 * image)], "expected images that were prepared"),
        (lambda image: [tensor(image, parameters={"shared_memory_region": "x"})], "shared_memory_region"),
        (lambda image: [tensor(image, parameters={"binary_data_size": 8})], "binary_data_size is 8"),
        (lambda image: [tensor(image, parameters=[])], "'parameters' is []"),
    ],
)
def test_a_tensor_that_is_no_prepared_image_is_refused(
    server: Server, image: np.ndarray, change: Callable[[np.ndarray], Any], words: str
) -> None:
    answer = requests.post(server.url + INFER, data=json.dumps({"inputs": change(image)}), timeout=30)
    assert answer.status_code == 400 and words in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"", {}, "not JSON"),
        (b"[1, 2]", {}, "expected a JSON object"),
        (b"[" * 100_000, {}, "not JSON"),
        (b"{}" + b"\0" * 16, {"Inference-Header-Content-Length": "99"}, "is '99'; expected at most 18"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, "is '-1'"),
        (b"{}", {"Inference-Header-Content-Length": "9" * 5000}, "expected at most 2"),
        (b"{\xff\xfe}", {}, "not JSON"),
        (b'{"inputs": ' + b"1" * 5000 + b"}", {}, "not JSON"),
    ],
)
def test_a_body_that_is_no_request_is_refused(server: Server, body: bytes, headers: dict[str, str], words: str) -> None:
    answer = requests.post(server.url + INFER, data=body, headers=headers, timeout=30)
    assert answer.status_code == 400 and words in answer.json()["error"]


def test_raw_bytes_of_another_length_are_refused(server: Server, image: np.ndarray) -> None:
    said = {"inputs": [{**tensor(image), "data": None, "parameters": {"binary_data_size": 4 * image.size}}]}
    del said["inputs"][0]["data"]
    head = json.dumps(said).encode()
    for raw in (image.tobytes()[:-4], image.tobytes() + b"\0"):
        headers = {"Inference-Header-Content-Length": str(len(head))}
        answer = requests.post(server.url + INFER, data=head + raw, headers=headers, timeout=30)
        assert answer.status_code == 400 and f"expected {4 * image.size}" in answer.json()["error"]


@pytest.mark.parametrize("outputs", [[], [{"name": "logits"}], [{"name": "pred", "parameters": {"classification": 2}}]])
def test_outputs_that_are_not_there_are_refused(server: Server, image: np.ndarray, outputs: Any) -> None:
    said = {"inputs": [tensor(image)], "outputs": outputs}
    answer = requests.post(server.url + INFER, data=json.dumps(said), timeout=30)
    assert answer.status_code == 400 and "branch_scores" in answer.json()["error"]
