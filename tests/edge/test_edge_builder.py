"""Parts of a build: the memory that it is held against, its progress, and the real TensorRT-RTX, which plans without a GPU."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from etscnet_edge import build_memory
from etscnet_edge.build_progress import Progress
from etscnet_edge.builder import plan_engine
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import read_manifest
from onnx import TensorProto, helper, numpy_helper

from tests.conftest import ROOT


def test_a_jetsons_memory_is_counted_once(exports: Path, tmp_path: Path) -> None:
    manifest = read_manifest(exports)
    size: dict[str, Any] = {"onnx_bytes": 40_000_000, "workspace": 10**9}
    jetson = build_memory.need(manifest, integrated=True, **size)
    apart = build_memory.need(manifest, integrated=False, **size)
    assert jetson.device == apart.device - build_memory.LIBRARIES_DEVICE > 10**9
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 8000000 kB\nMemFree: 1 kB\nMemAvailable:    2000000 kB\n")
    free = build_memory.available_host(meminfo)
    assert free == 2_048_000_000
    assert jetson.host < free and jetson.device < free < jetson.host + jetson.device
    with pytest.raises(InputError, match=r"2048 MB of memory, which processor and GPU share, are free"):
        build_memory.refuse_too_little(jetson, host=free, device=10**12)
    build_memory.refuse_too_little(jetson, host=jetson.host + jetson.device, device=0)
    with pytest.raises(InputError, match="of memory are free"):
        build_memory.refuse_too_little(apart, host=apart.host - 1, device=10**12)
    build_memory.refuse_too_little(apart, host=build_memory.available_host(tmp_path / "none"), device=10**12)


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_is_lines_or_one_bar(terminal: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    progress = Progress(stream)
    progress.step("Timing graph nodes", 5, 10)
    progress.step("Timing graph nodes", 6, 10)  # too soon
    progress.say("done")
    progress.close()
    bar = f"\r[{'#' * 12}{'-' * 12}] Timing graph nodes 5/10, 0:00"
    blank = f"\r{' ' * (len(bar) - 1)}\r"
    line = "etscnet-edge: Timing graph nodes 5/10, 0:00\n"
    assert stream.getvalue() == (bar + blank if terminal else line) + "etscnet-edge: done\n"


def small_graph() -> bytes:
    """A convolution, SiLU, mean."""
    weights = np.random.default_rng(0).standard_normal((16, 1, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["a"], "stem", pads=[1] * 4),
        helper.make_node("Sigmoid", ["a"], ["s"], "gate"),
        helper.make_node("Mul", ["a", "s"], ["m"], "silu"),
        helper.make_node("ReduceMean", ["m"], ["pred"], "pool", axes=[1, 2, 3], keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, 32, 32])
    pred = helper.make_tensor_value_info("pred", TensorProto.FLOAT, [1])
    graph = helper.make_graph(nodes, "small", [image], [pred], [numpy_helper.from_array(weights, "weights")])
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorRT-RTX keeps timing caches for form's sake
def test_a_real_builder_takes_what_is_asked_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install tensorrt-rtx")
    phases, cleared, limits = set[str](), [], []
    clear, limit = rtx.IBuilderConfig.clear_flag, rtx.IBuilderConfig.set_memory_pool_limit

    def see_clear(config: Any, flag: Any) -> None:
        clear(config, flag)
        cleared.append((flag, config.get_flag(flag)))

    def see_limit(config: Any, pool: Any, size: int) -> None:
        limit(config, pool, size)
        limits.append((pool, config.get_memory_pool_limit(pool)))

    monkeypatch.setattr(rtx.IBuilderConfig, "clear_flag", see_clear)
    monkeypatch.setattr(rtx.IBuilderConfig, "set_memory_pool_limit", see_limit)
    engine = tmp_path / "small.engine"
    asked: dict[str, Any] = {"workspace": 64 * 10**6, "report": lambda phase, done, of: phases.add(phase)}
    kept = plan_engine(rtx, small_graph(), engine, measured=b"", **asked)
    assert engine.stat().st_size > 0 and phases and isinstance(kept, bytes)
    assert cleared == [(rtx.BuilderFlag.TF32, False)] and limits == [(rtx.MemoryPoolType.WORKSPACE, 64 * 10**6)]
    assert plan_engine(rtx, small_graph(), engine, measured=None, **asked) is None
    with pytest.raises(InputError, match="parser refuses the graph"):
        plan_engine(rtx, small_graph()[:-50], engine, measured=None, **asked)


def test_importing_the_builder_loads_no_runtime_and_nothing_of_ours() -> None:
    code = (
        "import sys, etscnet_edge.builder, etscnet_edge.build; "
        "print({'tensorrt', 'onnxruntime', 'torch', 'onnx', 'export', 'scripts'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "edge", check=True)
    assert done.stdout.strip() == "set()"
