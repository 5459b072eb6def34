"""A bench for builds: one machine that stands in, one export, one folder of engines; every command is a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from etscnet_edge import timing_cache
from etscnet_edge.golden import accept
from etscnet_edge.manifest import read_manifest, sha256
from numpy.typing import NDArray

from tests.edge import stand_in

ENGINE = "etscnet.gpu-fp32.engine"
RECORD, LOG, LOCK = f"{ENGINE}.json", f"{ENGINE}.log", f".{ENGINE}.lock"
KEPT = {ENGINE, RECORD, LOG, LOCK, timing_cache.NAME}
DRIVER = """
import json, sys
from pathlib import Path
import numpy as np
from etscnet_edge.build import build, engine_for
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import read_manifest
from etscnet_edge.tensorrt_engine import TensorRTEngine
verb, exports, engines, options = sys.argv[1:3] + sys.argv[3:4] + [json.loads(sys.argv[4])]
try:
    if verb == "build":
        print(build(exports, engines=engines, **options))
    else:
        manifest = read_manifest(exports)
        with TensorRTEngine(engine_for(manifest, form="gpu-fp32", engines=Path(engines), **options)) as engine:
            image = np.random.default_rng(3).random(engine.shapes["image"], dtype=np.float32)
            print(json.dumps({name: value.tolist() for name, value in engine.run({"image": image}).items()}))
    assert not {"torch", "monai", "onnx", "scripts", "export"} & set(sys.modules)
except InputError as error:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(1)
"""
Done = subprocess.CompletedProcess[str]


class Bench:
    """One machine, one export, one folder of engines."""

    def __init__(self, machine: Path, exports: Path, engines: Path) -> None:
        self.machine, self.exports, self.engines = machine, exports, engines
        self.engine, self.trace = engines / ENGINE, engines.with_name(f"{engines.name}.trace")

    def start(self, verb: str, options: dict[str, Any] | None = None, **said: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", DRIVER, verb, str(self.exports), str(self.engines), json.dumps(options or {})]
        env = stand_in.environment(self.machine, trace=str(self.trace), **said)
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background ignores it
        )

    def run(self, verb: str, options: dict[str, Any] | None = None, **said: str) -> Done:
        process = self.start(verb, options, **said)
        out, err = process.communicate(timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def good(self, verb: str, options: dict[str, Any] | None = None, **said: str) -> dict[str, Any]:
        done = self.run(verb, options, **said)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def refused(self, verb: str, options: dict[str, Any] | None = None, **said: str) -> str:
        """One line that says so, and nothing else; everything that was there is as it was, and no temporary file."""
        before = self.content()
        done = self.run(verb, options, **said)
        assert done.returncode == 1 and done.stdout == "" and "Traceback" not in done.stderr, done.stderr
        *_, last = done.stderr.splitlines()
        assert last.startswith("error: ") and done.stderr.count("error: ") == 1
        assert {name: content for name, content in self.content().items() if name not in (LOG, LOCK)} == before
        return last

    def content(self) -> dict[str, bytes]:
        """File -> hash, without the log and the lock."""
        if not self.engines.is_dir():
            return {}
        return {path.name: sha256(path).encode() for path in self.engines.iterdir() if path.name not in (LOG, LOCK)}

    def events(self, what: str) -> int:
        lines = self.trace.read_text().splitlines() if self.trace.exists() else []
        return sum(line.startswith(what) for line in lines)

    def change_record(self, **values: Any) -> None:
        path = self.engines / RECORD
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def small_export(exports: Path, folder: Path) -> None:
    """The export with a graph of means in the place of gpu-fp32, and its golden case: it is built and tried in a second."""
    said = json.loads((exports / "etscnet.json").read_text())
    with np.load(exports / "golden.npz") as stored:
        golden = dict(stored)
    images: list[NDArray[np.float32]] = []

    def keep(image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        images.append(image)
        return golden

    accept(read_manifest(exports), keep, precision="float32")
    golden["branch_scores"] = images[0].mean(axis=(2, 3, 4))
    golden["pred"] = golden["branch_scores"].mean(axis=1, keepdims=True)
    np.savez_compressed(folder / "golden.npz", **golden)
    (folder / "etscnet.gpu-fp32.onnx").write_bytes(stand_in.means(images[0].shape))
    for name in ("golden.npz", "etscnet.gpu-fp32.onnx"):
        said["files"][name] = {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
    (folder / "etscnet.json").write_text(json.dumps(said))


def wait_for(fact: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (found := fact()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def alive(pid: int) -> bool:
    """A zombie whose parent was killed first is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
