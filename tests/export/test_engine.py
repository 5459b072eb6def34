"""An engine is built from a form of an export and entered in its manifest; what can't be built leaves the manifest as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from export.engine import export_tensorrt
from export.manifest import read_manifest
from scripts.errors import InputError


def test_the_engine_of_the_shipped_network_stands_in_the_manifest_with_its_planned_memory(
    exports: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed here")
    copy = shutil.copytree(exports, tmp_path / "exports")
    entry = json.loads(export_tensorrt(copy, target="tensorrt-rtx"))
    manifest = read_manifest(copy)
    assert manifest["engines"] == {"etscnet.rtx.engine": entry}
    assert entry["form"] == "gpu-fp32" and entry["precisions"] == ["float32"]
    assert entry["onnx_sha256"] == manifest["files"]["etscnet.gpu-fp32.onnx"]["sha256"]
    # Two branches of 4.69 M weights of four bytes, with some room for what the planner adds.
    assert 35e6 < entry["weights_bytes"] < 60e6 and entry["activation_bytes"] is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [({"form": "none"}, "no form 'none'"), ({"target": "tensor"}, "no target 'tensor'"), ({}, "etscnet|GPU|tensorrt")],
)
def test_what_can_not_be_built_leaves_the_export_as_it_was(
    small_exports: Path, tmp_path: Path, options: dict[str, str], said: str
) -> None:
    copy = shutil.copytree(small_exports, tmp_path / "exports")
    if not options and shutil.which("nvidia-smi"):
        pytest.skip("this machine may well build an engine")
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    with pytest.raises(InputError, match=said):
        export_tensorrt(copy, **options)  # type: ignore[arg-type]
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
