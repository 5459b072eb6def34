"""`etscnet-edge build`: a TensorRT engine from an export, on the device that it will run on; `engine_for`: the one that is right.

The work is done in a process of its own (`etscnet_edge.builder`). What it has built, loaded and found to give torch's scores is
put in place here: the engine, then its record. The manifest is the export's and is never touched.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from etscnet_edge.build_progress import Progress
from etscnet_edge.cuda import Cuda
from etscnet_edge.engine_record import EngineRecord, put, read_record, record_file, staleness
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import Manifest, read_manifest
from etscnet_edge.tensorrt_engine import load_tensorrt
from etscnet_edge.timing_cache import NAME as TIMING_CACHE

START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from etscnet_edge.builder import main; main(sys.argv[2], int(sys.argv[3]))"
)
LOG_LINES = 3  # of its last ones, in an error


class BuildError(InputError):
    """What the builder's process said, as it said it."""

    def __init__(self, said: str) -> None:
        ValueError.__init__(self, said)
        self.file = None


def build(
    exports: str = "exports",
    *,
    form: str = "gpu-fp32",
    engines: str | None = None,
    memory_mb: int | None = None,
    timing_cache: bool = True,
    for_timing: bool = False,
) -> str:
    """Build the engine of an export on this device; prints its record as JSON.

    Args:
        exports: the folder of etscnet.json.
        form: the graph that it is built from: gpu-fp32, or gpu for float16.
        engines: where it is put, with its record, log and timing cache; by default beside the export.
        memory_mb: the most that a layer may use for itself, 10^6 bytes of device memory; by default all there is.
        timing_cache: use and keep the measured times of kernels; a second build takes less time.
        for_timing: take an export for timing, whose scores mean nothing, too.

    Raises:
        InputError: no TensorRT, CUDA or GPU, too little memory, a build that fails, or an engine whose scores of the golden study
            are not torch's. The engine that was there stays.
    """
    if memory_mb is not None and int(memory_mb) < 1:
        raise InputError(f"--memory_mb {memory_mb}", expected="1 or more", remedy="Leave it out for all there is.")
    manifest = read_manifest(str(exports), for_timing=for_timing)
    engine = engine_file(manifest, form, None if engines is None else Path(str(engines)))
    with _locked(engine) as waited:
        record = read_record(engine) if waited and not _stale(manifest, form, engine) else None
        if record is None:
            limit = None if memory_mb is None else int(memory_mb)
            record = _build(manifest, form, engine, memory_mb=limit, timing_cache=timing_cache)
    return json.dumps(record.to_dict(), indent=1)


def engine_for(
    manifest: Manifest, *, form: str, engines: Path | None, memory_mb: int | None = None, rebuild: bool = True
) -> Path:
    """The engine of this export, this TensorRT and this GPU, its hash checked.

    Args:
        manifest: of the export.
        form: the graph that it is of.
        engines: its folder; None: the export's.
        memory_mb: see `build`; of an engine that is there it says nothing.
        rebuild: build it where it is missing or stale, and say so; False: refuse.

    Raises:
        InputError: what `build` refuses, or a missing or stale engine that is not to be built.
    """
    engine = engine_file(manifest, form, engines)
    why = _stale(manifest, form, engine)
    if why and not rebuild:
        folder = "" if engines is None else f" --engines {engines}"
        remedy = f"Build it: etscnet-edge build --exports {manifest.folder} --form {form}{folder}."
        raise InputError(why, expected="the one for this export, TensorRT and GPU", remedy=remedy, file=engine)
    if why:
        with _locked(engine):
            why = _stale(manifest, form, engine)  # another process may have built it meanwhile
            if why:
                Progress().say(f"{why}: it is built now, which takes minutes")
                _build(manifest, form, engine, memory_mb=memory_mb, timing_cache=True)
    return engine


def engine_file(manifest: Manifest, form: str, engines: Path | None) -> Path:
    """Where the engine of a form lies: named as its graph, so that it is never `etscnet.engine`, which is the export's."""
    graph = Path(manifest.said["forms"][manifest.choose(form)]["file"])
    return (engines or manifest.folder) / graph.with_suffix(".engine").name


