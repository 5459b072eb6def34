"""The process that builds an engine and tries it out: started by `etscnet_edge.build`, to which it reports by lines of JSON.

    {"said": text}   {"phase": name, "done": steps, "of": steps}   {"error": text}   {"record": EngineRecord}

It is a process of its own because the builder may crash or be killed for memory, and keeps memory until its process ends. It
writes to temporary names alone, and dies with the process that started it.
The network is strongly typed, as the graph says. TF32, which TensorRT allows by default and which rounds every product's factors
to 10 bits, is off: float32 is float32.
Source: docs.nvidia.com/deeplearning/tensorrt (Python API of 10.3 and 11.x; BuilderFlag, IProgressMonitor, ITimingCache).
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from etscnet_edge import __version__
from etscnet_edge.build_memory import available_host, need, refuse_too_little
from etscnet_edge.cuda import Cuda
from etscnet_edge.engine_record import EngineRecord
from etscnet_edge.errors import InputError
from etscnet_edge.golden import accept
from etscnet_edge.manifest import Manifest, read_manifest, sha256
from etscnet_edge.tensorrt_engine import TensorRTEngine, load_tensorrt, tensorrt_log
from etscnet_edge.timing_cache import read_timing_cache, write_timing_cache

BETWEEN_REPORTS = 0.1  # seconds
PR_SET_PDEATHSIG = 1  # prctl: the signal that comes when the parent ends
Report = Callable[..., None]


def main(request: str, descriptor: int) -> None:
    """Build what the request says; report to the file descriptor; end the process.

    Args:
        request: JSON of `build_and_try`'s arguments.
        descriptor: of a pipe.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once: nothing of its work is in place
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):  # where memory ends, this process ends and not the one that scores
            Path("/proc/self/oom_score_adj").write_text("500")
    lock = threading.Lock()

    def report(**what: Any) -> None:
        with lock:
            os.write(descriptor, (json.dumps(what) + "\n").encode())

    status = 1
    try:
        record = build_and_try(report=report, **json.loads(request))
        report(record=record.to_dict())
        status = 0
    except InputError as error:
        report(error=str(error))
    except Exception as error:  # whatever it is, the caller says it in one line, and its log has the rest
        traceback.print_exc()
        report(error=f"the build failed ({type(error).__name__}: {error}). Its log says more.")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # no library's leave-taking can spoil what is done


def build_and_try(
    *,
    report: Report,
    exports: str,
    form: str,
    engine: str,
    name: str,
    memory_mb: int | None,
    for_timing: bool,
    cache: str | None,
    new_cache: str,
) -> EngineRecord:
    """Build, write, load, and run the golden study.

    Args:
        report: to the caller.
        exports, form, memory_mb, for_timing: as `etscnet_edge.build.build`.
        engine: a temporary file.
        name: that it will have.
        cache: the timing cache that is; None: measure all, keep nothing.
        new_cache: where the new one is written, a temporary file.

    Raises:
        InputError: no TensorRT, CUDA, GPU; too little memory; a graph that it refuses; scores that are not torch's.
    """
    manifest = read_manifest(exports, for_timing=for_timing)
    entry = manifest.said["forms"][manifest.choose(form)]
    content = manifest.content(entry["file"])
    trt, cuda = load_tensorrt(), Cuda()
    device, workspace = cuda.device(), None if memory_mb is None else memory_mb * 10**6
    needed = need(manifest, onnx_bytes=len(content), workspace=workspace, integrated=device.integrated)
    refuse_too_little(needed, host=available_host(), device=cuda.memory()[0])
    owner: dict[str, Any] = {"tensorrt": trt.__version__, "device": device}
    measured, dropped = (None, "") if cache is None else read_timing_cache(Path(cache), **owner)
    if dropped:
        report(said=f"the timing cache is dropped: {dropped}")
    tensorrt_log(trt).sink = sys.stderr  # the caller keeps it
    began = time.perf_counter()
    measured = plan_engine(trt, content, Path(engine), workspace=workspace, measured=measured, report=report)
    seconds = time.perf_counter() - began
    if measured is not None and not write_timing_cache(Path(new_cache), measured, **owner):
        report(said="the timing cache is too large to keep")
    report(said=f"built in {seconds:.0f} s; now the golden study")
    with TensorRTEngine(Path(engine)) as tried:
        _check_interface(manifest, tried)
        difference = accept(manifest, lambda image: tried.run({"image": image}), precision=entry["precision"])
    return EngineRecord(
        file=name,
        sha256=sha256(Path(engine)),
        bytes=Path(engine).stat().st_size,
        onnx_sha256=manifest.said["files"][entry["file"]]["sha256"],
        form=form,
        precision=entry["precision"],
        tensorrt=trt.__version__,
        gpu=device.name,
        compute_capability=device.compute_capability,
        cuda=device.cuda,
        memory_mb=memory_mb,
        seconds=round(seconds, 1),
        golden_difference=difference,
        package=__version__,
    )


