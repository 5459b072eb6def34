"""An engine is built in a process of its own, tried with the golden study, put in place whole, and rebuilt where it is stale.

Whole, in real processes, on a CUDA and a TensorRT that stand in: see stand_in.py. The shipped network is built and scored once;
what can go wrong is tried with a small graph in its place.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from etscnet_edge import __version__, timing_cache
from etscnet_edge.cuda import Device
from etscnet_edge.engine_record import read_record
from etscnet_edge.manifest import read_manifest, sha256

from tests.edge import stand_in
from tests.edge.engine_bench import ENGINE, KEPT, RECORD, Bench, alive, small_export, wait_for

ORIN = Device("Orin", "8.7", True, "driver 12.6, runtime 12.6")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in.make(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="session")
def small(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    small_export(exports, folder)
    return folder


@pytest.fixture(scope="session")
def first(machine: Path, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    bench = Bench(machine, small, tmp_path_factory.mktemp("first") / "engines")
    bench.good("build")
    return bench


@pytest.fixture
def bench(machine: Path, small: Path, tmp_path: Path) -> Bench:
    """No engine yet."""
    return Bench(machine, small, tmp_path / "engines")


@pytest.fixture
def built(first: Bench, bench: Bench) -> Bench:
    """With an engine of its own."""
    shutil.copytree(first.engines, bench.engines)
    return bench


def expected_scores(exports: Path) -> dict[str, list[Any]]:
    session = onnxruntime.InferenceSession(str(exports / "etscnet.gpu-fp32.onnx"), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(3).random(session.get_inputs()[0].shape, dtype=np.float32)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, {"image": image}), strict=True))


def test_the_network_is_built_tried_recorded_and_scores_as_onnx_runtime_does(
    machine: Path, exports: Path, tmp_path: Path
) -> None:
    bench = Bench(machine, exports, tmp_path / "new" / "engines")
    before = sha256(exports / "etscnet.json")
    record = bench.good("build", {"memory_mb": 256})
    assert sha256(exports / "etscnet.json") == before
    assert {path.name for path in bench.engines.iterdir()} == KEPT
    assert json.loads((bench.engines / RECORD).read_text()) == record
    graph = read_manifest(exports).said["files"]["etscnet.gpu-fp32.onnx"]["sha256"]
    assert (record["file"], record["sha256"]) == (ENGINE, sha256(bench.engine))
    assert record["bytes"] == bench.engine.stat().st_size > 0
    assert (record["onnx_sha256"], record["form"], record["precision"]) == (graph, "gpu-fp32", "float32")
    assert (record["tensorrt"], record["gpu"], record["compute_capability"]) == ("10.3.0", "Orin", "8.7")
    assert (record["cuda"], record["memory_mb"], record["package"]) == ("driver 12.6, runtime 12.2", 256, __version__)
    assert record["seconds"] >= 0 and 0 <= record["golden_difference"] <= 1e-5
    assert not json.loads(bench.engine.read_bytes().partition(b"\n")[0])["tf32"]

    found, expected = bench.good("score", {"rebuild": False}), expected_scores(exports)
    assert set(found) == set(expected) == {"pred", "branch_scores"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)  # threads may add in another order
    assert bench.events("begin") == 1


def test_where_there_is_none_it_is_built_and_said(bench: Bench) -> None:
    assert "there is no engine yet; expected the one for this export" in bench.refused("score", {"rebuild": False})
    done = bench.run("score")
    assert done.returncode == 0 and "there is no engine yet: it is built now" in done.stderr
    assert bench.events("begin") == 1 and {path.name for path in bench.engines.iterdir()} == KEPT


def flip(bench: Bench) -> None:
    content = bytearray(bench.engine.read_bytes())
    content[len(content) // 2] ^= 1
    bench.engine.write_bytes(content)


STALE: dict[str, tuple[Callable[[Bench], object], dict[str, str], str]] = {
    "JetPack": (lambda bench: None, {"tensorrt": "10.13.3"}, "built by TensorRT 10.3.0, here is 10.13.3"),
    "GPU": (lambda bench: None, {"gpu": "Orin Nano"}, "built for Orin 8.7, here is Orin Nano 8.7"),
    "capability": (lambda bench: None, {"capability": "11.0"}, "here is Orin 11.0"),
    "export": (lambda bench: bench.change_record(onnx_sha256="0" * 64), {}, "built from another export"),
    "changed": (flip, {}, "not the file that was built"),
    "cut short": (lambda bench: os.truncate(bench.engine, 100), {}, "not the file that was built"),
    "engine without record": (lambda bench: (bench.engines / RECORD).unlink(), {}, "no record that can be read"),
    "record cut short": (lambda bench: os.truncate(bench.engines / RECORD, 100), {}, "no record that can be read"),
    "record of another kind": (
        lambda bench: (bench.engines / RECORD).write_text("[]"),
        {},
        "no record that can be read",
    ),
    "record without engine": (lambda bench: bench.engine.unlink(), {}, "there is no engine yet"),
}


@pytest.mark.parametrize("name", STALE)
def test_a_stale_engine_is_refused_or_built_again_and_never_loaded(built: Bench, name: str) -> None:
    spoil, said, why = STALE[name]
    spoil(built)
    assert why in built.refused("score", {"rebuild": False}, **said)
    assert built.events("load") == 0
    done = built.run("score", None, **said)
    assert done.returncode == 0 and f"{why}: it is built now" in done.stderr, done.stderr
    assert (built.events("begin"), built.events("load")) == (1, 2)  # the golden study, the score
    built.good("score", {"rebuild": False}, **said)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("SIGKILL", "was killed (SIGKILL), most likely for want of memory; the end of its log: I Requesting 9 GB"),
        ("SIGSEGV", "died (SIGSEGV)"),
        ("unparsed", "parser refuses the graph (In node 3: Sigmoyd is unknown)"),
        ("unbuilt", "can't build an engine (Could not find any implementation for node stem)"),
        ("raises", "the build failed (OSError: [Errno 28] No space left on device)"),
        ("no-context", "no memory for the engine's activations"),
        ("wrong", "of the golden study"),
    ],
)
def test_a_build_that_fails_is_said_and_the_old_engine_stays(built: Bench, mode: str, words: str) -> None:
    assert words in built.refused("build", build=mode)
    built.good("score", {"rebuild": False})
    built.engine.unlink()
    assert words in built.refused("score", build=mode)  # nor is a new one put in place


def test_a_caller_that_is_killed_leaves_the_old_engine_and_no_process(built: Bench) -> None:
    before = built.content()
    process = built.start("build", build="hang")
    builder = wait_for(lambda: int(built.trace.read_text().split()[1]) if built.events("begin") else 0)
    process.kill()
    process.communicate()
    wait_for(lambda: not alive(builder))
    (built.engines / f".{ENGINE}.{process.pid}.engine.tmp").write_bytes(b"half")  # as if it had come to writing
    assert {name: said for name, said in built.content().items() if not name.endswith(".tmp")} == before
    built.good("score", {"rebuild": False})
    built.good("build")
    assert {path.name for path in built.engines.iterdir()} == KEPT


def test_ctrl_c_ends_both(built: Bench) -> None:
    before = built.content()
    process = built.start("build", build="hang")
    builder = wait_for(lambda: int(built.trace.read_text().split()[1]) if built.events("begin") else 0)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0 and not alive(builder)
    assert built.content() == before


@pytest.mark.parametrize("verb", ["build", "score"])
def test_two_at_once_build_one(bench: Bench, verb: str) -> None:
    both = [bench.start(verb, build="slow") for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert bench.events("begin") == 1 and said[0][0] == said[1][0]
    assert sum("another process builds this engine: waiting for it" in err for _, err in said) == 1


@pytest.mark.parametrize("verb", ["build", "score"])
def test_what_the_machine_lacks_is_one_line(bench: Bench, tmp_path: Path, verb: str) -> None:
    assert "CUDA finds no GPU" in bench.refused(verb, devices="0")
    assert "TensorRT 8.6.2; expected 10.3 or later" in bench.refused(verb, tensorrt="8.6.2")
    (bench.machine / "tensorrt.py").rename(tmp_path / "tensorrt.py")
    try:
        assert "TensorRT can't be imported (No module named 'tensorrt')" in bench.refused(verb)
    finally:
        (tmp_path / "tensorrt.py").rename(bench.machine / "tensorrt.py")
    bench.engines = tmp_path / "tensorrt.txt" / "engines"
    bench.engines.parent.write_text("a file")
    assert "can't write here (Not a directory)" in bench.run(verb).stderr


def test_too_little_memory_is_said_before_anything_is_built(built: Bench) -> None:
    said = built.refused("build", free="500000000")
    assert "500 MB of GPU memory are free; expected about" in said and "--memory_mb" in said
    assert "2000 MB of GPU memory are free" in built.refused("build", {"memory_mb": 1500}, free="2000000000")
    assert built.events("begin") == 0
    assert "--memory_mb 0; expected 1 or more" in built.refused("build", {"memory_mb": 0})


def test_measured_times_are_kept_for_the_next_build(built: Bench) -> None:
    built.good("build")
    assert built.events("cache:TIMES") == 1
    built.good("build", {"timing_cache": False})
    assert built.events("cache:") == 1


@pytest.mark.parametrize("spoil", ["version", "damaged", "not ours", "large"])
def test_times_that_are_not_this_machines_are_dropped_and_said(built: Bench, spoil: str) -> None:
    cache, said = built.engines / timing_cache.NAME, {"tensorrt": "10.13.3"} if spoil == "version" else {}
    if spoil == "damaged":
        cache.write_bytes(cache.read_bytes()[:-1])
    elif spoil == "not ours":
        cache.write_bytes(b"TIMES")
    elif spoil == "large":
        os.truncate(cache, timing_cache.MAX_BYTES + 1)
    done = built.run("build", None, **said)
    assert done.returncode == 0 and "the timing cache is dropped: " in done.stderr, done.stderr
    assert built.events("cache:TIMES") == 0 and cache.stat().st_size < 1000
    version = said.get("tensorrt", "10.3.0")
    assert timing_cache.read_timing_cache(cache, tensorrt=version, device=ORIN) == (b"TIMES", "")


def test_an_unknown_form_and_a_changed_graph_are_refused(bench: Bench, tmp_path: Path) -> None:
    assert "no form 'gpu-int8'" in bench.refused("build", {"form": "gpu-int8"})
    copy = tmp_path / "exports"
    shutil.copytree(bench.exports, copy)
    os.truncate(copy / "etscnet.gpu-fp32.onnx", 100)
    bench.exports = copy
    assert "not the file that was exported" in bench.refused("build")


def test_a_record_of_a_later_schema_is_no_record(built: Bench) -> None:
    assert read_record(built.engine) is not None
    built.change_record(schema=2)
    assert read_record(built.engine) is None
