"""Which GPU this machine has: asked of NVIDIA's driver library itself, so that neither torch nor a command-line tool is needed.

Source: docs.nvidia.com/cuda/cuda-driver-api (cuInit, cuDeviceGet*), docs.nvidia.com/deploy/nvml-api.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import asdict, dataclass

DRIVER, MANAGEMENT = ("nvcuda.dll", "nvml.dll") if sys.platform == "win32" else ("libcuda.so.1", "libnvidia-ml.so.1")
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Args:
        name: e.g. "NVIDIA H200".
        compute_capability: e.g. "9.0".
        driver: its version, where the driver tells it, and the newest CUDA that it serves, e.g. "580.95.05, CUDA 13.0".
    """

    name: str
    compute_capability: str
    driver: str

    def to_dict(self) -> dict[str, str]:
        """The fields, ready for JSON."""
        return asdict(self)


def find_gpu() -> Gpu | None:
    """The first GPU that CUDA shows to this process (`CUDA_VISIBLE_DEVICES` counts); None where there is none."""
    try:
        driver = ctypes.CDLL(DRIVER)
    except OSError:
        return None
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), 0):  # 0 is success
        return None
    driver.cuDeviceGetName(name, len(name), device)
    cuda, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, device)
    driver.cuDriverGetVersion(ctypes.byref(cuda))  # 13020 is 13.2
    versions = [*_driver_version(), f"CUDA {cuda.value // 1000}.{cuda.value % 1000 // 10}"]
    return Gpu(name.value.decode(), f"{major.value}.{minor.value}", ", ".join(versions))


def _driver_version() -> list[str]:
    try:
        management = ctypes.CDLL(MANAGEMENT)
    except OSError:  # some Jetsons have none
        return []
    version = ctypes.create_string_buffer(96)
    if management.nvmlInit_v2() or management.nvmlSystemGetDriverVersion(version, len(version)):
        return []
    management.nvmlShutdown()
    return [version.value.decode()]
