"""The loaded model with its queue and its counts: what every route that scores goes through."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.memory import give_back_freed_memory
from etscnet_edge.server.faults import Refused
from etscnet_edge.server.jobs import Jobs
from etscnet_edge.server.statistics import Statistics

logger = logging.getLogger("uvicorn.error")  # the one that uvicorn shows
MODEL, VERSION = "etscnet", "1"  # the protocol's versions are numbers; the model's own is in the metadata
Given = TypeVar("Given")


@dataclass(frozen=True)
class Worked:
    """What the worker made of a request.

    Attributes:
        response: the answer.
        input_s, infer_s: seconds until the network began, and those of the network.
    """

    response: Response
    input_s: float
    infer_s: float


class Service:
    """One model, loaded once by the worker, in the background: the server is live before it is ready.

    Args:
        load: opens the classifier.
        waiting: requests that may wait beside the one in work.
        failed: called when the model can't be loaded, with the reason.
    """

    def __init__(self, load: Callable[[], Classifier], *, waiting: int, failed: Callable[[Exception], None]) -> None:
        self.jobs, self.statistics = Jobs(waiting), Statistics(MODEL, VERSION)
        self._load, self._failed = load, failed
        self._classifier: Classifier | None = None

    @property
    def classifier(self) -> Classifier:
        """
        Raises:
            Refused: 503, it is not loaded yet.
        """
        if self._classifier is None:
            raise Refused(503, "The model is being loaded. Try again in 5 s.", headers={"Retry-After": "5"})
        return self._classifier

    @property
    def ready(self) -> bool:
        """Whether it answers."""
        return self._classifier is not None and not self.jobs.closed.is_set()

    def start(self) -> None:
        """Begin to load."""
        self.jobs.first(self._open)

    def _open(self) -> None:
        start = time.perf_counter()
        try:
            classifier = self._load()
            difference = classifier.accept()
        except Exception as error:  # whatever it is, there will be no model: the process ends with it
            self._failed(error)
            return
        give_back_freed_memory()
        self._classifier = classifier
        logger.info(
            "Model %s (%s, %s) ready after %.1f s; of the golden study it differs from torch by %.1e.",
            classifier.model["version"],
            classifier.model["form"],
            classifier.model["runtime"],
            time.perf_counter() - start,
            difference,
        )

    def stop(self) -> None:
        """Finish the study in work, then give everything back."""
        self.jobs.close()
        self.jobs.wait()
        if self._classifier is not None:
            self._classifier.close()

    async def answer(
        self,
        request: Request,
        read: Callable[[Classifier], Awaitable[Given]],
        work: Callable[[Classifier, Given], Worked],
    ) -> Response:
        """Read a request and have the worker answer it, counted whatever becomes of it.

        Args:
            request: that is answered.
            read: what is taken of it; called when there is a place.
            work: for the worker.

        Raises:
            Refused: what `read` and `work` raise, 422 an input that is at fault, 503 no place.
        """
        start = time.perf_counter()
        self.statistics.pending += 1
        status = 500
        try:
            with self.jobs.place():
                classifier = self.classifier
                given = await read(classifier)
                done = await self.jobs.run(lambda: _and_trim(work, classifier, given), left=lambda: _left(request))
            status = 200
            worked = done.result
            whole = time.perf_counter() - start
            self.statistics.answered(
                {
                    "request": whole,
                    "queue": done.queued_s,
                    "compute_input": worked.input_s,
                    "compute_infer": worked.infer_s,
                    "compute_output": max(0.0, done.worked_s - worked.input_s - worked.infer_s),
                }
            )
            return worked.response
        except (InputError, MemoryError) as error:
            status = 422
            raise Refused(status, str(error) or "The study takes more memory than there is.") from error
        except Refused as error:
            status = error.status
            raise
        finally:
            self.statistics.pending -= 1
            if status != 200:
                self.statistics.refused(status, time.perf_counter() - start)


def _and_trim(work: Callable[[Classifier, Given], Worked], classifier: Classifier, given: Given) -> Worked:
    try:
        return work(classifier, given)
    finally:
        give_back_freed_memory()


async def _left(request: Request) -> None:
    """Until the client has gone; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
