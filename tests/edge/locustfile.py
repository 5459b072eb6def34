"""Locust's clients: they send the cases of ETSCNET_CASES in a seeded order, ETSCNET_REQUESTS in all, and check every answer."""

from __future__ import annotations

import os
import pickle
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
from locust import HttpUser, constant, task
from locust.exception import StopUser

CASES: list[dict[str, Any]] = pickle.loads(Path(os.environ["ETSCNET_CASES"]).read_bytes())
TOTAL = int(os.environ["ETSCNET_REQUESTS"])
TOLERANCE = 1e-5


def in_order() -> Iterator[dict[str, Any]]:
    """Every case once before any comes again."""
    rng, sent = random.Random(0), 0
    while sent < TOTAL:
        for case in rng.sample(CASES, len(CASES))[: TOTAL - sent]:
            sent += 1
            yield case


WAITING = in_order()


class Client(HttpUser):
    """One of them: asks as fast as it is answered, and again where the queue is full."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        """Send one case."""
        case = next(WAITING, None)
        if case is None:
            if self.environment.runner.user_count <= 1:  # the last to be answered
                gevent.spawn(self.environment.runner.quit)
            raise StopUser
        while not self._answered(case):
            pass

    def _answered(self, case: dict[str, Any]) -> bool:
        options: dict[str, Any] = {"headers": case["headers"], "name": case["name"], "timeout": 120}
        if case["files"]:
            options["files"] = case["files"]
        else:
            options["data"] = iter(case["body"]) if isinstance(case["body"], tuple) else case["body"]
        with self.client.post(case["path"], catch_response=True, **options) as answer:
            if answer.status_code == 503 and "Retry-After" in answer.headers:
                answer.success()
                gevent.sleep(0.2)
                return False
            fault = wrong(case, answer)
            answer.failure(fault) if fault else answer.success()
        return True


def wrong(case: dict[str, Any], answer: Any) -> str:
    """What is wrong with an answer; "" for nothing."""
    said = f"{answer.status_code} {(answer.text or '')[:300]!r}"
    if answer.status_code not in case["statuses"]:
        return f"{said}; expected {case['statuses']}"
    if case["score"] is None:
        error = answer.json().get("error", "")
        return "" if error and case["words"] in error else f"{said}; expected {case['words']!r}"
    found = answer.json()
    outputs = {output["name"]: output for output in found.get("outputs", [])}
    score = found["score"] if "score" in found else outputs["pred"]["data"][0]
    return "" if abs(score - case["score"]) <= TOLERANCE else f"{said}; expected {case['score']}"
