"""A bounded queue with one worker: a place is taken before a body is read, so that memory is bounded by the number of places."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from etscnet_edge.server.faults import LEFT, Refused

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
        self.closed = asyncio.Event()
        self._usual_s = FIRST_GUESS_S
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="worker")

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place for one request.

        Raises:
            Refused: 503, all are taken or the server stops.
        """
        if self.closed.is_set():
            raise stopping()
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

    async def run(self, job: Callable[[], Result], *, left: Callable[[], Awaitable[None]]) -> Done[Result]:
        """Run it on the worker, after those that came before. Call it from within a `place`.

        Args:
            job: what is run.
            left: returns when nobody waits for the answer any more: a job that has not begun is not begun then.

        Raises:
            Refused: 503, the server stops and the job had not begun; LEFT. Otherwise what the job raises.
        """
        if self.closed.is_set():
            raise stopping()
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
        done, gone = asyncio.wrap_future(future), asyncio.ensure_future(left())
        try:
            either: set[asyncio.Future[Any]] = {done, gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not done.done():
                future.cancel()
                await asyncio.wait({done})  # if it had begun, the place is taken until it ends
                raise Refused(LEFT, "The client left.")
            if done.cancelled():
                raise stopping()
            return done.result()
        finally:
            gone.cancel()
            del future, done, either  # their errors hold this frame, and the frame the request's bodies

    def first(self, job: Callable[[], None]) -> None:
        """What the worker does before any request."""
        self._worker.submit(job)

    def wait(self) -> None:
        """Until the worker has ended; after `close`."""
        self._worker.shutdown()

    def close(self) -> None:
        """Finish the job that runs, refuse those that wait and all that come."""
        self.closed.set()
        self._worker.shutdown(wait=False, cancel_futures=True)


def stopping() -> Refused:
    """503: what a request is answered when the server stops."""
    return Refused(503, "The server stops. Try again in 5 s.", headers={"Retry-After": "5"})
