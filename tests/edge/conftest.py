"""The real server, in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, write_study

READY_S = 120.0


@dataclass(frozen=True)
class Server:
    """A running `etscnet-edge serve`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def resident_mb(self) -> float:
        """10^6 bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1.024e-3


@contextmanager
def running_server(exports: Path, folder: Path, *options: str, port: int = 0, ready: bool = True) -> Iterator[Server]:
    """Start it, wait until it is ready, and end it."""
    log = folder / "server.log"
    command = [sys.executable, "-m", "etscnet_edge", "serve", "--exports", str(exports), "--port", str(port), *options]
    command += [] if "--threads" in options else ["--threads", "1"]  # two on a busy core wait for each other
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge"), "TMPDIR": str(folder)}
    with log.open("wb") as stream, subprocess.Popen(command, cwd=folder, stderr=stream, env=environment) as process:
        try:
            server = Server(_url(log, process), process, log)
            if ready:
                wait_until_ready(server)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _url(log: Path, process: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"running on (https?://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(f"the server does not run:\n{log.read_text()}")


def wait_until_ready(server: Server) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and server.process.poll() is None:
        try:
            urllib.request.urlopen(f"{server.url}/v2/health/ready", timeout=5)
            return
        except urllib.error.HTTPError:
            time.sleep(0.05)
    raise AssertionError(f"the server does not get ready:\n{server.log.read_text()}")


@pytest.fixture(scope="session")
def server(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests that do it no harm."""
    with running_server(exports, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def start_server(small_exports: Path, tmp_path: Path) -> Callable[..., object]:
    """Start another, of the small network, with options of its own: `with start_server("--queue", "1") as server`."""
    return lambda *options, **how: running_server(small_exports, tmp_path, *options, **how)


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_study(tmp_path_factory.mktemp("pair"), "sub-01", seed=1)
