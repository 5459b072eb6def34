"""ONNX -> a TensorRT engine, built on the device that it will run on.

The network is strongly typed: the types written in the graph are the types computed in, nothing is rounded here. Only the Python
API that TensorRT 10.3 (JetPack 6.1) and 11.4 share is used. The second target, TensorRT-RTX, plans the same way ahead of time
and needs no GPU for it, which is how the graph is checked where there is none; its engine is finished on the GPU that loads it.

Source: docs.nvidia.com/deeplearning/tensorrt (Python API of 10.3 and 11.4, migration 10.x to 11.x) and
docs.nvidia.com/deeplearning/tensorrt-rtx (CPU-only AOT: unless told otherwise an engine is for 8.0, 8.6, 8.9, 12.0 and later).
"""

from __future__ import annotations

import hashlib
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import onnx
from google.protobuf.message import DecodeError

from export.builder_log import build_progress, builder_log
from export.gpu import Gpu, find_gpu
from scripts.errors import InputError
from scripts.files import write_atomically
from scripts.tensorrt_engine import load_library

Target = Literal["tensorrt", "tensorrt-rtx"]
PORTABLE = "8.0 and later"  # TensorRT-RTX without a wish of ours
NO_PRECISION = {"int64", "int32", "bool", "object"}  # indices, shapes, conditions, text


@dataclass(frozen=True)
class EngineRecord:
    """What the manifest says of an engine.

    Args:
        target, version: "tensorrt" or "tensorrt-rtx", and which one built it.
        gpu, driver: of the machine that built it; None without a GPU (TensorRT-RTX alone).
        compute_capability: what it is built for, e.g. "8.7", or "8.0 and later".
        precisions: every type of number in the graph, e.g. ("float16", "float32").
        onnx_sha256, engine_sha256: hexadecimal digits.
        file: the engine's file name, without folder.
        engine_bytes: its size.
        seconds: the build's duration, from the parser's first to the engine's last byte.
        weights_bytes, activation_bytes: device memory as planned by the builder; None where its log doesn't tell.
        interface_bytes: device memory of inputs and outputs, which the plan leaves to the caller.
    """

    target: str
    version: str
    gpu: str | None
    driver: str | None
    compute_capability: str
    precisions: tuple[str, ...]
    onnx_sha256: str
    engine_sha256: str
    file: str
    engine_bytes: int
    seconds: float
    weights_bytes: int | None
    activation_bytes: int | None
    interface_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {**asdict(self), "precisions": list(self.precisions)}


def build_engine(
    onnx_file: str | Path,
    engine_file: str | Path,
    *,
    target: Target = "tensorrt",
    memory_mb: int | None = None,
    timing_cache: str | Path | None = None,
) -> EngineRecord:
    """Build an engine and write it whole or not at all.

    Args:
        onnx_file: a graph of fixed shapes, its weights inside.
        engine_file: to be written.
        target: "tensorrt", or "tensorrt-rtx", which needs no GPU.
        memory_mb: the most that a layer may use for itself while it runs, 10^6 bytes of device memory; None: all there is.
        timing_cache: a file of measured kernels that is read, if it exists, and brought up to date: a second build takes less
            time. TensorRT alone: TensorRT-RTX measures nothing.

    Raises:
        InputError: no such file, no ONNX, weights outside it, free axes, a graph that the parser or the builder refuses (each
            of its reasons is listed), no GPU or no package for the target, a timing cache of another device.
        KeyboardInterrupt: stopped by Ctrl-C while it builds.
    """
    onnx_file, engine_file = Path(onnx_file), Path(engine_file)
    if target not in get_args(Target):
        raise InputError(f"no target {target!r}", expected=" or ".join(get_args(Target)), remedy="Give one of them.")
    if memory_mb is not None and memory_mb < 1:
        raise InputError(f"{memory_mb} MB of memory", expected="1 or more", remedy="Leave --memory_mb out for all.")
    if timing_cache is not None and target == "tensorrt-rtx":
        remedy = "Leave --timing_cache_file out."
        raise InputError("a timing cache for TensorRT-RTX", expected="none: it measures nothing", remedy=remedy)
    content = _read(onnx_file)
    precisions = _precisions(onnx_file, content)
    gpu = find_gpu()
    trt = _library(target, gpu)
    log, progress = builder_log(trt), build_progress(trt)
    log.lines.clear()

    began = time.perf_counter()
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # what pybind11 makes of a null pointer
        _refuse("the builder does not start", log.errors(), onnx_file, "Match TensorRT, CUDA and driver.", error)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)  # lives until the engine is built: the weights are in it
    if not parser.parse(content):
        faults = [str(parser.get_error(number)) for number in range(parser.num_errors)]
        _refuse("the parser refuses the graph", faults, onnx_file, "Export again: python -m export onnx.")
    interface_bytes = _interface_bytes(network, onnx_file)
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default: it rounds the factors of every product to 10 bits
    config.max_aux_streams = 0  # parallel streams hold more memory, and the branches gain nothing by them
    config.progress_monitor = progress
    if memory_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, memory_mb * 10**6)
    capability = _aim(trt, config, target, gpu)
    if timing_cache is not None:
        _read_timing_cache(config, Path(timing_cache), log)
    plan = builder.build_serialized_network(network, config)
    if progress.interrupted:
        raise KeyboardInterrupt
    if plan is None:
        _refuse(
            "no engine can be built", log.errors(), onnx_file, "Give more --memory_mb, or another form of the graph."
        )
    engine = bytes(plan)
    seconds = time.perf_counter() - began

    if timing_cache is not None:
        write_atomically(timing_cache, bytes(config.get_timing_cache().serialize()))
    write_atomically(engine_file, engine)
    return EngineRecord(
        target=target,
        version=trt.__version__,
        gpu=gpu.name if gpu else None,
        driver=gpu.driver if gpu else None,
        compute_capability=capability,
        precisions=precisions,
        onnx_sha256=hashlib.sha256(content).hexdigest(),
        engine_sha256=hashlib.sha256(engine).hexdigest(),
        file=engine_file.name,
        engine_bytes=len(engine),
        seconds=seconds,
        weights_bytes=log.planned("Weights"),
        activation_bytes=log.planned("Activation"),
        interface_bytes=interface_bytes,
    )


