"""The server as its clients see it: the protocol by Triton's own client, studies as forms, refusals with words, counts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest
import requests
import tritonclient.http as triton
from etscnet_edge.classifier import Classifier
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import ROOT, brain_image, write_study
from tests.edge.conftest import Server, wait_until_ready

INFER = "/v2/models/etscnet/infer"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_study(tmp_path_factory.mktemp("pair"), "sub-01", seed=1)


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


def form(pair: dict[str, str]) -> dict[str, tuple[str, bytes]]:
    return {name: (Path(path).name, Path(path).read_bytes()) for name, path in pair.items()}


def post(url: str, files: Any, **options: Any) -> requests.Response:
    return requests.post(f"{url}/v1/studies", files=files, timeout=60, **options)


# The protocol


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
        (lambda image: [tensor(image, data=[0.5])], "'data' has 1 numbers"),
        (lambda image: [tensor(image, data=None)], "'data' is no list of numbers"),
        (lambda image: [tensor(image, data=[[0.1], [0.2, 0.3]])], "'data' is no list of numbers"),
        (lambda image: [tensor(image, data=["a"])], "'data' is no list of numbers"),
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
        (b"{}" + b"\0" * 16, {"Inference-Header-Content-Length": "99"}, "expected at most the body's"),
        (b"{}", {"Inference-Header-Content-Length": "-1"}, "is '-1'"),
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


# Studies


def test_a_study_is_scored_as_by_predict(server: Server, exports: Path, pair: dict[str, str]) -> None:
    with Classifier(exports) as classifier:
        expected = classifier.predict(pair).to_dict()
    said = post(server.url, form(pair)).json()
    assert set(said) == set(expected)
    for key in ("score", "branch_scores", "decision", "threshold", "warnings"):
        assert said[key] == expected[key]
    for name, path in pair.items():
        assert said["files"][name] == {"name": Path(path).name, "sha256": expected["files"][name]["sha256"]}


def test_masks_are_taken_all_or_none(server: Server, pair: dict[str, str], tmp_path: Path) -> None:
    files = form(pair)
    for name, path in pair.items():
        image = nib.load(path)
        mask = tmp_path / f"{name}_mask.nii.gz"
        nib.save(nib.Nifti1Image((np.asarray(image.dataobj) > 0).astype(np.uint8), image.affine), mask)
        files[f"{name}_mask"] = (mask.name, mask.read_bytes())
    assert post(server.url, files).json()["score"] == pytest.approx(post(server.url, form(pair)).json()["score"])
    del files["t2w_mask"]
    answer = post(server.url, files)
    assert answer.status_code == 400 and "a mask for each or for none" in answer.json()["error"]


def test_a_name_is_never_a_path(server: Server, pair: dict[str, str], tmp_path: Path) -> None:
    secret = tmp_path / "secret.nii.gz"
    secret.write_bytes(b"")
    files = {name: (f"../../../{secret}", content) for name, (_, content) in form(pair).items()}
    assert post(server.url, files).status_code == 200
    nameless = {name: ("", content) for name, (_, content) in form(pair).items()}
    assert post(server.url, nameless).status_code in (200, 400)


@pytest.mark.parametrize(
    ("files", "status", "words"),
    [
        (lambda pair: {"flair": form(pair)["flair"]}, 400, "expected ['flair', 't2w']"),
        (lambda pair: {**form(pair), "t1w": form(pair)["flair"]}, 400, "No multipart form (Too many files"),
        (lambda pair: {"flair": form(pair)["flair"], "t1w": form(pair)["flair"]}, 400, "The field 't1w'"),
        (lambda pair: {**form(pair), "flair": form(pair)["t2w"]}, 422, "are the same image"),
        (lambda pair: {**form(pair), "t2w": ("a.nii.gz", b"")}, 422, "the file is empty"),
        (lambda pair: {**form(pair), "t2w": ("a.nii.gz", b"PK\3\4" + b"x" * 500)}, 422, "not NIfTI"),
        (lambda pair: {**form(pair), "t2w": ("a.nii.gz", form(pair)["t2w"][1][:5000])}, 422, "cut short or damaged"),
    ],
)
def test_a_study_at_fault_is_refused_with_words(
    server: Server, pair: dict[str, str], files: Callable[[dict[str, str]], Any], status: int, words: str
) -> None:
    if "Too many" in words:
        files = lambda pair: [*form(pair).items(), *[("flair", form(pair)["flair"])] * 3]  # noqa: E731
    answer = post(server.url, files(pair))
    assert answer.status_code == status and words in answer.json()["error"]


def test_a_text_field_is_refused(server: Server, pair: dict[str, str]) -> None:
    answer = post(server.url, form(pair), data={"patient": "Jane"})
    assert answer.status_code == 400 and "expected files in" in answer.json()["error"]


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/form-data; boundary=x"])
def test_what_is_no_form_is_refused(server: Server, kind: str) -> None:
    answer = requests.post(f"{server.url}/v1/studies", data=b"{}", headers={"content-type": kind}, timeout=30)
    assert answer.status_code in (400, 415) and "expected" in answer.json()["error"]


def test_an_unknown_path_or_method_is_said(server: Server) -> None:
    assert requests.get(f"{server.url}/v1/nothing", timeout=30).status_code == 404
    answer = requests.get(f"{server.url}/v1/studies", timeout=30)
    assert answer.status_code == 405 and answer.json()["error"].startswith("GET /v1/studies")


# Bodies and places


def test_a_body_over_the_limit_is_refused_by_length_and_by_count(
    start_server: Callable[..., Any], pair: dict[str, str]
) -> None:
    start = b'--b\r\nContent-Disposition: form-data; name="flair"; filename="a.nii"\r\n\r\n'

    def chunks() -> Iterator[bytes]:
        yield start
        for _ in range(40):
            yield b"x" * 100_000

    with start_server("--body_mb", "1") as server:
        for path in ("/v1/studies", INFER):
            for body in (b"x" * 4_000_000, chunks()):
                headers = {"content-type": "multipart/form-data; boundary=b"}
                answer = requests.post(server.url + path, data=body, headers=headers, timeout=30)
                assert answer.status_code == 413 and "larger than 1000000 bytes" in answer.json()["error"]
        assert post(server.url, form(pair)).status_code == 200


def test_a_zipped_body_is_refused(server: Server) -> None:
    answer = requests.post(server.url + INFER, data=b"x", headers={"content-encoding": "gzip"}, timeout=30)
    assert answer.status_code == 415 and "content encoding" in answer.json()["error"]


def slow_request(server: Server) -> socket.socket:
    """Headers that promise a body, and none of it: it holds a place."""
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port))
    connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 100\r\n\r\n".encode())
    return connection


def pending(server: Server) -> float:
    metrics = requests.get(f"{server.url}/metrics", timeout=30).text
    families = {family.name: family for family in text_string_to_metric_families(metrics)}
    return float(families["nv_inference_pending_request_count"].samples[0].value)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come about"
        time.sleep(0.02)


def test_a_full_queue_answers_503_with_a_time_and_empties(
    start_server: Callable[..., Any], pair: dict[str, str]
) -> None:
    with start_server("--queue", "1") as server:
        held = [slow_request(server), slow_request(server)]
        wait_for(lambda: pending(server) == 2)
        answer = post(server.url, form(pair))
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
        assert "2 studies are in work or wait" in answer.json()["error"]
        for connection in held:
            connection.close()
        wait_for(lambda: pending(server) == 0)
        assert post(server.url, form(pair)).status_code == 200


def test_a_body_that_does_not_come_is_given_up(start_server: Callable[..., Any]) -> None:
    with start_server("--body_seconds", "0.5") as server, slow_request(server) as connection:
        connection.settimeout(20)
        answer = connection.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408") and b"within 0.5 s" in answer


# Counts


def test_metrics_and_statistics_count_what_was_asked(start_server: Callable[..., Any], pair: dict[str, str]) -> None:
    with start_server() as server:
        for _ in range(3):
            assert post(server.url, form(pair)).status_code == 200
        assert post(server.url, {**form(pair), "t2w": ("a.nii", b"x")}).status_code == 422
        metrics = requests.get(f"{server.url}/metrics", timeout=30).text
        values = {
            (sample.name, sample.labels.get("reason")): sample.value
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
        }
        assert values["nv_inference_request_success", None] == 3
        assert values["nv_inference_request_failure", "OTHER"] == 1
        assert values["nv_inference_request_failure", "BACKEND"] == 0
        stages = ("queue", "compute_input", "compute_infer", "compute_output")
        durations = [values[f"nv_inference_{stage}_duration_us", None] for stage in stages]
        assert 0 < sum(durations) <= values["nv_inference_request_duration_us", None]
        assert values["process_resident_memory_bytes", None] > 1e7
        said = requests.get(f"{server.url}/v2/models/etscnet/stats", timeout=30).json()["model_stats"][0]
        assert said["inference_count"] == 3 and said["inference_stats"]["fail"]["count"] == 1
        assert said["inference_stats"]["compute_infer"]["ns"] > 0


# Life


def test_sigterm_answers_the_study_in_work_and_refuses_the_rest(
    start_server: Callable[..., Any], pair: dict[str, str], tmp_path: Path
) -> None:
    large = {}
    for number, name in enumerate(("flair", "t2w")):  # a study of a second or two
        image = brain_image(number, shape=(300, 300, 160))
        affine = np.diag([0.6, 0.6, 0.9, 1.0])
        path = tmp_path / f"{name}.nii"
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), path)
        large[name] = (path.name, path.read_bytes())
    with start_server() as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(post, server.url, large)
        wait_for(lambda: pending(server) == 1)
        time.sleep(0.3)
        second = pool.submit(post, server.url, form(pair))
        wait_for(lambda: pending(server) == 2 or second.done())
        server.process.send_signal(signal.SIGTERM)
        assert first.result().status_code == 200
        assert second.result().status_code == 503 and "stops" in second.result().json()["error"]
        server.process.wait(20)
        with pytest.raises(requests.ConnectionError):
            post(server.url, form(pair))


def test_it_serves_again_after_kill_9_on_the_same_port_and_leaves_nothing(
    start_server: Callable[..., Any], pair: dict[str, str], tmp_path: Path
) -> None:
    with start_server() as server:
        port = urlsplit(server.url).port
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(post, server.url, form(pair))
            server.process.kill()
            server.process.wait()
            assert isinstance(asked.exception(), requests.ConnectionError) or asked.result().status_code == 200
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]
    with start_server(port=port) as server:
        assert urlsplit(server.url).port == port and post(server.url, form(pair)).status_code == 200
    assert [path.name for path in tmp_path.iterdir()] == ["server.log"]


def test_it_is_live_before_it_is_ready(start_server: Callable[..., Any]) -> None:
    with start_server(ready=False) as server:
        assert requests.get(f"{server.url}/v2/health/live", timeout=30).status_code == 200
        wait_until_ready(server)


def test_a_model_that_can_not_be_loaded_ends_the_server_with_its_reason(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "etscnet_edge", "serve", "--exports", str(tmp_path), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 1 and f"file {tmp_path}/etscnet.json: no manifest" in done.stderr
