"""Which file of an export a server runs: chosen by backend and device, everything else from the manifest.

- `onnx`: ONNX Runtime's backend. On a CPU the form `standard`, on a GPU `gpu-fp32`, unless another is named.
- `tensorrt`: TensorRT's backend with an engine of `python -m export tensorrt`. An engine is of one TensorRT and one GPU; what it
  was built by goes into the server's configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx

from export.manifest import MANIFEST, read_manifest
from scripts.errors import InputError

Backend = Literal["onnx", "tensorrt"]
Device = Literal["cpu", "gpu"]
FORMS = {"cpu": "standard", "gpu": "gpu-fp32"}
ENGINE = "etscnet.engine"


@dataclass(frozen=True)
class ServedModel:
    """A file, and how a server opens it.

    Attributes:
        manifest: of the export, its files checked.
        file: of the export.
        backend, platform, stored_as: Triton's names: "onnxruntime", "onnxruntime_onnx", "model.onnx".
        device: "cpu" or "gpu".
        form: of the manifest's.
        batches: whether the file takes any number of images; one otherwise.
        engine: the engine's record; empty for ONNX.
        memory_mb: what one instance takes for an image, 10^6 bytes: of an engine as its builder planned it, of ONNX as
            `memory.instance_mb` measures it for the repository; None where that is not known.
    """

    manifest: Mapping[str, Any]
    file: Path
    backend: str
    platform: str
    stored_as: str
    device: str
    form: str
    batches: bool = False
    engine: Mapping[str, Any] = field(default_factory=dict)
    memory_mb: int | None = None

    @property
    def sha256(self) -> str:
        """Of the file, as the manifest says it."""
        return str(self.manifest["files"][self.file.name]["sha256"])

    @property
    def precision(self) -> str:
        """Of the form: "float32" or "float16"."""
        return str(self.manifest["forms"][self.form]["precision"])

    def shapes(self, kind: str) -> dict[str, list[int]]:
        """Name -> shape of the "inputs" or "outputs", the batch first."""
        return {name: list(tensor["shape"]) for name, tensor in self.manifest[kind].items()}


def served_model(
    exports: str | Path,
    *,
    backend: Backend = "onnx",
    device: Device | None = None,
    form: str | None = None,
    engine: str = ENGINE,
) -> ServedModel:
    """Choose the file.

    Args:
        exports: the folder of etscnet.json.
        backend: "onnx" or "tensorrt".
        device: "cpu" or "gpu"; None: the CPU for ONNX, the GPU for TensorRT.
        form: of the manifest's, for ONNX; None: the device's.
        engine: an engine's file name, for TensorRT.

    Raises:
        InputError: files that are not the manifest's, an export for timing, no such backend, device, form or engine, or an engine
            that Triton's backend does not load or that is of another export.
    """
    folder = Path(exports)
    manifest = read_manifest(folder)
    if manifest["for_timing_only"]:
        found, remedy = "an export for timing alone", "Export without --spatial_size."
        raise InputError(found, expected="the size of the training", remedy=remedy, file=folder / MANIFEST)
    if backend == "tensorrt":
        if device not in (None, "gpu") or form is not None:
            found = f"--device {device}" if form is None else f"--form {form}"
            raise InputError(
                f"{found} for TensorRT", expected="an engine, on a GPU", remedy="Leave it out, or take --backend onnx."
            )
        return _engine(folder, manifest, engine)
    if backend != "onnx":
        raise InputError(f"no backend {backend!r}", expected="onnx or tensorrt", remedy="Correct --backend.")
    device = device or "cpu"
    if device not in FORMS:
        raise InputError(f"no device {device!r}", expected=" or ".join(FORMS), remedy="Correct --device.")
    form = form or FORMS[device]
    if form not in manifest["forms"]:
        expected, remedy = f"one of {list(manifest['forms'])}", f"Export it: python -m export onnx --forms {form}."
        raise InputError(f"no form {form!r}", expected=expected, remedy=remedy, file=folder / MANIFEST)
    file = folder / manifest["forms"][form]["file"]
    return ServedModel(
        manifest,
        file,
        "onnxruntime",
        "onnxruntime_onnx",
        "model.onnx",
        device,
        form,
        batches=_takes_any_batch(file),
    )


def _engine(folder: Path, manifest: Mapping[str, Any], name: str) -> ServedModel:
    file, remedy = folder / name, "Build it on the device: python -m export tensorrt."
    record = manifest.get("engines", {}).get(name)
    if record is None:
        known = list(manifest.get("engines", {})) or "an engine, and the export has none"
        raise InputError(f"no engine {name!r}", expected=f"one of {known}", remedy=remedy, file=folder / MANIFEST)
    if record["target"] != "tensorrt":
        found, expected = f"an engine of {record['target']}", "one of TensorRT itself: Triton's backend loads no other"
        raise InputError(found, expected=expected, remedy=remedy, file=file)
    graph = manifest["files"].get(manifest["forms"].get(record["form"], {}).get("file"), {}).get("sha256")
    if record["onnx_sha256"] != graph:
        raise InputError("an engine of an earlier export", expected=f"{graph}", remedy=remedy, file=file)
    if record["engine_sha256"] != manifest["files"].get(name, {}).get("sha256"):
        found, expected = "the engine is not the file that was built", f"SHA-256 {record['engine_sha256']}"
        raise InputError(found, expected=expected, remedy=remedy, file=file)
    planned = [record["weights_bytes"], record["activation_bytes"], record["interface_bytes"]]
    memory_mb = None if None in planned else math.ceil(sum(planned) / 1e6)
    return ServedModel(
        manifest,
        file,
        "tensorrt",
        "tensorrt_plan",
        "model.plan",
        "gpu",
        record["form"],
        engine=record,
        memory_mb=memory_mb,
    )


def _takes_any_batch(file: Path) -> bool:
    image = onnx.load(file, load_external_data=False).graph.input[0]
    return bool(image.type.tensor_type.shape.dim[0].dim_param)
