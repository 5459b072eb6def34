"""`tensorrt` for tests: an engine is a line and then the ONNX, and runs on ONNX Runtime from the addresses that it is given.

What happens is chosen by environment variables. As the real one, it takes engines of its own version and GPU alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from enum import IntEnum
from typing import Any

import numpy as np

__version__ = os.environ.get("STAND_IN_TENSORRT", "10.3.0")


class Number(IntEnum):
    """Every enumeration's members."""

    STRONGLY_TYPED = 1
    TF32 = 6
    WORKSPACE = 0
    INPUT = 0
    OUTPUT = 1
    FLOAT = 10
    HALF = 11


NetworkDefinitionCreationFlag = BuilderFlag = MemoryPoolType = TensorIOMode = DataType = Number


class ILogger:
    """Base of loggers."""


class IProgressMonitor:
    """Base of monitors."""


def mode() -> str:
    return os.environ.get("STAND_IN_BUILD", "")


def trace(event: str) -> None:
    """A line in the file of the test."""
    if path := os.environ.get("STAND_IN_TRACE"):
        with open(path, "a") as file:
            file.write(f"{event} {os.getpid()}\n")


def engine_bytes(onnx: bytes, **said: Any) -> bytes:
    """An engine."""
    capability = os.environ.get("STAND_IN_CAPABILITY", "8.7")
    head = {"version": __version__, "capability": capability, "scale": 1.0, "type": "FLOAT", "tf32": False, **said}
    return json.dumps(head).encode() + b"\n" + onnx


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class Config:
    def __init__(self) -> None:
        self.max_aux_streams, self.progress_monitor = 4, None
        self.tf32 = True
        self.workspace: int | None = None
        self.cache: TimingCache | None = None

    def clear_flag(self, flag: Number) -> None:
        assert flag is Number.TF32
        self.tf32 = False

    def set_memory_pool_limit(self, pool: Number, size: int) -> None:
        assert pool is Number.WORKSPACE
        self.workspace = size

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        trace(f"cache:{cache.content.decode()}")
        self.cache = cache
        return cache.content in (b"", b"TIMES") and not ignore_mismatch

    def get_timing_cache(self) -> TimingCache | None:
        return self.cache


class Network:
    content = b""


class OnnxParser:
    num_errors = 1

    def __init__(self, network: Network, log: Any) -> None:
        self.network = network

    def parse(self, content: bytes) -> bool:
        self.network.content = content
        return mode() != "unparsed"

    def get_error(self, number: int) -> str:
        return "In node 3: Sigmoyd is unknown"


class Builder:
    def __init__(self, log: Any) -> None:
        self.log = log

    def create_network(self, flags: int) -> Network:
        assert flags == 1 << Number.STRONGLY_TYPED
        return Network()

    def create_builder_config(self) -> Config:
        return Config()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        trace("begin")
        monitor: Any = config.progress_monitor
        monitor.phase_start("Building engine", None, 4)
        for step in range(4):
            monitor.step_complete("Building engine", step)
            time.sleep(0.5 if mode() == "slow" else 0)
            if step == 2 and mode() in ("SIGKILL", "SIGSEGV"):
                self.log.log(3, "Requesting 9 GB")
                os.kill(os.getpid(), getattr(signal, mode()))
            if step == 2 and mode() == "hang":
                time.sleep(600)
        monitor.phase_finish("Building engine")
        if mode() == "unbuilt":
            self.log.log(1, "Could not find any implementation for node stem")
            return None
        if mode() == "raises":
            raise OSError(28, "No space left on device")
        if config.cache is not None:
            config.cache.content = b"TIMES"
        trace("end")
        return engine_bytes(network.content, tf32=config.tf32, scale=0.9 if mode() == "wrong" else 1.0)


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.addresses = engine, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        if mode() == "unrun":
            self.engine.log.log(1, "an illegal memory access")
            return False
        assert stream
        given = {name: self.at(name) for name in self.engine.names if self.engine.get_tensor_mode(name) is Number.INPUT}
        found = self.engine.session.run(None, given)
        for value, output in zip(found, self.engine.session.get_outputs(), strict=True):
            self.at(output.name)[:] = value * np.float32(self.engine.head["scale"])
        return True

    def at(self, name: str) -> np.ndarray:
        shape = self.engine.get_tensor_shape(name)
        values = (ctypes.c_float * int(np.prod(shape))).from_address(self.addresses[name])
        return np.ctypeslib.as_array(values).reshape(shape)


class Engine:
    def __init__(self, head: dict[str, Any], onnx: bytes, log: Any) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.head, self.log = head, log
        self.session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self.tensors = {value.name: value for value in [*self.session.get_inputs(), *self.session.get_outputs()]}
        self.names, self.num_io_tensors = list(self.tensors), len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return str(self.names[index])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def get_tensor_dtype(self, name: str) -> Number:
        return Number[self.head["type"]]

    def get_tensor_mode(self, name: str) -> Number:
        return Number.INPUT if name in {value.name for value in self.session.get_inputs()} else Number.OUTPUT

    def create_execution_context(self) -> Context | None:
        return None if mode() == "no-context" else Context(self)


class Runtime:
    def __init__(self, log: Any) -> None:
        self.log = log

    def deserialize_cuda_engine(self, content: bytes) -> Engine | None:
        trace("load")
        line, _, onnx = content.partition(b"\n")
        head = json.loads(line)
        here = __version__, os.environ.get("STAND_IN_CAPABILITY", "8.7")
        if (head["version"], head["capability"]) != here:
            self.log.log(1, "The engine plan file is not compatible with this version of TensorRT")
            return None
        return Engine(head, onnx, self.log)