def _read(file: Path) -> bytes:
    if not file.is_file():
        raise InputError("no such file", expected="ONNX", remedy="Make it: python -m export onnx.", file=file)
    return file.read_bytes()


def _precisions(file: Path, content: bytes) -> tuple[str, ...]:
    remedy = "Export again: python -m export onnx."
    try:
        graph = onnx.load_model_from_string(content).graph
    except DecodeError as error:
        raise InputError(f"not ONNX ({error})", expected="an ONNX model", remedy=remedy, file=file) from error
    if not graph.node:
        raise InputError("an empty graph", expected="an ONNX model", remedy=remedy, file=file)
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    tensors = [*graph.initializer, *(attribute.t for attribute in attributes if attribute.HasField("t"))]
    if outside := [tensor.name for tensor in tensors if tensor.external_data]:
        found = f"{len(outside)} weights in files outside it ({outside[0]}, ...)"
        raise InputError(found, expected="weights inside the model", remedy=remedy, file=file)
    kinds = {tensor.data_type for tensor in tensors}
    kinds |= {value.type.tensor_type.elem_type for value in [*graph.input, *graph.output, *graph.value_info]}
    kinds |= {attribute.i for attribute in attributes if attribute.name == "to"}  # of Cast
    names = {str(onnx.helper.tensor_dtype_to_np_dtype(kind)) for kind in kinds if kind}  # 0 is unknown
    return tuple(sorted(names - NO_PRECISION))


def _library(target: Target, gpu: Gpu | None) -> Any:
    if target == "tensorrt" and gpu is None:
        raise InputError(
            "no NVIDIA GPU",
            expected="the GPU that the engine will run on: TensorRT measures its kernels there",
            remedy="Build on the device, or check the graph without one: --target tensorrt-rtx.",
        )
    return load_library(target.replace("-", "_"))


def _interface_bytes(network: Any, file: Path) -> int:
    inputs = [network.get_input(number) for number in range(network.num_inputs)]
    for tensor in inputs:
        if -1 in tuple(tensor.shape):
            found = f"the input {tensor.name} has free axes, {tuple(tensor.shape)}"
            raise InputError(found, expected="a fixed shape", remedy="Export with a fixed batch.", file=file)
    outputs = [network.get_output(number) for number in range(network.num_outputs)]
    return sum(math.prod(tensor.shape) * int(tensor.dtype.itemsize) for tensor in [*inputs, *outputs])


def _aim(trt: Any, config: Any, target: Target, gpu: Gpu | None) -> str:
    """TensorRT builds for the GPU it is on; TensorRT-RTX for that one where it is on its list, else for many."""
    if target == "tensorrt" and gpu is not None:
        return gpu.compute_capability
    own = gpu and getattr(trt.ComputeCapability, f"SM{gpu.compute_capability.replace('.', '')}", None)
    if gpu is None or own is None:
        return PORTABLE
    config.num_compute_capabilities = 1
    config.set_compute_capability(own, 0)
    return gpu.compute_capability


def _read_timing_cache(config: Any, file: Path, log: Any) -> None:
    """What cannot be used TensorRT replaces by an empty cache, with a warning; here it is refused, and so not overwritten."""
    said = len(log.lines)
    measured = config.create_timing_cache(file.read_bytes() if file.is_file() else b"")
    fits = config.set_timing_cache(measured, False)  # False: never the times of another device
    if complaints := [text for level, text in log.lines[said:] if level <= 2] or ["it does not fit"] * (not fits):
        raise InputError(
            f"not a timing cache of this device and this TensorRT ({' '.join(complaints)})",
            expected="one that was written here",
            remedy="Delete it or name another file: it is made anew.",
            file=file,
        )


def _refuse(what: str, reasons: list[str], file: Path, remedy: str, cause: Exception | None = None) -> NoReturn:
    listed = "".join(f"\n  {reason}" for reason in reasons)
    raise InputError(f"{what}:{listed}\n", expected="a graph that it takes", remedy=remedy, file=file) from cause
