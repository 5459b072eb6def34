"""Engines from small graphs: the record is true, whatever cannot be built is refused with its reasons and leaves nothing behind.

TensorRT-RTX plans without a GPU, so that these run wherever it is installed; TensorRT itself needs a GPU.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tqdm import tqdm

from export import builder_log, to_tensorrt
from export.gpu import Gpu
from export.to_tensorrt import build_engine
from scripts.errors import InputError

CHANNELS, EDGE = 64, 32
WEIGHTS = CHANNELS * 9 + CHANNELS * CHANNELS * 9
ORIN = Gpu("Orin", "8.7", "540.4.0, CUDA 12.6")


def network(kind: int = TensorProto.FLOAT, *, batch: int | str = 1) -> onnx.ModelProto:
    """Two convolutions with SiLU between them and a mean, computed in `kind`, float32 outside."""
    rng, dtype = np.random.default_rng(0), helper.tensor_dtype_to_np_dtype(kind)
    first, second = (rng.standard_normal((CHANNELS, inner, 3, 3)).astype(dtype) for inner in (1, CHANNELS))
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], "enter", to=kind),
        helper.make_node("Conv", ["x", "first"], ["a"], "stem", pads=[1] * 4),
        helper.make_node("Sigmoid", ["a"], ["s"], "gate"),
        helper.make_node("Mul", ["a", "s"], ["m"], "silu"),
        helper.make_node("Conv", ["m", "second"], ["b"], "head", pads=[1] * 4),
        helper.make_node("Cast", ["b"], ["wide"], "leave", to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["wide"], ["pred"], "pool", axes=[1, 2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, EDGE, EDGE])],
        [helper.make_tensor_value_info("pred", TensorProto.FLOAT, [batch])],
        [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.fixture
def onnx_file(tmp_path: Path) -> Path:
    file = tmp_path / "small.onnx"
    file.write_bytes(network().SerializeToString())
    return file


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed: pip install tensorrt-rtx")


@pytest.fixture
def as_tensorrt(rtx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX, whose Python API is the same, in TensorRT's place on a machine that says it has a GPU."""
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
    monkeypatch.setattr(to_tensorrt, "find_gpu", lambda: ORIN)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_tensorrt, "find_gpu", lambda: None)


def refused(file: Path, **options: Any) -> str:
    """Build, be refused, see that nothing was written, neither a file nor a folder; what was said."""
    engine, before = file.parent / "built" / "small.engine", sorted(file.parent.rglob("*"))
    with pytest.raises(InputError) as said:
        build_engine(file, engine, **options)
    assert sorted(file.parent.rglob("*")) == before
    return str(said.value)


def test_importing_the_module_imports_no_tensorrt() -> None:
    code = "import sys, export.to_tensorrt; sys.exit(any(name.startswith('tensorrt') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], timeout=300).returncode == 0


@pytest.mark.usefixtures("rtx", "no_gpu")
def test_the_record_says_what_was_built_from_what(onnx_file: Path) -> None:
    engine_file = onnx_file.parent / "built" / "small.engine"
    record = build_engine(onnx_file, engine_file, target="tensorrt-rtx")
    assert record.engine_bytes == engine_file.stat().st_size > 0
    assert record.engine_sha256 == hashlib.sha256(engine_file.read_bytes()).hexdigest()
    assert record.onnx_sha256 == hashlib.sha256(onnx_file.read_bytes()).hexdigest()
    assert record.file == "small.engine" and record.seconds > 0
    assert (record.gpu, record.driver, record.compute_capability) == (None, None, "8.0 and later")
    assert record.version == sys.modules["tensorrt_rtx"].__version__
    assert record.interface_bytes == 4 * EDGE * EDGE + 4
    assert record.to_dict() == json.loads(json.dumps(record.to_dict()))


@pytest.mark.usefixtures("rtx", "no_gpu")
def test_the_types_in_the_graph_are_the_types_of_the_engine(tmp_path: Path) -> None:
    records = {}
    for name, kind in {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16}.items():
        (tmp_path / f"{name}.onnx").write_bytes(network(kind).SerializeToString())
        engine = tmp_path / f"{name}.engine"
        records[name] = build_engine(tmp_path / f"{name}.onnx", engine, target="tensorrt-rtx")
    assert records["float32"].precisions == ("float32",)
    assert records["float16"].precisions == ("float16", "float32")
    single, half = records["float32"].weights_bytes, records["float16"].weights_bytes
    assert single is not None and half is not None
    assert 4 * WEIGHTS <= single < 8 * WEIGHTS  # kernels may hold them padded or transformed, not twice as wide
    assert 2 * WEIGHTS <= half < 4 * WEIGHTS
    for record in records.values():
        assert record.activation_bytes is not None and record.activation_bytes >= 2 * CHANNELS * EDGE * EDGE


@pytest.mark.usefixtures("rtx", "no_gpu")
def test_two_builds_without_a_gpu_give_the_same_bytes(onnx_file: Path) -> None:
    first, second = (
        build_engine(onnx_file, onnx_file.with_name(f"{name}.engine"), target="tensorrt-rtx") for name in "ab"
    )
    assert first.engine_sha256 == second.engine_sha256


