"""How each kind of route is opened and run, inside a process of its own (`export.worker`).

Heavy modules are imported where they are used, so that the memory of a process is its route's alone. On a GPU the image is on
the device before the clock starts: its way there is the same for every route, and is measured beside it (`prepare`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from export.route import Route


@dataclass(frozen=True)
class Opened:
    """A loaded route.

    Args:
        prepare: image (1, M, x, y, z) float32 in host memory -> what `run` takes.
        run: that -> the fused score, in host memory: the result has been waited for.
        note: what a reader of the row must know; "" for nothing.
    """

    prepare: Callable[[np.ndarray], Any]
    run: Callable[[Any], float]
    note: str = ""


def open_route(route: Route, *, threads: int, stack: ExitStack) -> Opened:
    """Load the network as the route does; `stack` closes what must be closed.

    Raises:
        KeyError: a kind that nobody knows. Anything else: what the route's libraries raise.
    """
    openers = {
        "torch": _open_torch,
        "onnxruntime": _open_onnxruntime,
        "openvino": _open_openvino,
        "session": _open_session,
        "tensorrt": _open_tensorrt,
    }
    return openers[route.kind](route, threads, stack)


def _open_session(route: Route, threads: int, stack: ExitStack) -> Opened:
    session_class = import_module("scripts.onnx_session").Session
    session = stack.enter_context(session_class(route.file, threads=threads))
    return Opened(prepare=lambda image: image, run=lambda image: float(np.asarray(session.run(image)[0]).item()))


def _open_openvino(route: Route, threads: int, stack: ExitStack) -> Opened:
    openvino = import_module("openvino")
    asked = {"float32": "f32", "bfloat16": "bf16"}[route.precision]
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": asked,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(route.file, "CPU", options)
    capable = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    note = "" if asked == "f32" or "BF16" in capable else "this CPU has no bfloat16 arithmetic"
    return Opened(prepare=lambda image: image, run=lambda image: float(compiled([image])[0].item()), note=note)


def _open_onnxruntime(route: Route, threads: int, stack: ExitStack) -> Opened:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    if route.device == "cpu":
        session = runtime.InferenceSession(route.file, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return Opened(lambda image: image, lambda image: float(session.run(None, {name: image})[0].item()))
    torch = import_module("torch")  # its CUDA libraries are the ones that the provider finds
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")  # no node may go to the CPU in silence
    session = runtime.InferenceSession(route.file, options, providers=[("CUDAExecutionProvider", {"use_tf32": "0"})])
    entry, binding = session.get_inputs()[0].name, session.io_binding()
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")

    def run(image: Any) -> float:
        binding.bind_input(entry, "cuda", 0, np.float32, tuple(image.shape), image.data_ptr())
        session.run_with_iobinding(binding)
        return float(binding.copy_outputs_to_cpu()[0].item())

    return Opened(lambda image: torch.from_numpy(image).cuda(), run)


def _open_torch(route: Route, threads: int, stack: ExitStack) -> Opened:
    import torch

    torch.set_num_threads(threads)
    stack.enter_context(torch.no_grad())
    network = load_network(route.file)
    if route.device == "cpu":
        compiled = torch.compile(network) if route.mode == "compile" else network
        return Opened(torch.from_numpy, lambda image: float(compiled(image).item()))
    torch.backends.cudnn.benchmark = True
    dtype = getattr(torch, route.precision)
    layout = torch.channels_last_3d
    if route.mode == "amp":
        stack.enter_context(torch.autocast("cuda", dtype=dtype))
    network = network.cuda()  # fusion stays float32
    network.branches.to(dtype=torch.float32 if route.mode == "amp" else dtype, memory_format=layout)
    entry = torch.float32 if route.mode == "amp" else dtype
    forward = torch.compile(network) if route.mode == "compile" else network
    if route.mode == "graphs":
        forward = _captured(network)
    return Opened(
        prepare=lambda image: torch.from_numpy(image).cuda().to(entry).contiguous(memory_format=layout),
        run=lambda image: float(forward(image).item()),
    )


def load_network(path: str) -> Any:
    """ETSCNet with the weights of a file, in evaluation mode, float32, on the CPU; modalities as the file has them.

    Unlike `scripts.checkpoint.load_model` it takes weights that were trained at another size: this is a timing, no diagnosis.
    """
    from scripts.checkpoint import read_weights
    from scripts.network import ETSCNet

    state = read_weights(path)
    network = ETSCNet(list(dict.fromkeys(name.split(".")[1] for name in state if name.startswith("branches."))))
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


def _captured(network: Any) -> Callable[[Any], Any]:
    """The network as a CUDA graph, captured at the first image."""
    import torch

    held: dict[str, Any] = {}

    def replay(image: Any) -> Any:
        if not held:
            held["image"], held["graph"] = image.clone(), torch.cuda.CUDAGraph()
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):  # what is chosen at the first runs must not be captured
                for _ in range(3):
                    network(held["image"])
            torch.cuda.current_stream().wait_stream(side)
            with torch.cuda.graph(held["graph"]):
                held["pred"] = network(held["image"])
        held["image"].copy_(image)
        held["graph"].replay()
        return held["pred"]

    return replay


def _open_tensorrt(route: Route, threads: int, stack: ExitStack) -> Opened:
    import torch

    engine = import_module("scripts.tensorrt_engine").Engine(route.file, library=route.library)
    (entry,) = engine.inputs
    return Opened(lambda image: torch.from_numpy(image).cuda(), lambda image: float(engine.run({entry: image})["pred"]))
