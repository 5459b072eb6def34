"""Bodies that are too large, too slow, zipped or broken off; a queue that is full; clients that leave."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import requests

from tests.edge.asking import INFER, form, pending, post, slow_request, wait_for
from tests.edge.conftest import Server


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
    with start_server("--body_timeout_s", "0.5") as server, slow_request(server) as connection:
        connection.settimeout(20)
        answer = connection.recv(65536)
        while b"within" not in answer and (piece := connection.recv(65536)):  # head and body come apart
            answer += piece
        assert answer.startswith(b"HTTP/1.1 408") and b"within 0.5 s" in answer


def test_a_json_that_is_no_tensors_is_not_even_read(server: Server) -> None:
    answer = requests.post(server.url + INFER, data=b"[" + b"{}," * 10**7 + b"0]", timeout=30)
    assert answer.status_code == 413 and "Send the tensor in its binary form" in answer.json()["error"]


@pytest.mark.parametrize("charset", ["utf-7", "unicode_escape", "punycode", "undefined"])
def test_a_form_in_another_charset_is_refused(server: Server, charset: str) -> None:
    headers = {"content-type": f"multipart/form-data; boundary=b; charset={charset}"}
    answer = requests.post(f"{server.url}/v1/studies", data=b"--b--", headers=headers, timeout=30)
    assert answer.status_code == 415 and "expected multipart/form-data" in answer.json()["error"]


def test_refused_studies_leave_no_body_in_memory(start_server: Callable[..., Any], pair: dict[str, str]) -> None:
    large = {**form(pair), "t2w": ("a.nii", np.random.default_rng(0).bytes(20_000_000))}
    with start_server("--queue", "2", "--body_mb", "30") as server:
        assert post(server.url, large).status_code == 422
        assert post(server.url, form(pair)).status_code == 200
        before = server.resident_mb()
        for _ in range(8):
            assert post(server.url, large).status_code == 422
        assert server.resident_mb() - before < 32


def test_nothing_is_computed_for_a_client_that_left(start_server: Callable[..., Any], pair: dict[str, str]) -> None:
    with start_server() as server:
        prepared = requests.Request("POST", f"{server.url}/v1/studies", files=form(pair)).prepare()
        assert isinstance(prepared.body, bytes)
        headers = {
            name: value if isinstance(value, str) else value.decode() for name, value in prepared.headers.items()
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        address = urlsplit(server.url)
        connections = []
        for _ in range(4):
            connection = socket.create_connection((address.hostname, address.port))
            connection.sendall(
                f"POST /v1/studies HTTP/1.1\r\nHost: {address.netloc}\r\n{head}\r\n".encode() + prepared.body
            )
            connections.append(connection)
        for connection in connections:
            connection.close()
        wait_for(lambda: pending(server) == 0)
        said = requests.get(f"{server.url}/v2/models/etscnet/stats", timeout=30).json()["model_stats"][0]
        assert said["inference_count"] < 4 and said["inference_count"] + said["inference_stats"]["fail"]["count"] == 4
