"""The process of one route: it loads the network once, then takes a sample whenever it is asked.

Orders come as lines on its stdin, answers go as JSON lines to its stdout; what libraries print goes to stderr. It ends as soon as
its stdin does, even in the middle of a run, so that it outlives nobody. Memory is /proc's: VmHWM, the largest resident memory
that the process ever had, its interpreter and its libraries included.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from queue import Queue
from threading import Thread, Timer
from types import TracebackType
from typing import IO, Any, cast

import numpy as np

from export.route import Route
from export.runners import open_route

ROOT = Path(__file__).resolve().parents[1]


class RouteFailed(RuntimeError):
    """A route that could not be loaded or run; the message is the reason."""


class Worker:
    """The route's process, seen from the race. A context manager: the process group is gone afterwards, whatever happened.

    Args:
        route: what to run.
        image: the .npy file of the image, (1, M, x, y, z) float32.
        threads: for the network.
        limit_s: seconds after which an answer is given up.
    """

    def __init__(self, route: Route, image: str | Path, *, threads: int, limit_s: float) -> None:
        self.route, self._limit_s = route, limit_s
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 closed by close()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "ORT_DISABLE_TELEMETRY": "1",
            "TORCHINDUCTOR_COMPILE_THREADS": str(os.cpu_count() or 1),  # they work before the first round
            **route.environment,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "export.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is the race's to handle, and the whole group can be ended
        )
        self._order = {"route": route.to_dict(), "image": str(image), "threads": threads}

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def load(self) -> dict[str, Any]:
        """Import, load, place the image: `imported_bytes`, `load_s`, `prepare_s`, `note`.

        Raises:
            RouteFailed: as `sample`.
        """
        return self._ask(self._order)

    def sample(self) -> dict[str, Any]:
        """Run once: `seconds`, `cpu_seconds` of the process, `score`, `peak_bytes`, on a GPU `device_bytes`.

        Raises:
            RouteFailed: the route raised, its process ended, or no answer came in time.
        """
        return self._ask({})

    def close(self) -> None:
        """End the process and what it started."""
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._said):
            with suppress(BrokenPipeError):  # an order that nobody read
                cast(IO[Any], stream).close()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        orders, answers = cast(IO[str], self.process.stdin), cast(IO[str], self.process.stdout)
        watch = Timer(self._limit_s, self.process.kill)
        watch.start()
        try:
            orders.write(json.dumps(order) + "\n")
            orders.flush()
            line = answers.readline()
        except BrokenPipeError:
            line = ""
        finally:
            late = not watch.is_alive()
            watch.cancel()
        if not line:
            raise RouteFailed(f"no answer in {self._limit_s:g} s" if late else self._last_words())
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise RouteFailed(answer["failed"])
        return answer

    def _last_words(self) -> str:
        status = self.process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        return f"the process {ended}{': ' + lines[-1] if lines else ''}"


def serve() -> None:
    """The process's own side: obey until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    orders: Queue[str] = Queue()
    Thread(target=_listen, args=(orders,), daemon=True).start()
    order = json.loads(orders.get())
    route = Route(**order["route"])
    with ExitStack() as stack:
        try:
            import_module(route.library)
            free = _free_device_memory() if route.device == "cuda" else 0
            imported = resident("VmRSS")
            started = time.perf_counter()
            opened = open_route(route, threads=order["threads"], stack=stack)
            loaded = time.perf_counter()
            image = opened.prepare(np.load(order["image"]))
            said: dict[str, Any] = {"imported_bytes": imported, "note": opened.note, "load_s": loaded - started}
            print(json.dumps({**said, "prepare_s": time.perf_counter() - loaded}), file=answers)
            while orders.get():
                cpu, start = time.process_time(), time.perf_counter()
                score = opened.run(image)
                said = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
                said |= {"score": score, "peak_bytes": resident("VmHWM")}
                if route.device == "cuda":
                    said["device_bytes"] = free - _free_device_memory()
                print(json.dumps(said), file=answers)
        except Exception as error:  # whatever it is, it is this row's reason, and no other row's
            first = next(iter(str(error).strip().splitlines()), "")
            print(json.dumps({"failed": f"{type(error).__name__}: {first}"[:300]}), file=answers)


def _listen(orders: Queue[str]) -> None:
    """Pass the orders on; when nobody can give any more, end at once, compilers and all, whatever is being computed."""
    for line in sys.stdin:
        orders.put(line)
    with suppress(ProcessLookupError):  # started by hand it is no group's leader
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def resident(field: str) -> int:
    """Bytes of resident memory of this process: "VmRSS" now, "VmHWM" the most it ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def _free_device_memory() -> int:
    """Bytes; the CUDA context is made by the first call, and so is in no difference of two calls."""
    import torch

    return int(torch.cuda.mem_get_info()[0])


if __name__ == "__main__":
    serve()