def plan_engine(
    trt: Any, content: bytes, file: Path, *, workspace: int | None, measured: bytes | None, report: Report
) -> bytes | None:
    """ONNX -> an engine in a file. Returns the timing cache afterwards, None where none was given.

    Args:
        trt: the package.
        content: a graph of fixed shapes, its weights inside.
        file: to be written.
        workspace: the most bytes of device memory that a layer may use for itself; None: all there is.
        measured: a timing cache of this device and version, b"" for a new one; None: keep no times.
        report: takes phase, done, of.

    Raises:
        InputError: the parser or the builder refuses the graph, with its reasons.
    """
    log, monitor = tensorrt_log(trt), _monitor(trt, report)
    log.clear()
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # what pybind11 makes of a null pointer
        raise _fault("TensorRT's builder does not start", log.errors(), "Match TensorRT, CUDA and driver.") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)  # lives until the engine is built: the weights are in it
    if not parser.parse(content):
        faults = [str(parser.get_error(number)) for number in range(parser.num_errors)]
        raise _fault("TensorRT's parser refuses the graph", faults, "Export again, or update TensorRT.")
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.max_aux_streams = 0  # parallel streams hold more memory, and the branches gain nothing by them
    config.progress_monitor = monitor
    if workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace)
    if measured is not None and not config.set_timing_cache(config.create_timing_cache(measured), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)  # False: never the times of another device
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        remedy = (
            "Free memory or give more --memory_mb: where that is short, TensorRT says that it finds no implementation."
        )
        raise _fault("TensorRT can't build an engine", log.errors(), remedy)
    with file.open("wb") as out:
        out.write(plan)
        out.flush()
        os.fsync(out.fileno())
    kept = config.get_timing_cache() if measured is not None else None
    return None if kept is None else bytes(kept.serialize())


def _monitor(trt: Any, report: Report) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """TensorRT calls it from its threads."""

        def __init__(self) -> None:
            super().__init__()
            self.steps: dict[str, int] = {}
            self.last = 0.0

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            report(phase=phase_name, done=0, of=num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if time.monotonic() - self.last > BETWEEN_REPORTS:
                self.last = time.monotonic()
                report(phase=phase_name, done=step + 1, of=self.steps.get(phase_name, step + 1))
            return True

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def _check_interface(manifest: Manifest, engine: TensorRTEngine) -> None:
    said = {**manifest.said["inputs"], **manifest.said["outputs"]}
    expected = {name: tuple(value["shape"]) for name, value in said.items()}
    if engine.shapes != expected:
        raise InputError(f"the engine has {engine.shapes}", expected=str(expected), remedy="Export again.")


def _fault(what: str, reasons: list[str], remedy: str) -> InputError:
    listed = f" ({'; '.join(reasons)})" if reasons else ""
    return InputError(f"{what}{listed}", expected="a graph that it takes, and memory for it", remedy=remedy)
