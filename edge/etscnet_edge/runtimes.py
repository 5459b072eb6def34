"""What runs a graph: ONNX Runtime by one of its providers, chosen by name and never replaced in silence.

No memory pattern, and for the network no reuse of buffers by the planner: both would hold every size of tensor at its own
maximum, where the arena hands memory on to any size. ONNX Runtime is imported on use: it is an extra (`[cpu]`, `[gpu]`).
Source: onnxruntime.ai/docs/execution-providers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

from numpy.typing import NDArray

from etscnet_edge.errors import InputError
from etscnet_edge.memory import give_back_freed_memory

Array = NDArray[Any]
# Name -> ONNX Runtime's provider and its options. TensorRT itself, without ONNX Runtime, is the runtime "tensorrt".
RUNTIMES: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "ort-tensorrt": ("TensorrtExecutionProvider", {}),
}
EXTRA = {"cpu": "cpu", "cuda": "gpu", "ort-tensorrt": "gpu"}


class Network(Protocol):
    """image (1, M, x, y, z) float32 -> "pred" (1, 1), "branch_scores" (1, M), float32."""

    version: str

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """The outputs by name, of the inputs by name, in the shapes above."""

    def close(self) -> None:
        """Give back what it holds; it can't be used again."""


Opener = Callable[[], Network]


class OnnxSession:
    """One graph, until it is closed.

    Args:
        content: the graph, its hash checked by the manifest.
        name: of it, for errors.
        threads: of ONNX Runtime.
        runtime: one of RUNTIMES.
        reuse: let the planner reuse buffers in place.
        arena: keep freed memory for the next run; without, every tensor's goes back when it is not needed any more.

    Raises:
        InputError: ONNX Runtime or the provider is not installed, or it can't run the whole graph.
    """

    def __init__(
        self,
        content: bytes,
        *,
        name: str,
        threads: int,
        runtime: str = "cpu",
        reuse: bool = False,
        arena: bool = True,
    ) -> None:
        provider, settings = RUNTIMES[runtime]
        onnxruntime = import_onnxruntime(runtime)
        self.version = f"onnxruntime {onnxruntime.__version__}, {provider.removesuffix('ExecutionProvider')}"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern, options.enable_mem_reuse, options.enable_cpu_mem_arena = False, reuse, arena
        options.log_severity_level = 3
        if runtime != "cpu":  # a node that the GPU does not take is an error
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            session = onnxruntime.InferenceSession(content, options, providers=[(provider, settings)])
            session.disable_fallback()
        except Exception as error:  # ONNX Runtime raises its own kinds, which share no base
            raise InputError(
                f"ONNX Runtime {onnxruntime.__version__} does not run this graph on {provider} ({error})",
                expected="a graph in a form for this processor",
                remedy="Take --form standard and --runtime cpu, or export again with this version of ONNX Runtime.",
                file=name,
            ) from error
        if session.get_providers()[0] != provider:
            raise InputError(
                f"ONNX Runtime took {session.get_providers()[0]}",
                expected=provider,
                remedy="Mend the driver or CUDA (its own log above says more), or take --runtime cpu.",
            )
        self._session: Any = session
        give_back_freed_memory()

    def close(self) -> None:
        """Give the memory back."""
        self._session = None

    @property
    def inputs(self) -> dict[str, list[int | str]]:
        """Name -> shape."""
        return {value.name: list(value.shape) for value in self._session.get_inputs()}

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """The outputs by name, in the graph's own shapes and kinds, as the inputs are.

        Raises:
            ValueError: other names than the graph's, or the session is closed.
        """
        if self._session is None:
            raise ValueError("the session is closed.")
        if set(inputs) != set(self.inputs):
            raise ValueError(f"the graph takes {sorted(self.inputs)}, not {sorted(inputs)}.")
        names = [value.name for value in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def import_onnxruntime(runtime: str) -> Any:
    """The library, with the provider of this runtime.

    Raises:
        InputError: one of them is not installed.
    """
    # On Linux, too, ONNX Runtime's builds send telemetry and keep a device's number on the disk; it looks once, when imported.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    provider, remedy = RUNTIMES[runtime][0], f'pip install "etscnet-edge[{EXTRA[runtime]}]"'
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError("ONNX Runtime is not installed", expected="onnxruntime", remedy=remedy) from error
    found = onnxruntime.get_available_providers()
    if provider not in found:
        remedy = f"Take --runtime cpu, or {remedy}."
        raise InputError(f"ONNX Runtime {onnxruntime.__version__} has {found}", expected=provider, remedy=remedy)
    return onnxruntime
