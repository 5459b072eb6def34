"""The race: every route in a persistent process, one sample of each a round, in rotating order, taken while the machine is quiet.

Interleaving spreads what changes with time (clock, heat, neighbours) over all routes alike. A sample counts as quiet if others
used little of the machine while it ran: the busy time of all processors less the route's own, time stolen by other guests of a
virtual machine included. A sample that is not quiet is taken again; the quietest of all tries is kept then, and marked.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from export.route import Route
from export.worker import RouteFailed, Worker

TICKS_S = 0.02  # the kernel counts busy time in ticks of 10 ms: two of them mean nothing
WINDOW_S = 0.5  # the least time over which busy ticks are counted: over a run of 20 ms they would tell nothing


@dataclass(frozen=True)
class Settings:
    """How the race is run.

    Args:
        threads: of each route.
        repeats: rounds, and so samples a route.
        warmup: runs of each route before the first round; compilers work in the first.
        attempts: at most so many tries at a quiet sample.
        busy_cores: cores that others may use in a quiet sample.
        limit_s: seconds after which a route is given up.
    """

    threads: int = 2
    repeats: int = 7
    warmup: int = 2
    attempts: int = 5
    busy_cores: float = 0.1
    limit_s: float = 1800.0


@dataclass(frozen=True)
class Sample:
    """One run: `seconds` of latency, `others` = cores that others used then (half a second at least), too many or not, tries."""

    seconds: float
    others: float
    noisy: bool
    tries: int


@dataclass(frozen=True)
class Row:
    """One route's outcome.

    `status` is "ran", "not run" (something is missing here) or "failed"; `reason` says why for the last two. Bytes: resident
    memory of the process after its imports, and its peak; on a GPU what it holds of the device's memory beyond the context.
    Seconds: to load, to place the image. `score` is the fused one.
    """

    route: Route
    status: str
    reason: str = ""
    samples: tuple[Sample, ...] = ()
    score: float | None = None
    imported_bytes: int = 0
    peak_bytes: int = 0
    device_bytes: int | None = None
    load_s: float = 0.0
    prepare_s: float = 0.0
    note: str = ""

    @property
    def noisy(self) -> int:
        """How many of the samples were taken while others used the machine."""
        return sum(sample.noisy for sample in self.samples)

    def latency_ms(self, percentile: float) -> float:
        """A percentile of the latency, ms; 50 is the median. NaN for a route that did not run."""
        seconds = [sample.seconds for sample in self.samples]
        return float(np.percentile(seconds, percentile)) * 1e3 if seconds else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """The fields and the figures of the latencies, ready for JSON."""
        fields = {name: value for name, value in asdict(self).items() if name not in ("route", "samples")}
        ran = {"median_ms": self.latency_ms(50), "p95_ms": self.latency_ms(95), "min_ms": self.latency_ms(0)}
        samples = {"noisy": self.noisy, "samples": [asdict(sample) for sample in self.samples]}
        return {"name": self.route.name, **fields, **(ran if self.samples else {}), **samples}


def race(routes: Sequence[Route], image: str | Path, *, settings: Settings, gpu: bool) -> list[Row]:
    """Run all routes side by side; one that fails is a row with its reason, and the others go on.

    Args:
        routes: in the order of the rows.
        image: .npy, (1, M, x, y, z) float32.
        settings: how.
        gpu: whether routes for a GPU can be tried.

    Returns:
        One row a route. No process is left, whatever ends the race.
    """
    rows: dict[str, Row] = {}
    workers: dict[str, Worker] = {}
    with ExitStack() as stack:
        for route in routes:
            missing = route.why_not(gpu=gpu)
            if missing:
                rows[route.name] = Row(route, "not run", missing)
                continue
            _say(f"loading {route.name}")
            worker = Worker(route, image, threads=settings.threads, limit_s=settings.limit_s)
            workers[route.name] = stack.enter_context(worker)
            rows[route.name] = _warmed(worker, settings)
        for turn in range(settings.repeats):
            running = [name for name, row in rows.items() if row.status == "ran"]
            _say(f"round {turn + 1} of {settings.repeats}: {len(running)} routes")
            for name in rotated(running, turn):
                rows[name] = _sampled(workers[name], rows[name], settings)
    return [rows[route.name] for route in routes]


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """The order of a round: each begins with the next route, so that none always follows the same heavy one."""
    start = turn % len(names) if names else 0
    return [*names[start:], *names[:start]]


def _warmed(worker: Worker, settings: Settings) -> Row:
    try:
        loaded = worker.load()
        said: dict[str, Any] = {}
        for _ in range(max(settings.warmup, 1)):
            said = worker.sample()
    except RouteFailed as error:
        return Row(worker.route, "failed", str(error))
    return _updated(Row(worker.route, "ran", **loaded), said)


def _sampled(worker: Worker, row: Row, settings: Settings) -> Row:
    tries: list[Sample] = []
    try:
        while not tries or (tries[-1].noisy and len(tries) < settings.attempts):
            before, start = busy_seconds(), time.perf_counter()
            said = worker.sample()
            time.sleep(max(WINDOW_S - (time.perf_counter() - start), 0.0))
            window = time.perf_counter() - start
            others = max(busy_seconds() - before - said["cpu_seconds"], 0.0)
            noisy = others > settings.busy_cores * window + TICKS_S
            tries.append(Sample(said["seconds"], others / window, noisy, len(tries) + 1))
    except RouteFailed as error:
        return replace(row, status="failed", reason=f"after {len(row.samples)} samples: {error}", samples=())
    kept = replace(min(tries, key=lambda sample: (sample.noisy, sample.others)), tries=len(tries))
    return replace(_updated(row, said), samples=(*row.samples, kept))


def _updated(row: Row, said: dict[str, Any]) -> Row:
    return replace(
        row, score=said["score"], peak_bytes=said["peak_bytes"], device_bytes=said.get("device_bytes", row.device_bytes)
    )


def busy_seconds() -> float:
    """Seconds that all processors together have been busy since the machine started, stolen ones included."""
    times = psutil.cpu_times()
    return float(sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq", "steal")))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
