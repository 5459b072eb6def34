"""`python -m export tensorrt`: an engine, built on the device that it will run on, and its entry in the export's manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.manifest import MANIFEST, read_manifest
from export.to_tensorrt import Target, build_engine
from scripts.errors import InputError
from scripts.files import write_atomically

ENGINES = {"tensorrt": "etscnet.engine", "tensorrt-rtx": "etscnet.rtx.engine"}


def export_tensorrt(
    exports: str | Path = "exports",
    *,
    target: Target = "tensorrt",
    form: str = "gpu-fp32",
    memory_mb: int | None = None,
    timing_cache_file: str | Path | None = None,
) -> str:
    """Build a TensorRT engine, `etscnet.engine` (`etscnet.rtx.engine`), beside the graph, and enter it in the manifest.

    Args:
        exports: folder of etscnet.json.
        target: tensorrt, on the machine with the GPU that it is for; or tensorrt-rtx, which needs no GPU to build.
        form: the graph that it is built from: gpu-fp32, or gpu for float16.
        memory_mb: the most that a layer may use for itself, 10^6 bytes of device memory; None: all there is.
        timing_cache_file: measured kernels, read if it exists and brought up to date: a second build takes less time. Of the
            target tensorrt alone.

    Example:
        python -m export tensorrt --exports exports --form gpu-fp32

    Returns:
        The engine's record, as JSON.

    Raises:
        InputError: the files are not the manifest's, no such form, or what `build_engine` refuses. Nothing is written then.
    """
    folder = Path(exports)
    manifest: dict[str, Any] = read_manifest(folder)
    if form not in manifest["forms"]:
        raise InputError(
            f"no form {form!r}",
            expected=f"one of {list(manifest['forms'])}",
            remedy=f"Export it: python -m export onnx --forms {form}.",
            file=folder / MANIFEST,
        )
    file = manifest["forms"][form]["file"]
    if target not in ENGINES:
        raise InputError(f"no target {target!r}", expected=" or ".join(ENGINES), remedy="Correct --target.")
    record = build_engine(
        folder / file, folder / ENGINES[target], target=target, memory_mb=memory_mb, timing_cache=timing_cache_file
    )
    entry = {**record.to_dict(), "form": form}
    manifest.setdefault("engines", {})[record.file] = entry
    manifest["files"][record.file] = {"sha256": record.engine_sha256, "bytes": record.engine_bytes}
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return json.dumps(entry, indent=1)