@pytest.mark.usefixtures("as_tensorrt")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TensorRT-RTX keeps timing caches for form's sake
def test_the_timing_cache_is_written_and_given_to_the_next_build(
    onnx_file: Path, rtx: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, given = rtx.IBuilderConfig.create_timing_cache, []

    def see(config: Any, content: bytes) -> Any:
        given.append(content)
        return create(config, b"")  # to read a cache the library asks the GPU whose it is

    monkeypatch.setattr(rtx.IBuilderConfig, "create_timing_cache", see)
    cache, engine = onnx_file.parent / "caches" / "orin.cache", onnx_file.with_name("small.engine")
    record = build_engine(onnx_file, engine, timing_cache=cache)
    assert (record.gpu, record.driver, record.compute_capability) == (ORIN.name, ORIN.driver, ORIN.compute_capability)
    written = cache.read_bytes()
    build_engine(onnx_file, engine, timing_cache=cache)
    assert given == [b"", written] and len(written) > 0


@pytest.mark.usefixtures("as_tensorrt")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_timing_cache_that_does_not_fit_is_refused_and_kept(onnx_file: Path) -> None:
    cache = onnx_file.with_name("orin.cache")
    cache.write_bytes(b"no cache")
    said = refused(onnx_file, timing_cache=cache)
    assert "not a timing cache" in said and "will not be used" in said  # the builder's own words
    assert cache.read_bytes() == b"no cache"


@pytest.mark.usefixtures("rtx")
@pytest.mark.parametrize(("gpu", "aim"), [("8.6", "8.6"), ("9.0", "8.0 and later")], ids=["listed", "unlisted"])
def test_rtx_builds_for_the_gpu_of_the_machine_where_it_can(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch, gpu: str, aim: str
) -> None:
    monkeypatch.setattr(to_tensorrt, "find_gpu", lambda: Gpu("some card", gpu, "CUDA 13.0"))
    engine = onnx_file.with_name("small.engine")
    assert build_engine(onnx_file, engine, target="tensorrt-rtx").compute_capability == aim


@pytest.mark.usefixtures("rtx", "no_gpu")
def test_what_the_builder_cannot_do_is_said_in_its_words_and_the_old_engine_stays(onnx_file: Path) -> None:
    assert "workspace" in refused(onnx_file, target="tensorrt-rtx", memory_mb=1)
    engine = onnx_file.with_name("small.engine")
    engine.write_bytes(b"old")
    with pytest.raises(InputError, match="no engine can be built"):
        build_engine(onnx_file, engine, target="tensorrt-rtx", memory_mb=1)
    assert engine.read_bytes() == b"old"


@pytest.mark.usefixtures("rtx", "no_gpu")
def test_an_interrupted_build_stops_and_writes_nothing(onnx_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(tqdm):  # type: ignore[misc]
        def update(self, n: float | None = 1) -> bool | None:
            raise KeyboardInterrupt

    monkeypatch.setattr(builder_log, "tqdm", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_engine(onnx_file, onnx_file.with_name("small.engine"), target="tensorrt-rtx")
    assert list(onnx_file.parent.iterdir()) == [onnx_file]


@pytest.mark.usefixtures("rtx", "no_gpu")
def test_every_error_of_the_parser_is_listed(onnx_file: Path) -> None:
    model = network()
    model.graph.node[2].op_type, model.graph.node[6].op_type = "Sigmoyd", "ReduceMeen"
    onnx_file.write_bytes(model.SerializeToString())
    said = refused(onnx_file, target="tensorrt-rtx")
    assert "Sigmoyd" in said and "ReduceMeen" in said and str(onnx_file) in said


@pytest.mark.usefixtures("rtx", "no_gpu")
def test_free_axes_are_refused(onnx_file: Path) -> None:
    onnx_file.write_bytes(network(batch="batch").SerializeToString())
    assert "the input image has free axes, (-1, 1, 32, 32)" in refused(onnx_file, target="tensorrt-rtx")


def outside(content: bytes) -> bytes:
    model = onnx.load_model_from_string(content)
    onnx.external_data_helper.set_external_data(model.graph.initializer[1], "secrets.bin")
    return bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-100], "not ONNX"),
        (lambda content: b"", "an empty graph"),
        (outside, "1 weights in files outside it (second"),
    ],
    ids=["cut short", "empty", "external data"],
)
def test_what_is_no_whole_onnx_model_is_refused(onnx_file: Path, damage: Callable[[bytes], bytes], said: str) -> None:
    onnx_file.write_bytes(damage(onnx_file.read_bytes()))
    assert said in refused(onnx_file, target="tensorrt-rtx")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "python -m export onnx" in refused(tmp_path / "none.onnx")


@pytest.mark.usefixtures("no_gpu")
def test_tensorrt_without_a_gpu_says_what_to_do(onnx_file: Path) -> None:
    said = refused(onnx_file)
    assert "no NVIDIA GPU" in said and "--target tensorrt-rtx" in said


@pytest.mark.parametrize("target", ["tensorrt", "tensorrt-rtx"])
def test_a_missing_package_says_how_to_install_it(
    onnx_file: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setattr(to_tensorrt, "find_gpu", lambda: ORIN)
    monkeypatch.setitem(sys.modules, target.replace("-", "_"), None)
    assert f"pip install {target}." in refused(onnx_file, target=target)


@pytest.mark.parametrize(
    "options",
    [{"target": "tensorflow"}, {"memory_mb": 0}, {"target": "tensorrt-rtx", "timing_cache": "rtx.cache"}],
    ids=lambda options: ", ".join(options),
)
def test_senseless_options_are_refused(onnx_file: Path, options: dict[str, Any]) -> None:
    assert "expected" in refused(onnx_file, **options)


def test_the_planned_memory_is_read_from_every_form_of_the_log() -> None:
    class Module:
        ILogger = object

    log = builder_log.builder_log(Module)
    for text in ("Total Activation Memory: 900", "Total Activation Memory: 7340032 bytes", "Total Weights Memory: 51"):
        log.log(3, text)  # 10.0 to 10.6 without the unit, later with it; the last one counts
    assert (log.planned("Activation"), log.planned("Weights")) == (7340032, 51)
    log.lines.clear()
    log.log(3, "Total Weights Memory: 51 MB")
    assert log.planned("Weights") is None
