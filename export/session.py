"""One exported graph on ONNX Runtime's CPU, set up so that memory stays near what is alive.

- No memory pattern: it would keep a place for every tensor through the whole run, though few planes are alive at a time.
- No reuse of buffers by the planner: it hands a dead tensor's buffer on to the next of the same size, and holds it until then.
  So each size of plane would hold its own maximum all the time; the arena gives the memory to any size.
- What loading has freed goes back to the system, where the C library can do that (glibc): it would be 17 MB too many for ever.
- Sequential: the branches one after the other hold half the memory of both at once.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from export.parts import parted
from scripts.errors import InputError

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
        self._session: ort.InferenceSession | None = _opened(str(file), file, threads)
        _give_back_freed_memory()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def image_shape(self) -> Sequence[int | str]:
        """What `run` takes."""
        return list(self._open().get_inputs()[0].shape)

    def run(self, image: Array) -> tuple[Array, Array]:
        """image (1, M, x, y, z) float32 -> pred (1, 1), branch_scores (1, M), float32."""
        pred, branch_scores = self._open().run(["pred", "branch_scores"], {"image": image})
        return pred, branch_scores

    def close(self) -> None:
        """Give the memory back."""
        self._session = None

    def _open(self) -> ort.InferenceSession:
        if self._session is None:
            raise ValueError("the session is closed.")
        return self._session


class ParallelSession(Session):
    """The same of the same file, but the branches run at once, each in a session of its own on its share of the threads.

    No thread waits for another after every operation: faster where there are as many threads as branches, and it takes the
    memory of all branches at once.
    """

    def __init__(self, file: str | Path, *, threads: int = 2) -> None:
        branches, fusion = parted(onnx.load(file))
        share = max(1, threads // len(branches))
        self._branches = [_opened(branch.SerializeToString(), file, share) for branch in branches]
        self._session = _opened(fusion.SerializeToString(), file, 1)
        self._pool = ThreadPoolExecutor(len(branches) - 1 or 1)  # the caller's own thread runs one branch
        del branches
        _give_back_freed_memory()

    @property
    def image_shape(self) -> Sequence[int | str]:
        """What `run` takes."""
        return list(self._branches[0].get_inputs()[0].shape)

    def run(self, image: Array) -> tuple[Array, Array]:
        """image (1, M, x, y, z) float32 -> pred (1, 1), branch_scores (1, M), float32."""
        fusion, (first, *others) = self._open(), self._branches
        running = [self._pool.submit(other.run, None, {"image": image}) for other in others]
        logits = [first.run(None, {"image": image}), *(one.result() for one in running)]
        inputs = {entry.name: logit[0] for entry, logit in zip(fusion.get_inputs(), logits, strict=True)}
        pred, branch_scores = fusion.run(["pred", "branch_scores"], inputs)
        return pred, branch_scores

    def close(self) -> None:
        """Give the memory back."""
        super().close()
        self._branches = []
        self._pool.shutdown()


def open_session(file: str | Path, *, threads: int = 2, parallel: bool = False) -> Session:
    """The graph, ready to run; see Session, and with `parallel` ParallelSession."""
    return (ParallelSession if parallel else Session)(file, threads=threads)


def _opened(graph: str | bytes, file: str | Path, threads: int) -> ort.InferenceSession:
    """A session of the file, or of the part of it given as bytes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = options.enable_mem_reuse = False
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises its own kinds, which share no base
        raise InputError(
            f"ONNX Runtime {ort.__version__} does not run this graph ({error})",
            expected="a graph in a form for this processor",
            remedy="Take the standard form, or export again.",
            file=file,
        ) from error


def _give_back_freed_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
