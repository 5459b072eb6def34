"""A TensorRT engine, loaded and run on torch's GPU memory.

Only the Python API that TensorRT 10.3 (JetPack 6.1) to 11.4 and TensorRT-RTX share is used.
Source: docs.nvidia.com/deeplearning/tensorrt, IRuntime.deserialize_cuda_engine, IExecutionContext.execute_async_v3.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.errors import InputError

REMEDY = "Build it on this device: python -m export tensorrt."
INSTALLED_BY = {
    "tensorrt": "It comes with JetPack on a Jetson; elsewhere: pip install tensorrt.",
    "tensorrt_rtx": "pip install tensorrt-rtx.",
}


class Engine:
    """image on the GPU -> its outputs there, by name.

    Args:
        file: the engine.
        library: "tensorrt" or "tensorrt_rtx", the one that built it.
        device: torch's.

    Raises:
        InputError: no such library, or an engine that this library can't load on this GPU, or of another type than float32.
    """

    def __init__(self, file: str | Path, *, library: str = "tensorrt", device: torch.device | str = "cuda") -> None:
        self.file, self.device = Path(file), torch.device(device)
        self._tensorrt = load_library(library)
        logger = self._tensorrt.Logger(self._tensorrt.Logger.WARNING)
        self._runtime = self._tensorrt.Runtime(logger)  # must outlive the engine
        self._engine = self._runtime.deserialize_cuda_engine(self.file.read_bytes())
        if self._engine is None:
            raise InputError(
                f"{library} {self._tensorrt.__version__} can't load this engine on this GPU",
                expected="an engine that was built here",
                remedy=REMEDY,
                file=file,
            )
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        for name in names:
            if (kind := self._engine.get_tensor_dtype(name)) != self._tensorrt.DataType.FLOAT:
                found = f"the engine's {name} is {kind}"
                raise InputError(found, expected="float32, as the export makes it", remedy=REMEDY, file=file)
        self.inputs = {name: self._shape(name) for name in names if self._is_input(name)}
        self._outputs = {  # they stay where they are: a run writes into them
            name: torch.empty(self._shape(name), device=self.device) for name in names if name not in self.inputs
        }

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """float32 tensors on the device, one an input -> the outputs, valid until the next run. It has been waited for.

        Raises:
            ValueError: other names, shapes or types than the engine's.
            RuntimeError: TensorRT did not run it; its own log says why.
        """
        found = {name: (tuple(tensor.shape), tensor.dtype, tensor.device.type) for name, tensor in inputs.items()}
        expected = {name: (shape, torch.float32, self.device.type) for name, shape in self.inputs.items()}
        if found != expected:
            raise ValueError(f"the engine {self.file} takes {expected}, not {found}.")
        held = {name: tensor.contiguous() for name, tensor in inputs.items()}
        for name, tensor in (held | self._outputs).items():
            self._context.set_tensor_address(name, tensor.data_ptr())
        stream = torch.cuda.current_stream(self.device)
        if not self._context.execute_async_v3(stream.cuda_stream):
            raise RuntimeError(f"the engine {self.file} did not run.")
        stream.synchronize()
        return dict(self._outputs)

    def _shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._engine.get_tensor_shape(name))

    def _is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._tensorrt.TensorIOMode.INPUT)


def load_library(name: str) -> Any:
    """The Python package "tensorrt" or "tensorrt_rtx".

    Raises:
        InputError: it can't be imported.
    """
    try:
        return import_module(name)
    except (ImportError, OSError) as error:  # OSError: the package is there, its libraries are not
        found = f"{name} can't be imported ({error})"
        raise InputError(found, expected="an installed package", remedy=INSTALLED_BY[name]) from error