def _stale(manifest: Manifest, form: str, engine: Path) -> str:
    graph = manifest.said["files"][manifest.said["forms"][form]["file"]]
    version, device = str(load_tensorrt().__version__), Cuda().device()
    return staleness(engine, onnx_sha256=graph["sha256"], tensorrt=version, device=device)


@contextmanager
def _locked(engine: Path) -> Iterator[bool]:
    """Until no other process builds this engine; whether that had to be waited for. The file stays: it is no lock itself."""
    path = engine.with_name(f".{engine.name}.lock")
    try:
        engine.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("w")
    except OSError as error:
        raise InputError(
            f"can't write here ({error.strerror})",
            expected="a folder for engines",
            remedy="Give another one: --engines.",
            file=path.parent,
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            waited = False
        except BlockingIOError:
            Progress().say("another process builds this engine: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
            waited = True
        yield waited


def _build(manifest: Manifest, form: str, engine: Path, *, memory_mb: int | None, timing_cache: bool) -> EngineRecord:
    """Build, try, put in place; the caller holds the lock."""
    for left in engine.parent.glob(f".{engine.name}.*.tmp"):  # by a process that was killed
        left.unlink()
    new, new_record, new_cache = (
        engine.with_name(f".{engine.name}.{os.getpid()}.{part}.tmp") for part in ("engine", "record", "cache")
    )
    cache = engine.with_name(TIMING_CACHE)
    request = {
        "exports": str(manifest.folder),
        "form": form,
        "engine": str(new),
        "name": engine.name,
        "memory_mb": memory_mb,
        "for_timing": bool(manifest.said["for_timing_only"]),
        "cache": str(cache) if timing_cache else None,
        "new_cache": str(new_cache),
    }
    try:
        record = _run(request, engine.with_name(f"{engine.name}.log"))
        put(new, engine)
        new_record.write_text(json.dumps(record.to_dict(), indent=1) + "\n")
        put(new_record, record_file(engine))
        if new_cache.exists():
            put(new_cache, cache)
    except OSError as error:
        raise InputError(
            f"the engine can't be written ({error.strerror})",
            expected="room for it, and the right to write",
            remedy="Make room, or give another folder: --engines.",
            file=engine,
        ) from error
    finally:
        for path in (new, new_record, new_cache):
            path.unlink(missing_ok=True)
    return record


def _run(request: dict[str, Any], log: Path) -> EngineRecord:
    """The builder's process, its reports shown, its output in the log."""
    progress, said = Progress(), dict[str, Any]()
    reading, writing = os.pipe()
    command = [sys.executable, "-c", START, json.dumps(sys.path), json.dumps(request), str(writing)]
    with os.fdopen(reading) as reports, log.open("wb") as out:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, pass_fds=(writing,))
        finally:
            os.close(writing)
        try:
            for line in reports:
                report = json.loads(line)
                if "phase" in report:
                    progress.step(report["phase"], report["done"], report["of"])
                elif "said" in report:
                    progress.say(report["said"])
                else:
                    said.update(report)
        except ValueError:  # a line that was cut off: the process is dead, its status says of what
            pass
        finally:
            process.kill()  # Ctrl-C, or it has ended
            status = process.wait()
            progress.close()
    if "error" in said:
        raise BuildError(said["error"])
    if "record" not in said:
        raise _died(status, log)
    return EngineRecord(**said["record"])


def _died(status: int, log: Path) -> InputError:
    end = "; ".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]) or "it says nothing"
    name = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    found = f"the builder's process died ({name}); the end of its log: {end}"
    remedy = "Its log says more; report it with that."
    if status == -signal.SIGKILL:
        found = f"the builder's process was killed ({name}), most likely for want of memory; the end of its log: {end}"
        remedy = "Close other programs, add swap, or give less --memory_mb, the builder's workspace."
    return InputError(found, expected="an engine", remedy=remedy, file=log)
