"""What is said of a GPU, against a driver library that answers as NVIDIA's does."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from export import gpu
from export.gpu import Gpu, find_gpu


class Driver:
    """libcuda's five functions: 0 is success, results go through pointers."""

    def __init__(self, started: int = 0) -> None:
        self.started = started

    def cuInit(self, flags: int) -> int:
        return self.started

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:
        device._obj.value = ordinal
        return 0

    def cuDeviceGetName(self, name: Any, size: int, device: ctypes.c_int) -> int:
        name.value = b"Orin"
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: ctypes.c_int) -> int:
        value._obj.value = {75: 8, 76: 7}[attribute]
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0


class Management:
    """libnvidia-ml's three functions."""

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlSystemGetDriverVersion(self, version: Any, size: int) -> int:
        version.value = b"540.4.0"
        return 0

    def nvmlShutdown(self) -> int:
        return 0


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The libraries that this machine has; every other one is missing."""
    there: dict[str, Any] = {}

    def load(name: str) -> Any:
        if name not in there:
            raise OSError(f"{name}: cannot open shared object file")
        return there[name]

    monkeypatch.setattr(ctypes, "CDLL", load)
    return there


def test_name_capability_and_driver(libraries: dict[str, Any]) -> None:
    libraries.update({gpu.DRIVER: Driver(), gpu.MANAGEMENT: Management()})
    assert find_gpu() == Gpu("Orin", "8.7", "540.4.0, CUDA 12.6")


def test_without_the_management_library_the_driver_is_known_by_its_cuda(libraries: dict[str, Any]) -> None:
    libraries[gpu.DRIVER] = Driver()
    assert find_gpu() == Gpu("Orin", "8.7", "CUDA 12.6")


def test_no_driver_is_no_gpu(libraries: dict[str, Any]) -> None:
    assert libraries == {} and find_gpu() is None


def test_a_driver_that_shows_no_device_is_no_gpu(libraries: dict[str, Any]) -> None:
    libraries[gpu.DRIVER] = Driver(started=100)  # CUDA_ERROR_NO_DEVICE
    assert find_gpu() is None
