"""A real `tritonserver`, from PyPI's nvidia-pytriton: `make triton` makes its environment, $TRITON_ENVIRONMENT names another.

Where $TRITON_BACKENDS names a folder with Triton's own ONNX Runtime backend (`onnxruntime/libtriton_onnxruntime.so`), that one
runs the graph, else the stand-in for it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

BACKEND = Path(__file__).with_name("triton_backend.py")
READY_S = 300.0


@dataclass(frozen=True)
class Triton:
    """A running server.

    Attributes:
        url: of HTTP.
        metrics: of Prometheus.
        log: its output.
        process: the server's; the stand-in of a backend has one of its own.
    """

    url: str
    metrics: str
    log: Path
    process: subprocess.Popen[bytes]

    def peak_mib(self) -> float:
        """Of the server's process, 2**20 bytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def packages() -> Path:
    """The site-packages with the server."""
    environment = Path(os.environ.get("TRITON_ENVIRONMENT", ROOT / ".venv-triton"))
    found = [*environment.glob("lib/python3*/site-packages/pytriton")]
    if not found:
        pytest.skip("no Triton server: make triton-test")
    return found[0].parent


@contextmanager
def running_triton(models: Path, folder: Path) -> Iterator[Triton]:
    """Serve a repository on free ports, its configuration as it is written, and wait until it is ready."""
    site = packages()
    program, log = site / "pytriton" / "tritonserver", folder / "triton.log"
    given = os.environ.get("TRITON_BACKENDS")
    backends = Path(given) if given else _stand_in(site, folder / "backends")
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        http, metrics = (one.getsockname()[1] for one in sockets)
    command = [str(program / "bin" / "tritonserver"), f"--model-repository={models}"]
    command += [f"--backend-directory={backends}", "--disable-auto-complete-config", "--allow-grpc=false"]
    command += ["--http-address=127.0.0.1", f"--http-port={http}", f"--metrics-port={metrics}"]
    libraries = str(site / "nvidia_pytriton.libs")
    environment = {**os.environ, "PYTHONPATH": str(site), "LD_LIBRARY_PATH": libraries, "TMPDIR": str(folder)}
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, env=environment) as process:
        try:
            _wait(f"http://127.0.0.1:{http}", process, log)
            yield Triton(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{metrics}/metrics", log, process)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _stand_in(site: Path, backends: Path) -> Path:
    """The folder `backends` with Triton's Python backend, and one of ours that stands on it."""
    program, python = site / "pytriton" / "tritonserver", site.parent.name.removeprefix("python")
    shutil.copytree(program / "backends" / "python", backends / "python")
    shutil.copy(program / "python_backend_stubs" / python / "triton_python_backend_stub", backends / "python")
    (backends / "onnxruntime").mkdir()
    shutil.copy(BACKEND, backends / "onnxruntime" / "model.py")
    return backends


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5)
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.2)
    raise AssertionError(f"Triton does not get ready:\n{log.read_text()[-4000:]}")
