"""An engine is checked before it runs and run on the tensors' own memory, against a library that behaves as TensorRT's does.

The real one needs a GPU; the export's tests build the shipped network's engine without running it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from scripts.errors import InputError
from scripts.tensorrt_engine import Engine, load_library

SHAPES = {"image": (1, 2, 4, 4, 4), "pred": (1, 1), "branch_scores": (1, 2)}
INPUT, OUTPUT = "input", "output"
FLOAT, HALF = "DataType.FLOAT", "DataType.HALF"


def floats(address: int, shape: Sequence[int]) -> torch.Tensor:
    """The float32 values that lie at an address."""
    count = torch.Size(shape).numel()
    return torch.frombuffer((ctypes.c_float * count).from_address(address), dtype=torch.float32).view(*shape)


class Context:
    """Writes the mean of each channel to `branch_scores`, their mean to `pred`."""

    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}
        self.runs = True

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        image = floats(self.addresses["image"], SHAPES["image"])
        means = image.mean(dim=(2, 3, 4))
        floats(self.addresses["branch_scores"], (1, 2)).copy_(means)
        floats(self.addresses["pred"], (1, 1)).copy_(means.mean(dim=1, keepdim=True))
        return self.runs


class Loaded:
    """ICudaEngine."""

    num_io_tensors = len(SHAPES)

    def __init__(self) -> None:
        self.context = Context()
        self.kinds = dict.fromkeys(SHAPES, FLOAT)

    def create_execution_context(self) -> Context:
        return self.context

    def get_tensor_name(self, index: int) -> str:
        return list(SHAPES)[index]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return SHAPES[name]

    def get_tensor_dtype(self, name: str) -> str:
        return self.kinds[name]

    def get_tensor_mode(self, name: str) -> str:
        return INPUT if name == "image" else OUTPUT


class Logger:
    """ILogger."""

    WARNING = 2

    def __init__(self, level: int) -> None:
        self.level = level


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Loaded:
    """A library `tensorrt` whose runtime loads the bytes b"engine" and nothing else; streams of the CPU."""
    engine = Loaded()
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda content: engine if content == b"engine" else None)
    library = SimpleNamespace(
        __version__="10.3.0",
        Logger=Logger,
        Runtime=lambda logger: runtime,
        TensorIOMode=SimpleNamespace(INPUT=INPUT),
        DataType=SimpleNamespace(FLOAT=FLOAT),
    )
    monkeypatch.setitem(sys.modules, "tensorrt", library)
    stream = SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    return engine


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "etscnet.engine"
    path.write_bytes(b"engine")
    return path


def test_an_engine_reads_and_writes_the_tensors_themselves(loaded: Loaded, file: Path) -> None:
    engine = Engine(file, device="cpu")
    assert engine.inputs == {"image": (1, 2, 4, 4, 4)}
    image = torch.rand(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    outputs = engine.run({"image": image})
    assert torch.allclose(outputs["branch_scores"], image.mean(dim=(2, 3, 4)))
    assert torch.allclose(outputs["pred"], image.mean().view(1, 1))


@pytest.mark.parametrize(
    "image",
    [torch.rand(1, 2, 4, 4, 5), torch.rand(1, 2, 4, 4, 4).double(), torch.rand(1, 2, 4, 4, 4).to("meta")],
    ids=["shape", "type", "device"],
)
def test_another_shape_type_or_device_is_refused_before_it_runs(
    loaded: Loaded, file: Path, image: torch.Tensor
) -> None:
    with pytest.raises(
        ValueError, match=r"etscnet\.engine takes \{'image': \(\(1, 2, 4, 4, 4\), torch\.float32, 'cpu'\)"
    ):
        Engine(file, device="cpu").run({"image": image})
    assert not loaded.context.addresses


def test_another_name_is_refused(loaded: Loaded, file: Path) -> None:
    with pytest.raises(ValueError, match=r"not \{'picture'"):
        Engine(file, device="cpu").run({"picture": torch.rand(1, 2, 4, 4, 4)})


def test_an_engine_of_another_gpu_is_refused(loaded: Loaded, file: Path) -> None:
    file.write_bytes(b"of another GPU")
    with pytest.raises(
        InputError, match=r"tensorrt 10\.3\.0 can't load this engine on this GPU.*Build it on this device"
    ):
        Engine(file, device="cpu")


def test_an_interface_of_another_type_is_refused(loaded: Loaded, file: Path) -> None:
    loaded.kinds["pred"] = HALF
    with pytest.raises(InputError, match=r"the engine's pred is DataType\.HALF; expected float32"):
        Engine(file, device="cpu")


def test_a_run_that_fails_gives_no_result(loaded: Loaded, file: Path) -> None:
    engine = Engine(file, device="cpu")
    loaded.context.runs = False
    with pytest.raises(RuntimeError, match="did not run"):
        engine.run({"image": torch.rand(1, 2, 4, 4, 4)})


def test_a_missing_library_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(InputError, match=r"tensorrt can't be imported.*It comes with JetPack"):
        load_library("tensorrt")
