"""A TensorRT engine, loaded and run on device memory of its own. TensorRT is imported on use: it comes with JetPack.

Only the Python API that TensorRT 10.3 (JetPack 6.1) to 11.x share is used.
Source: docs.nvidia.com/deeplearning/tensorrt, IRuntime.deserialize_cuda_engine, IExecutionContext.execute_async_v3.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.cuda import ON_THE_CPU, Cuda, Stream, buffer_for
from etscnet_edge.errors import InputError

OLDEST = (10, 3)
REMEDY = "Build it on this device: etscnet-edge build."
Array = NDArray[Any]
Shape = tuple[int, ...]


class TensorRTEngine:
    """One engine, until it is closed. A context manager; runs of several threads follow each other.

    Args:
        file: the engine, its hash checked by its record: see `etscnet_edge.build.engine_for`.

    Attributes:
        version: of TensorRT, with the device: "TensorRT 10.3.0, Orin".

    Raises:
        InputError: no TensorRT, no CUDA, no GPU or too little memory on it; or an engine that was built by another TensorRT or
            for another GPU, or that takes or gives another type than float32.
    """

    def __init__(self, file: Path) -> None:
        self.file = Path(file)
        trt = load_tensorrt()
        cuda = Cuda()
        self.version = f"TensorRT {trt.__version__}, {cuda.device().name}"
        self._lock, self._log = Lock(), tensorrt_log(trt)
        self._log.clear()
        self._runtime = self._engine = self._context = None
        with ExitStack() as held:  # what was taken until something fails is given back
            held.callback(self._let_go)
            self._runtime = trt.Runtime(self._log)  # must outlive the engine
            self._engine = self._runtime.deserialize_cuda_engine(self.file.read_bytes())
            if self._engine is None:
                raise self._fault(
                    f"TensorRT {trt.__version__} can't load this engine on this GPU", "one that was built here"
                )
            self._check_types(trt)
            self.shapes = {name: tuple(map(int, self._engine.get_tensor_shape(name))) for name in self._names()}
            self._input_names = [
                name for name in self.shapes if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            ]
            self._context = self._engine.create_execution_context()
            if self._context is None:
                raise self._fault("there is no memory for the engine's activations", "more free memory on the GPU")
            self._buffers = {name: held.enter_context(buffer_for(cuda, shape)) for name, shape in self.shapes.items()}
            self._stream: Stream = held.enter_context(Stream(cuda))
            for name, buffer in self._buffers.items():
                self._context.set_tensor_address(name, buffer.address)
            self._held = held.pop_all()

    def __enter__(self) -> TensorRTEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back; a second time does nothing."""
        with self._lock:
            self._held.close()

    @property
    def inputs(self) -> dict[str, list[int | str]]:
        """Name -> shape."""
        return {name: list(self.shapes[name]) for name in self._input_names}

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """float32 arrays, one an input -> the outputs by name, float32, arrays of their own. It has been waited for.

        Raises:
            ValueError: other names, shapes or types than the engine's, or it is closed.
            InputError: TensorRT or CUDA fails.
        """
        found = {name: (array.shape, str(array.dtype)) for name, array in inputs.items()}
        expected = {name: (self.shapes[name], "float32") for name in self._input_names}
        if found != expected:
            raise ValueError(f"the engine takes {expected}, not {found}.")
        given = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        outputs = {name: np.empty(shape, np.float32) for name, shape in self.shapes.items() if name not in given}
        with self._lock:
            if self._context is None:
                raise ValueError("the engine is closed.")
            self._log.clear()
            for name, array in given.items():
                self._stream.upload(array, self._buffers[name])
            if not self._context.execute_async_v3(self._stream.address):
                raise self._fault("TensorRT did not run the engine", "a run")
            for name, array in outputs.items():
                self._stream.download(self._buffers[name], array)
            self._stream.wait()
        return dict(outputs)

    def _names(self) -> list[str]:
        engine: Any = self._engine
        return [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]

    def _check_types(self, trt: Any) -> None:
        engine: Any = self._engine
        for name in self._names():
            if (kind := engine.get_tensor_dtype(name)) != trt.DataType.FLOAT:
                raise self._fault(f"the engine's {name} is {kind}", "float32, as the export makes it")

    def _fault(self, found: str, expected: str) -> InputError:
        reasons = "".join(f"; {text}" for text in self._log.errors())
        return InputError(f"{found}{reasons}", expected=expected, remedy=REMEDY, file=self.file)

    def _let_go(self) -> None:
        self._context = None  # in this order: each needs the next
        self._engine = None
        self._runtime = None


def load_tensorrt() -> Any:
    """The Python package `tensorrt`.

    Raises:
        InputError: it can't be imported, or is older than what is used of it.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:  # OSError: the package is there, its libraries are not
        raise InputError(
            f"TensorRT can't be imported ({error})",
            expected=f"the Python package tensorrt in {sys.executable}",
            remedy="It comes with JetPack: sudo apt install python3-libnvinfer, and make the environment with"
            f" python3 -m venv --system-site-packages. {ON_THE_CPU}",
        ) from error
    version = tuple(int(number) for number in str(tensorrt.__version__).split(".")[:2])
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise InputError(
            f"TensorRT {tensorrt.__version__}", expected=f"{oldest} or later", remedy=f"Update JetPack. {ON_THE_CPU}"
        )
    return tensorrt


@cache  # TensorRT keeps the first logger of a process for ever
def tensorrt_log(trt: Any) -> Any:
    """The process's one logger: its lines go to stderr from warnings on, or all to `sink`; `errors()` since `clear()`."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.sink: Any = None
            self._errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            level = int(severity)  # 0 internal error, 1 error, 2 warning, 3 information, 4 verbose
            if level <= 1:
                self._errors.append(text)
            if self.sink is not None and level <= 3:
                print(f"{'EEWI'[level]} {text}", file=self.sink, flush=True)
            elif level <= 2:
                print(f"TensorRT: {text}", file=sys.stderr)

        def errors(self) -> list[str]:
            return self._errors[:]

        def clear(self) -> None:
            self._errors.clear()

    return Log()
