"""A thousand requests, good, bad, malicious, by eight clients at once: every answer right, no memory lost, nothing left."""

from __future__ import annotations

import csv
import os
import pickle
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import requests

from tests.conftest import ROOT
from tests.edge.conftest import Server, running_server
from tests.edge.load_cases import cases

BODY_MB = 8
CLIENTS = 8
WARM_UP, REQUESTS = 200, 1000
GROWTH_MB = 32 * 2**20 / 1e6


def load(server: Server, folder: Path, *, count: int) -> list[dict[str, str]]:
    """Locust's own table of what was sent; it fails where an answer was wrong."""
    command = [sys.executable, "-m", "locust", "--locustfile", str(Path(__file__).with_name("locustfile.py"))]
    command += ["--headless", "--users", str(CLIENTS), "--spawn-rate", str(CLIENTS), "--host", server.url]
    command += ["--csv", str(folder / f"load{count}"), "--only-summary", "--run-time", "10m"]
    environment = {**os.environ, "ETSCNET_CASES": str(folder / "cases"), "ETSCNET_REQUESTS": str(count)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / f"load{count}_stats.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_thousand_mixed_requests_by_eight_clients(small_exports: Path, tmp_path: Path, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("load")
    every = [asdict(case) for case in cases(small_exports, folder, body_limit=BODY_MB * 10**6)]
    (folder / "cases").write_bytes(pickle.dumps(every))
    with running_server(small_exports, tmp_path, "--body_mb", str(BODY_MB), "--memory_mb", "700") as server:
        load(server, folder, count=WARM_UP)
        before = server.resident_mb()
        rows = {row["Name"]: row for row in load(server, folder, count=REQUESTS)}
        after = server.resident_mb()
        assert set(rows) >= {case["name"] for case in every}
        assert int(rows["Aggregated"]["Request Count"]) >= REQUESTS  # a request that found no room was sent again
        assert after - before <= GROWTH_MB, f"{before:.0f} MB grew to {after:.0f}"
        metrics = requests.get(f"{server.url}/metrics", timeout=30).text
        assert 'nv_inference_request_failure{model="etscnet",reason="BACKEND",version="1"} 0.0' in metrics
        assert 'nv_inference_pending_request_count{model="etscnet",version="1"} 0.0' in metrics
        log = server.log.read_text()
        assert "Traceback" not in log and "sub-01" not in log and "Jane" not in log
        left = [path.name for path in server.log.parent.iterdir()]
        assert left == [server.log.name]
