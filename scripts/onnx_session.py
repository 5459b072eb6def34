"""One exported graph on ONNX Runtime's CPU, set up so that memory stays near what is alive.

- No memory pattern: it would keep a place for every tensor through the whole run, though few planes are alive at a time.
- No reuse of buffers by the planner: it hands a dead tensor's buffer on to the next of the same size, and holds it until then.
  So each size of plane would hold its own maximum all the time; the arena gives the memory to any size.
- What loading has freed goes back to the system, where the C library can do that (glibc).
- Sequential: the branches one after the other hold half the memory of both at once.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError

# On Linux, too, ONNX Runtime's builds send telemetry and keep a device's number on the disk; it looks once, when imported.
if os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime as ort

Array = NDArray[np.float32]


class Session:
    """image (1, M, x, y, z) float32 -> pred (1, 1), branch_scores (1, M). Use it as a context manager, or `close` it.

    Args:
        file: the graph.
        threads: of ONNX Runtime.

    Raises:
        InputError: ONNX Runtime can't read the graph; the message is its own.
    """

    def __init__(self, file: str | Path, *, threads: int = 2) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_mem_pattern = options.enable_mem_reuse = False
        options.log_severity_level = 3
        try:
            self._session: ort.InferenceSession | None = ort.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime raises its own kinds, which share no base
            raise InputError(
                f"ONNX Runtime {ort.__version__} does not run this graph ({error})",
                expected="a graph in a form for this processor",
                remedy="Take the standard form, or export again.",
                file=file,
            ) from error
        _give_back_freed_memory()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def image_shape(self) -> Sequence[int | str]:
        """What `run` takes."""
        return list(self._opened().get_inputs()[0].shape)

    def run(self, image: Array) -> tuple[Array, Array]:
        """image (1, M, x, y, z) float32 -> pred (1, 1), branch_scores (1, M), float32."""
        pred, branch_scores = self._opened().run(["pred", "branch_scores"], {"image": image})
        return pred, branch_scores

    def close(self) -> None:
        """Give the memory back."""
        self._session = None

    def _opened(self) -> ort.InferenceSession:
        if self._session is None:
            raise ValueError("the session is closed.")
        return self._session


def _give_back_freed_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
