"""The manifest is all that is known of the model, and no byte of its files is loaded that is not the exported one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from etscnet_edge import manifest as edge_manifest
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import NAME, read_manifest

from scripts.checks import BRAIN_ML
from scripts.nifti import MAX_VOXELS

FILES = (NAME, "etscnet.onnx", "preprocess.onnx")
Said = dict[str, Any]


@pytest.fixture
def copy(exports: Path, tmp_path: Path) -> Path:
    for name in FILES:
        shutil.copy(exports / name, tmp_path / name)
    return tmp_path


def test_what_it_says(copy: Path) -> None:
    manifest = read_manifest(copy)
    assert manifest.modalities == ["flair", "t2w"] and len(manifest.spatial_size) == 3
    assert manifest.choose("standard") == "standard" and manifest.file("etscnet.onnx") == copy / "etscnet.onnx"
    assert manifest.limits["brain_ml"] == list(BRAIN_ML) and manifest.limits["max_voxels"] == MAX_VOXELS


@pytest.mark.parametrize(
    ("flags", "name"),
    [({"avx2", "avx512f"}, "nchwc16"), ({"avx2"}, "nchwc8"), (set(), "standard"), ({"asimd"}, "standard")],
)
def test_the_form_for_this_processor(copy: Path, monkeypatch: pytest.MonkeyPatch, flags: set[str], name: str) -> None:
    said = json.loads((copy / NAME).read_text())
    entry = dict(said["forms"]["standard"])
    said["forms"] = {
        "standard": entry,
        "nchwc16": {**entry, "cpu_flag": "avx512f"},
        "nchwc8": {**entry, "cpu_flag": "avx2", "without_flag": "avx512f"},
        "nchwc16-lean": {**entry, "cpu_flag": "avx512f"},
    }
    (copy / NAME).write_text(json.dumps(said))
    monkeypatch.setattr(edge_manifest, "cpu_flags", lambda: flags)
    assert read_manifest(copy).choose() == name
    if name == "standard":
        with pytest.raises(InputError, match="Take --form standard"):
            read_manifest(copy).choose("nchwc16")


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("spoil", ["changed", "missing"])
def test_a_file_that_is_not_the_exported_one_is_not_loaded(copy: Path, name: str, spoil: str) -> None:
    if spoil == "changed":
        content = bytearray((copy / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copy / name).write_bytes(content)
    else:
        (copy / name).unlink()
    with pytest.raises(
        InputError, match="not the file that was exported" if spoil == "changed" else "is missing"
    ) as said:
        Classifier(copy, form="standard", preprocessing="graph")
    assert str(copy / name) in str(said.value) and "Export again" in str(said.value)


def replace(**values: object) -> Callable[[Said], object]:
    return lambda said: said.update(values)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (replace(schema=2), "a manifest of schema 2.*Export again"),
        (replace(schema=99), "a manifest of schema 99.*Update etscnet-edge"),
        (
            lambda said: said["preprocessing"]["limits"].pop("max_skull_share"),
            "no preprocessing.limits.max_skull_share",
        ),
        (replace(for_timing_only=True), "for timing alone"),
        (lambda said: said["preprocessing"].pop("limits"), "a manifest with no preprocessing.limits.voxel_mm"),
        (replace(threshold=float("nan")), "threshold = nan"),
        (replace(threshold=7), "threshold = 7"),
        (replace(labels={"1": "controlled"}), "a manifest with labels"),
        (replace(modalities=["flair"]), "1 modalities and an image of"),
        (replace(warnings=None), "no warnings"),
        (lambda said: said["preprocessing"].update(orientation="XYZ"), "orientation = XYZ"),
        (lambda said: said["preprocessing"]["limits"].update(brain_ml=[2200, 250]), "brain_ml"),
        (lambda said: said["forms"]["standard"].pop("memory_mb"), "no forms.standard.memory_mb"),
        (lambda said: said["files"]["golden.npz"].update(sha256=""), "files.golden.npz.sha256"),
        (lambda said: said["forms"]["standard"].update(file="../etscnet.onnx"), "is no file of this export"),
        (lambda said: said["forms"].pop("standard"), "no form 'standard'"),
    ],
)
def test_a_manifest_that_can_not_be_followed_is_refused(
    copy: Path, spoil: Callable[[Said], object], words: str
) -> None:
    said = json.loads((copy / NAME).read_text())
    spoil(said)
    (copy / NAME).write_text(json.dumps(said))
    with pytest.raises(InputError, match=words):
        Classifier(copy, form="standard")


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no manifest"), ("{", "not JSON"), ("[]", "a manifest of schema None")]
)
def test_no_manifest(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / NAME).write_text(content)
    with pytest.raises(InputError, match=words):
        read_manifest(tmp_path)
