"""What is known of an engine file: `<engine>.json` beside it. An engine that its record does not vouch for is never loaded.

The engine is put in place first and its record after it, each whole: whatever kills the process between, the file's hash is then
not the record's, and the engine counts as stale.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from etscnet_edge.cuda import Device
from etscnet_edge.manifest import sha256

SCHEMA = 1


@dataclass(frozen=True)
class EngineRecord:
    """An engine.

    Attributes:
        file, sha256, bytes: its name, hexadecimal digits, size.
        onnx_sha256, form, precision: of the graph that it was built from.
        tensorrt, gpu, compute_capability, cuda: that built it, and that it is for: "10.3.0", "Orin", "8.7", "driver 12.6, ...".
        memory_mb: the limit of the builder's workspace, 10^6 bytes; None: there was none.
        seconds: of the build.
        golden_difference: the largest difference of a score of the golden study from torch's.
        package: the version of etscnet-edge.
    """

    file: str
    sha256: str
    bytes: int
    onnx_sha256: str
    form: str
    precision: str
    tensorrt: str
    gpu: str
    compute_capability: str
    cuda: str
    memory_mb: int | None
    seconds: float
    golden_difference: float
    package: str
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def record_file(engine: Path) -> Path:
    """Where an engine's record lies."""
    return engine.with_name(f"{engine.name}.json")


def read_record(engine: Path) -> EngineRecord | None:
    """The record beside an engine; None: there is none that can be read."""
    try:
        said = json.loads(record_file(engine).read_text())
    except (OSError, ValueError):
        return None
    names = {field.name for field in fields(EngineRecord)}
    if not isinstance(said, dict) or said.get("schema") != SCHEMA or set(said) != names:
        return None
    return EngineRecord(**said)


def staleness(engine: Path, *, onnx_sha256: str, tensorrt: str, device: Device) -> str:
    """Why an engine can't be taken; "" where it can.

    Args:
        engine: the file.
        onnx_sha256: of the graph that it has to be of.
        tensorrt: the version that will load it.
        device: that it will run on.
    """
    if not engine.is_file():
        return "there is no engine yet"
    record = read_record(engine)
    if record is None:
        return "the engine has no record that can be read"
    if record.onnx_sha256 != onnx_sha256:
        return "the engine was built from another export"
    if record.tensorrt != tensorrt:
        return f"the engine was built by TensorRT {record.tensorrt}, here is {tensorrt}"
    built_for, here = (record.gpu, record.compute_capability), (device.name, device.compute_capability)
    if built_for != here:
        return f"the engine was built for {' '.join(built_for)}, here is {' '.join(here)}"
    if record.sha256 != sha256(engine):
        return "the engine is not the file that was built"
    return ""


def put(temporary: Path, target: Path) -> None:
    """A written file to its place, whole: at any moment the old one or the new one is there."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
