"""Routes in processes of their own: one that fails loses no other, none outlives the race, and noise is seen."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from export import race as race_module
from export.race import Row, Settings, race, rotated
from export.route import Route
from export.worker import RouteFailed, Worker
from tests.conftest import ROOT

QUICK = Settings(threads=1, repeats=3, warmup=1, attempts=3)
DEATH_S = 20.0  # a loaded machine may take its time to end a process


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.npy"
    np.save(path, np.full((1, 1, 4, 4, 4), 0.25, dtype=np.float32))
    return path


@pytest.fixture
def mean(tmp_path: Path) -> Route:
    """A graph whose score is the mean of the image."""
    value = helper.make_tensor_value_info
    node = helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=1)
    shape = helper.make_node("Reshape", ["mean", "flat"], ["pred"])
    flat = helper.make_tensor("flat", TensorProto.INT64, [2], [1, 1])
    graph = helper.make_graph(
        [node, shape],
        "mean",
        [value("image", TensorProto.FLOAT, [1, 1, 4, 4, 4])],
        [value("pred", TensorProto.FLOAT, [1, 1])],
        [flat],
    )
    path = tmp_path / "mean.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return Route("ort-mean", "onnxruntime", "onnxruntime", str(path))


def test_a_route_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path, mean: Route, image: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    routes = [
        Route("ort-broken", "onnxruntime", "onnxruntime", str(broken)),
        mean,
        Route("openvino-none", "none", "no_such_module", str(broken)),
        Route("gpu-none", "onnxruntime", "onnxruntime", mean.file, device="cuda"),
        Route("ort-absent", "onnxruntime", "onnxruntime", str(tmp_path / "absent.onnx")),
    ]
    rows = race(routes, image, settings=QUICK, gpu=False)
    assert [row.route for row in rows] == routes
    assert [row.status for row in rows] == ["failed", "ran", "not run", "not run", "not run"]
    assert "InvalidProtobuf" in rows[0].reason and rows[2].reason == "no module no_such_module"
    assert rows[3].reason == "no GPU" and rows[4].reason == "no file absent.onnx"
    ran = rows[1]
    assert len(ran.samples) == 3 and ran.score == pytest.approx(0.25)
    assert 10e6 < ran.imported_bytes <= ran.peak_bytes < 500e6  # Python, NumPy and ONNX Runtime are some tens of MB


def test_a_process_that_dies_is_a_row_with_its_last_words(mean: Route, image: Path) -> None:
    with Worker(mean, image, threads=1, limit_s=120) as worker:
        worker.load()
        worker.process.kill()
        with pytest.raises(RouteFailed, match="SIGKILL"):
            worker.sample()


def test_a_route_that_never_answers_is_given_up(mean: Route, image: Path) -> None:
    with (
        Worker(mean, image, threads=1, limit_s=0.01) as worker,
        pytest.raises(RouteFailed, match=r"no answer in 0\.01 s"),
    ):
        worker.load()


def test_a_route_has_its_environment_and_its_threads(mean: Route, image: Path) -> None:
    route = Route(mean.name, mean.kind, mean.library, mean.file, environment={"MALLOC_TRIM_THRESHOLD_": "12345"})
    with Worker(route, image, threads=3, limit_s=120) as worker:
        worker.load()
        environment = psutil.Process(worker.process.pid).environ()
    assert environment["MALLOC_TRIM_THRESHOLD_"] == "12345" and environment["OMP_NUM_THREADS"] == "3"


def test_ctrl_c_leaves_no_process(mean: Route, image: Path) -> None:
    started: list[int] = []
    before = {child.pid for child in psutil.Process().children()}  # of other tests: a server that they share

    def interrupted(*_: object) -> None:
        children = psutil.Process().children()
        started.extend(child.pid for child in children if child.pid not in before)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(race_module, "_sampled", interrupted)
        with pytest.raises(KeyboardInterrupt):
            race([mean], image, settings=QUICK, gpu=False)
    assert started and not any(psutil.pid_exists(pid) for pid in started)


def test_a_race_that_is_killed_leaves_no_process(mean: Route, image: Path) -> None:
    script = (
        "import time; from export.route import Route; from export.worker import Worker\n"
        f"worker = Worker(Route(**{mean.to_dict()!r}), {str(image)!r}, threads=1, limit_s=120); worker.load()\n"
        "print(worker.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
    deadline = time.monotonic() + DEATH_S
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the worker outlived the race"
        time.sleep(0.05)


class Busy:
    """Stands for a worker, the clock and the processors: a run keeps one busy, and others use so many more during each try."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, others: list[float], *, run_s: float = 1.0) -> None:
        self._others, self._run_s = itertools.chain(others, itertools.repeat(0.0)), run_s
        self.runs, self._rate, self._busy, self._clock = 0, 0.0, 0.0, 0.0
        monkeypatch.setattr(race_module, "busy_seconds", lambda: self._busy)
        monkeypatch.setattr(time, "perf_counter", lambda: self._clock)
        monkeypatch.setattr(time, "sleep", self._pass)

    def _pass(self, seconds: float) -> None:
        self._clock, self._busy = self._clock + seconds, self._busy + self._rate * seconds

    def sample(self) -> dict[str, Any]:
        self.runs, self._rate = self.runs + 1, next(self._others)
        self._pass(self._run_s)
        self._busy += self._run_s
        return {"seconds": 1.0 + 0.001 * self.runs, "cpu_seconds": self._run_s, "score": 0.5, "peak_bytes": 1}


ROW = Row(Route("ort-x", "onnxruntime", "onnxruntime", "x.onnx"), "ran")


def test_a_noisy_sample_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Busy(monkeypatch, [0.8, 0.5])
    row = race_module._sampled(worker, ROW, QUICK)  # type: ignore[arg-type]
    (sample,) = row.samples
    assert worker.runs == 3 and sample.tries == 3
    assert not sample.noisy and sample.seconds == pytest.approx(1.003)


def test_noise_is_seen_in_a_run_shorter_than_the_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Busy(monkeypatch, [1.1] * 9, run_s=0.01)
    row = race_module._sampled(worker, ROW, QUICK)  # type: ignore[arg-type]
    assert row.samples[0].noisy and row.samples[0].others == pytest.approx(1.1)


def test_where_it_never_gets_quiet_the_quietest_sample_is_kept_and_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Busy(monkeypatch, [0.8, 0.3, 0.5, 0.9])
    row = race_module._sampled(worker, ROW, QUICK)  # type: ignore[arg-type]
    (sample,) = row.samples
    assert worker.runs == QUICK.attempts
    assert sample.noisy and sample.others == pytest.approx(0.3) and sample.seconds == pytest.approx(1.002)
    assert row.noisy == 1 and row.to_dict()["noisy"] == 1


def test_each_round_begins_with_the_next_route() -> None:
    names = ["a", "b", "c"]
    assert [rotated(names, turn) for turn in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotated([], 1) == []


def test_busy_seconds_grow_by_what_the_processors_do() -> None:
    before, own = race_module.busy_seconds(), time.process_time()
    while time.process_time() - own < 0.3:
        pass
    # The kernel counts in ticks; all processors together are busy for at least what this process used.
    assert race_module.busy_seconds() - before > 0.3 - 2 * os.sysconf("SC_CLK_TCK") ** -1 - race_module.TICKS_S
