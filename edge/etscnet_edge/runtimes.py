"""ONNX Runtime on the CPU, set up so that memory stays near what is alive. Imported on use: it is an extra (`[cpu]`).

No memory pattern and no reuse of buffers by the planner: both would hold every size of tensor at its own maximum, where the arena
hands memory on to any size. No other provider is ever taken in silence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError

Array = NDArray[Any]


class OnnxSession:
    """One graph, until it is closed.

    Args:
        file: the graph, its hash checked by the manifest.
        threads: of ONNX Runtime.

    Raises:
        InputError: ONNX Runtime is not installed, or can't read the graph.
    """

    def __init__(self, file: Path, *, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise InputError(
                "ONNX Runtime is not installed", expected="onnxruntime", remedy='pip install "etscnet-edge[cpu]"'
            ) from error
        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = options.enable_mem_reuse = False
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own kinds, which share no base
            raise InputError(
                f"ONNX Runtime {self.version} does not run this graph ({error})",
                expected="a graph in a form for this processor",
                remedy="Take --form standard, or export again with this version of ONNX Runtime.",
                file=file,
            ) from error
        self._session: Any = session

    def close(self) -> None:
        """Give the memory back."""
        self._session = None

    @property
    def inputs(self) -> dict[str, list[int | str]]:
        """Name -> shape."""
        return {value.name: list(value.shape) for value in self._session.get_inputs()}

    def run(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """The outputs by name.

        Raises:
            ValueError: other names than the graph's, or the session is closed.
        """
        if self._session is None:
            raise ValueError("the session is closed.")
        if set(inputs) != set(self.inputs):
            raise ValueError(f"the graph takes {sorted(self.inputs)}, not {sorted(inputs)}.")
        names = [value.name for value in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def float32(value: float) -> Array:
    """A scalar input."""
    return np.asarray(value, dtype=np.float32)
