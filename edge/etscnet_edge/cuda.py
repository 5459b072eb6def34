"""What scoring needs of the CUDA runtime, called by ctypes: no compiled code of ours, no torch, no cupy.

Every return code is checked. Of several runtimes the first that gets along with the driver is taken: streams and addresses belong
to the device's one context and mean the same to TensorRT, whichever runtime it brings.
Source: docs.nvidia.com/cuda/cuda-runtime-api (error handling, device, memory and stream management).
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError

LIBRARIES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0")
FOLDER = "/usr/local/cuda/lib64"  # where JetPack has it, whether the loader knows that or not
HOST_TO_DEVICE, DEVICE_TO_HOST = 1, 2  # cudaMemcpyKind
INTEGRATED, CAPABILITY_MAJOR, CAPABILITY_MINOR = 18, 75, 76  # cudaDeviceAttr
PROPERTIES_BYTES = 16384  # cudaDeviceProp has about 1000, and grows with the versions; its first member is name[256]
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation
ON_THE_CPU = "Or score on the processor: --runtime cpu."


class CudaError(InputError):
    """CUDA is not there, finds no GPU, or refuses a call."""


@dataclass(frozen=True)
class Device:
    """A GPU.

    Attributes:
        name: e.g. "Orin".
        compute_capability: e.g. "8.7".
        integrated: whether its memory is the processor's, as on a Jetson.
        cuda: the driver's newest and the runtime, e.g. "driver 12.6, runtime 12.6".
    """

    name: str
    compute_capability: str
    integrated: bool
    cuda: str


class Cuda:
    """The runtime and its device 0: `CUDA_VISIBLE_DEVICES` says which that is.

    Raises:
        CudaError: no runtime, or none that finds a GPU.
    """

    def __init__(self) -> None:
        faults: list[str] = []
        for path in _candidates():
            try:
                self._library: Any = ctypes.CDLL(path)
            except OSError:
                continue
            self._library.cudaGetErrorString.restype = ctypes.c_char_p
            count = ctypes.c_int()
            if not (code := self._library.cudaGetDeviceCount(ctypes.byref(count))) and count.value:
                return
            faults.append(f"{path}: {self._text(code) if code else 'it finds no device'}")
        if faults:
            raise CudaError(
                f"CUDA finds no GPU ({'; '.join(faults)})",
                expected="an NVIDIA GPU and its driver",
                remedy=f"Check that nvidia-smi or tegrastats shows one. {ON_THE_CPU}",
            )
        raise CudaError(
            "there is no CUDA runtime",
            expected=f"{', '.join(LIBRARIES)}, known to the loader or in {FOLDER}",
            remedy=f"It comes with JetPack: sudo apt install nvidia-jetpack. {ON_THE_CPU}",
        )

    def device(self) -> Device:
        """What the device is; asking takes no memory on it."""
        properties = ctypes.create_string_buffer(PROPERTIES_BYTES)
        self.call("cudaGetDeviceProperties", properties, 0)
        major, minor = self._attribute(CAPABILITY_MAJOR), self._attribute(CAPABILITY_MINOR)
        versions = []
        for what in ("Driver", "Runtime"):
            version = ctypes.c_int()
            self.call(f"cuda{what}GetVersion", ctypes.byref(version))
            versions.append(f"{what.lower()} {version.value // 1000}.{version.value % 1000 // 10}")  # 12060 is 12.6
        name = ctypes.string_at(properties).decode(errors="replace")
        return Device(name, f"{major}.{minor}", bool(self._attribute(INTEGRATED)), ", ".join(versions))

    def memory(self) -> tuple[int, int]:
        """(free, total) bytes on the device."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def call(self, function: str, *arguments: Any) -> None:
        """Call a function of the runtime.

        Raises:
            CudaError: it didn't return success.
        """
        if code := getattr(self._library, function)(*arguments):
            raise CudaError(
                f"{function}: {self._text(code)}",
                expected="success",
                remedy="Free memory: close what else uses the GPU." if code == OUT_OF_MEMORY else "Start again.",
            )

    def _attribute(self, attribute: int) -> int:
        value = ctypes.c_int()
        self.call("cudaDeviceGetAttribute", ctypes.byref(value), attribute, 0)
        return value.value

    def _text(self, code: int) -> str:
        return f"{self._library.cudaGetErrorString(code).decode()} (CUDA error {code})"


class _Held:
    """Something of CUDA's that is given back once, by `close` or at the end of a `with`."""

    def __init__(self, cuda: Cuda, take: str, give_back: str, *arguments: Any) -> None:
        self._cuda, self._give_back = cuda, give_back
        self._handle = ctypes.c_void_p()
        cuda.call(take, ctypes.byref(self._handle), *arguments)
        self._open = True

    def close(self) -> None:
        """Give it back; a second time does nothing."""
        if self._open:
            self._open = False
            self._cuda.call(self._give_back, self._handle)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> int:
        """As an integer, which is what TensorRT takes; the default stream's is 0."""
        return self._handle.value or 0


class Buffer(_Held):
    """Device memory of so many bytes."""

    def __init__(self, cuda: Cuda, size: int) -> None:
        super().__init__(cuda, "cudaMalloc", "cudaFree", ctypes.c_size_t(size))
        self.size = size


class Stream(_Held):
    """A queue of copies and runs, done in their order."""

    def __init__(self, cuda: Cuda) -> None:
        super().__init__(cuda, "cudaStreamCreate", "cudaStreamDestroy")

    def upload(self, array: NDArray[Any], buffer: Buffer) -> None:
        """Array of any shape -> device; it must be contiguous, as many bytes as the buffer, and stay until `wait`."""
        self._copy(buffer.address, array.ctypes.data, array, buffer, HOST_TO_DEVICE)

    def download(self, buffer: Buffer, array: NDArray[Any]) -> None:
        """Device -> array of any shape, as many bytes as the buffer; it is written when `wait` returns."""
        self._copy(array.ctypes.data, buffer.address, array, buffer, DEVICE_TO_HOST)

    def wait(self) -> None:
        """Until all is done; what failed on the way is raised here."""
        self._cuda.call("cudaStreamSynchronize", self._handle)

    def _copy(self, target: int, source: int, array: NDArray[Any], buffer: Buffer, kind: int) -> None:
        if array.nbytes != buffer.size or not array.flags.c_contiguous:
            raise ValueError(f"{array.nbytes} bytes, strides {array.strides}, for a buffer of {buffer.size} bytes.")
        to, of, size = ctypes.c_void_p(target), ctypes.c_void_p(source), ctypes.c_size_t(array.nbytes)
        self._cuda.call("cudaMemcpyAsync", to, of, size, kind, self._handle)


def buffer_for(cuda: Cuda, shape: tuple[int, ...]) -> Buffer:
    """Device memory for float32 of this shape."""
    return Buffer(cuda, int(np.prod(shape, dtype=np.int64)) * 4)


def _candidates() -> list[str]:
    """By name, then where JetPack and the toolkit have them, then in NVIDIA's Python packages."""
    packages = [path for folder in sys.path for path in sorted(Path(folder).glob("nvidia/*/lib/libcudart.so.*"))]
    return [*LIBRARIES, *(f"{FOLDER}/{name}" for name in LIBRARIES), *map(str, packages)]
