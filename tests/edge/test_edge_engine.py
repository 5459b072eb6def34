"""An engine is checked before it runs, runs on device memory of its own, and gives it back: CUDA and TensorRT are stand-ins."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from etscnet_edge import cuda as edge_cuda
from etscnet_edge.cuda import Buffer, Cuda, CudaError, Stream
from etscnet_edge.errors import InputError
from etscnet_edge.tensorrt_engine import TensorRTEngine, load_tensorrt

from tests.edge import stand_in
from tests.edge.stand_in import means

SHAPE = (1, 2, 4, 4, 4)
IMAGE = np.random.default_rng(0).random(SHAPE, dtype=np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in.make(tmp_path_factory.mktemp("stand-in"))


@pytest.fixture
def live(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The stand-in's CUDA is this machine's; how many of its buffers and streams are held."""
    library = str(folder / stand_in.CUDART)
    monkeypatch.setattr(edge_cuda, "LIBRARIES", (library,))
    monkeypatch.setattr(edge_cuda, "FOLDER", str(folder / "none"))
    return ctypes.CDLL(library).stand_in_live


@pytest.fixture
def tensorrt(live: Any, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tensorrt", stand_in.HERE / "stand_in_tensorrt.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def file(tensorrt: Any, tmp_path: Path) -> Path:
    path = tmp_path / "means.engine"
    path.write_bytes(tensorrt.engine_bytes(means(SHAPE)))
    return path


def test_what_the_device_is(live: Any) -> None:
    device = Cuda().device()
    assert (device.name, device.compute_capability, device.integrated) == ("Orin", "8.7", False)
    assert device.cuda == "driver 12.6, runtime 12.2"
    assert Cuda().memory() == (64_000_000_000, 64_000_000_000)


def test_bytes_go_to_the_device_and_come_back_when_they_are_waited_for(live: Any) -> None:
    given, back = np.arange(6, dtype=np.float32), np.zeros(6, np.float32)
    cuda, before = Cuda(), live()
    with Buffer(cuda, given.nbytes) as buffer, Stream(cuda) as stream:
        assert live() == before + 2
        stream.upload(given, buffer)
        stream.download(buffer, back)
        assert not back.any()
        stream.wait()
        assert back.tolist() == given.tolist()
        with pytest.raises(ValueError, match="for a buffer of 24 bytes"):
            stream.upload(np.zeros(7, np.float32), buffer)
        with pytest.raises(ValueError, match="strides"):
            stream.upload(np.zeros(12, np.float32)[::2], buffer)
    buffer.close()
    assert live() == before


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("cudaMalloc", r"cudaMalloc: out of memory \(CUDA error 2\); expected success\. Free memory"),
        ("cudaMemcpyAsync", r"cudaMemcpyAsync: unspecified launch failure \(CUDA error 719\)"),
        ("cudaStreamSynchronize", r"cudaStreamSynchronize: unspecified launch failure"),
    ],
)
def test_a_call_that_fails_is_said_and_leaves_nothing_held(
    live: Any, file: Path, monkeypatch: pytest.MonkeyPatch, function: str, words: str
) -> None:
    before = live()
    monkeypatch.setenv("STAND_IN_CUDA_FAILS", function)
    with pytest.raises(CudaError, match=words), TensorRTEngine(file) as engine:
        engine.run({"image": IMAGE})
    assert live() == before


def test_no_gpu_and_no_cuda_are_told_apart(live: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STAND_IN_DEVICES", "0")
    with pytest.raises(CudaError, match=r"finds no GPU \(.*no CUDA-capable device.*--runtime cpu"):
        Cuda()
    monkeypatch.setattr(edge_cuda, "LIBRARIES", ("libcudart.so.none",))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(CudaError, match=r"no CUDA runtime; expected libcudart\.so\.none.*nvidia-jetpack"):
        Cuda()


def test_the_runtime_that_gets_along_with_the_driver_is_taken(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real runtime finds no driver here and is passed by; where there is one, it comes first and is right."""
    monkeypatch.setattr(edge_cuda, "LIBRARIES", ("/usr/local/cuda/lib64/libcudart.so.13", *edge_cuda.LIBRARIES))
    assert Cuda().device().name


def test_a_run_gives_the_scores(live: Any, file: Path) -> None:
    before = live()
    with TensorRTEngine(file) as engine:
        assert engine.version == "TensorRT 10.3.0, Orin"
        assert engine.inputs == {"image": list(SHAPE)}
        outputs = engine.run({"image": IMAGE})
        assert live() == before + 4  # a buffer a tensor, a stream
        again = engine.run({"image": np.asfortranarray(IMAGE[..., ::-1])})
        assert live() == before + 4
    assert {name: value.dtype for name, value in outputs.items()} == dict.fromkeys(
        ("branch_scores", "pred"), np.float32
    )
    for found in (outputs, again):
        np.testing.assert_allclose(found["branch_scores"], IMAGE.mean((2, 3, 4)), rtol=1e-6)
        np.testing.assert_allclose(found["pred"], IMAGE.mean().reshape(1, 1), rtol=1e-6)
    assert not np.shares_memory(outputs["pred"], again["pred"])
    assert live() == before
    engine.close()
    with pytest.raises(ValueError, match="closed"):
        engine.run({"image": IMAGE})


@pytest.mark.parametrize(
    "inputs",
    [
        {"image": IMAGE[:, :, :3]},
        {"image": IMAGE.astype(np.float64)},
        {"image": IMAGE.astype(np.float16)},
        {"picture": IMAGE},
        {},
    ],
    ids=["shape", "float64", "float16", "name", "none"],
)
def test_another_interface_is_refused_before_anything_runs(file: Path, inputs: dict[str, Any]) -> None:
    with (
        TensorRTEngine(file) as engine,
        pytest.raises(ValueError, match=r"the engine takes \{'image': \(\(1, 2, 4, 4, 4\)"),
    ):
        engine.run(inputs)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            {"version": "10.13.2"},
            "can't load this engine on this GPU; The engine plan file is not compatible.*etscnet-edge build",
        ),
        ({"capability": "8.6"}, "can't load this engine"),
        ({"type": "HALF"}, "the engine's image is .*; expected float32"),
    ],
    ids=["version", "GPU", "type"],
)
def test_an_engine_that_does_not_belong_here_is_refused(
    live: Any, tensorrt: Any, file: Path, said: dict[str, str], words: str
) -> None:
    before = live()
    file.write_bytes(tensorrt.engine_bytes(means(SHAPE), **said))
    with pytest.raises(InputError, match=words) as caught:
        TensorRTEngine(file)
    assert str(file) in str(caught.value) and live() == before


@pytest.mark.parametrize(
    ("mode", "words"), [("no-context", "no memory"), ("unrun", "did not run.*illegal memory access")]
)
def test_what_fails_in_tensorrt_gives_no_score(
    live: Any, file: Path, monkeypatch: pytest.MonkeyPatch, mode: str, words: str
) -> None:
    before = live()
    monkeypatch.setenv("STAND_IN_BUILD", mode)
    with pytest.raises(InputError, match=words), TensorRTEngine(file) as engine:
        engine.run({"image": IMAGE})
    assert live() == before


def test_no_tensorrt_and_one_that_is_too_old_are_said(tensorrt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorrt.__version__ = "8.6.2"
    with pytest.raises(InputError, match=r"TensorRT 8\.6\.2; expected 10\.3 or later\. Update JetPack"):
        load_tensorrt()
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(InputError, match=r"can't be imported.*python3-libnvinfer.*--runtime cpu"):
        load_tensorrt()
