"""A bounded queue with one worker: a place is taken before a body is read, so that memory is bounded by the number of places."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from etscnet_edge.server.faults import Refused

Result = TypeVar("Result")
FIRST_GUESS_S = 1.0  # of a job, before one has ended


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What a job gave, how many seconds it waited for the worker, and how many it worked."""

    result: Result
    queued_s: float
    worked_s: float


class Jobs:
    """One worker thread, and the requests that wait for it. Used from one event loop.

    Args:
        waiting: how many may wait beside the one that runs.
    """

    def __init__(self, waiting: int) -> None:
        self.places = waiting + 1
        self.taken = 0
        self.closed = False
        self._usual_s = FIRST_GUESS_S
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="worker")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request.

        Raises:
            Refused: 503, all are taken or the server stops.
        """
        self.check_open()
        if self.taken >= self.places:
            seconds = max(1, math.ceil(self._usual_s * self.taken))
            raise Refused(
                503,
                f"{self.taken} studies are in work or wait; expected a free place. Try again in {seconds} s.",
                headers={"Retry-After": str(seconds)},
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    def check_open(self) -> None:
        """
        Raises:
            Refused: 503, the server stops.
        """
        if self.closed:
            raise Refused(503, "The server stops. Try again in 5 s.", headers={"Retry-After": "5"})

    async def run(self, job: Callable[[], Result]) -> Done[Result]:
        """Run it on the worker, after those that came before. Call it from within a `place`.

        Raises:
            Refused: 503, the server stops and the job had not begun. Otherwise what the job raises.
        """
        self.check_open()
        asked = time.perf_counter()

        def timed() -> Done[Result]:
            began = time.perf_counter()
            try:
                result = job()
            finally:
                worked = time.perf_counter() - began
                self._usual_s += 0.2 * (worked - self._usual_s)  # a mean over the last few
            return Done(result, began - asked, worked)

        future = self._worker.submit(timed)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self.check_open()  # cancelled by `close`, and not with the request
            raise

    def first(self, job: Callable[[], None]) -> None:
        """What the worker does before any request."""
        self._worker.submit(job)

    def wait(self) -> None:
        """Until the worker has ended; after `close`."""
        self._worker.shutdown()

    def close(self) -> None:
        """Finish the job that runs, refuse those that wait and all that come."""
        self.closed = True
        self._worker.shutdown(wait=False, cancel_futures=True)
