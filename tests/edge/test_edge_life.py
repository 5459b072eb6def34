"""The server's start, its stop, its death, and connections that only wait."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nibabel as nib
import numpy as np
import pytest
import requests
import uvicorn
from etscnet_edge.server.connection import Connection

from tests.conftest import ROOT, brain_image
from tests.edge.asking import form, pending, post, slow_request, wait_for
from tests.edge.conftest import wait_until_ready


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


def test_sigterm_does_not_wait_for_a_stalled_upload(start_server: Callable[..., Any]) -> None:
    with start_server() as server, slow_request(server) as connection:
        wait_for(lambda: pending(server) == 1)
        server.process.send_signal(signal.SIGTERM)
        connection.settimeout(10)
        assert connection.recv(65536).startswith(b"HTTP/1.1 503")
        server.process.wait(10)


def test_headers_that_do_not_come_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etscnet_edge.server.connection.HEADERS_S", 0.3)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(
        app, port=0, http=Connection, ws="none", lifespan="off", log_level="error", timeout_keep_alive=3
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        wait_for(lambda: running.started)
        address = running.servers[0].sockets[0].getsockname()
        whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n", whole + b"GET /"):
            with socket.create_connection(address) as connection:
                connection.sendall(begun)
                connection.settimeout(10)
                answer = b""
                while piece := connection.recv(4096):  # until it is closed
                    answer += piece
                assert answer.startswith(b"HTTP/1.1 200") == begun.startswith(whole)
        with socket.create_connection(
            address
        ) as connection:  # a connection that is kept is no headers that do not come
            connection.sendall(whole)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
            time.sleep(0.8)
            connection.sendall(whole)
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        running.should_exit = True
        thread.join()


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
