"""How the tests of the edge server ask it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.edge.conftest import Server

INFER = "/v2/models/etscnet/infer"


def form(pair: dict[str, str]) -> dict[str, tuple[str, bytes]]:
    return {name: (Path(path).name, Path(path).read_bytes()) for name, path in pair.items()}


def post(url: str, files: Any, **options: Any) -> requests.Response:
    return requests.post(f"{url}/v1/studies", files=files, timeout=60, **options)


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
