"""Images with skull through the exported network, by `predict` and the server; broken exports refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from etscnet_edge.__main__ import main
from etscnet_edge.brain_extraction.extractor import extract, needed_mb, opened
from etscnet_edge.brain_extraction.manifest import NAME, read_brain_manifest
from etscnet_edge.classifier import Classifier
from etscnet_edge.errors import InputError
from etscnet_edge.nifti import Volume, read_volume

from export.brain_extraction import export_brain_extraction
from tests.conftest import ROOT
from tests.edge.asking import form, post
from tests.edge.conftest import running_server
from tests.nnunet_folder import write_bright_is_brain

LIMITS = {"max_voxels": 10**8, "min_squareness": 0.7}


def head(seed: int, shape: tuple[int, int, int], *, shift_mm: float = 0.0) -> tuple[nib.Nifti1Image, np.ndarray]:
    """A bright brain in a dim skull and scalp, 4 x 4 x 6 mm, in LPS, with the brain's mask."""
    rng = np.random.default_rng(seed)
    edges = np.array([4.0, 4.0, 6.0])
    affine = np.diag([-4.0, -4.0, 6.0, 1.0])
    affine[:3, 3] = np.array([1, 1, -1]) * edges * (np.array(shape) - 1) / 2 + [0, 0, shift_mm]
    places = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * edge for n, edge in zip(shape, edges, strict=True)))
    x, y, z = (place.transpose(1, 0, 2) for place in places)
    radius = np.sqrt((x / 62) ** 2 + (y / 75) ** 2 + (z / 58) ** 2)
    brain = radius < 1
    values = np.where(brain, 700 + 60 * np.sin(x / 9) * np.cos(y / 7), 0) + np.where(
        (radius > 1.08) & (radius < 1.25), 260, 0
    )
    values += np.where(radius < 1.25, 15 * rng.standard_normal(shape), 0)
    return nib.Nifti1Image(np.clip(values, 0, 2000).astype(np.uint16), affine), brain


@pytest.fixture(scope="module")
def with_brain(exports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped weights' standard form, and a brain extraction whose brain is what is bright."""
    folder = tmp_path_factory.mktemp("brain")
    model = write_bright_is_brain(folder / "model")
    target = folder / "exports"
    shutil.copytree(exports, target)
    export_brain_extraction(model, target)
    return target


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A pair with skull; the brains' masks lie beside them."""
    folder = tmp_path_factory.mktemp("heads")
    paths = {}
    for number, (name, shape) in enumerate({"flair": (42, 50, 30), "t2w": (44, 52, 28)}.items()):
        image, brain = head(number, shape)
        nib.save(image, folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(brain.astype(np.uint8), image.affine), folder / f"{name}_mask.nii.gz")
        paths[name] = str(folder / f"{name}.nii.gz")
    return paths


def truth(heads: dict[str, str]) -> dict[str, str]:
    return {name: path.replace(".nii.gz", "_mask.nii.gz") for name, path in heads.items()}


def read(path: str) -> Volume:
    return read_volume(path, orientation="RAS", limits=LIMITS)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


def test_a_head_gets_its_brain_and_its_score(with_brain: Path, heads: dict[str, str]) -> None:
    with Classifier(with_brain, form="standard", brain_extraction="network") as classifier:
        found = classifier.predict(heads)
        by_hand = classifier.predict(heads, truth(heads))
    said = json.loads((with_brain / NAME).read_text())
    how = found.brain_extraction
    assert how["method"] == "network" and how["sha256"] == said["files"]["brain_extraction.onnx"]["sha256"]
    assert how["checkpoint_sha256"] == said["source"]["checkpoint"]["sha256"]
    for name, path in truth(heads).items():
        expected = by_hand.brain_extraction["images"][name]["mask_ml"]
        assert expected == pytest.approx(
            np.count_nonzero(nib.Nifti1Image.from_filename(path).get_fdata()) * 0.096, abs=0.1
        )
        assert how["images"][name]["mask_ml"] == pytest.approx(expected, rel=0.03)
    assert how["overlap"]["flair and t2w"] > 0.95
    assert found.milliseconds["brain_extraction"] > 0 and found.milliseconds["read"] >= 0
    assert found.score == pytest.approx(by_hand.score, abs=0.05)  # masks that differ by a voxel at the brim
    assert set(said["warnings"]) <= set(found.warnings) and not set(said["warnings"]) & set(by_hand.warnings)
    assert by_hand.brain_extraction["method"] == "mask"
    json.dumps(found.to_dict())


def test_masks_lie_on_their_images_as_they_are_stored(with_brain: Path, heads: dict[str, str]) -> None:
    manifest = read_brain_manifest(with_brain)
    with opened(manifest, threads=1) as run:
        for name, path in heads.items():
            volume = read(path)
            brain = read(truth(heads)[name]).stored > 0
            assert dice(extract(volume, run, manifest=manifest).mask, brain) > 0.96
            one_sided = Volume(volume.stored * np.float32(-2), -0.5, 0.0, volume.affine, volume.source)
            again = extract(one_sided, run, manifest=manifest)  # the same values, stored otherwise
            np.testing.assert_array_equal(again.mask, extract(volume, run, manifest=manifest).mask)


def test_a_turned_plan_gives_the_same_brain(with_brain: Path, heads: dict[str, str], tmp_path: Path) -> None:
    manifest = read_brain_manifest(with_brain)
    volume = read(heads["flair"])
    with opened(manifest, threads=1) as run:
        upright = extract(volume, run, manifest=manifest).mask
        manifest.said["axes"] = [0, 1, 2]  # this network has no direction: its brain is what is bright
        assert dice(extract(volume, run, manifest=manifest).mask, upright) > 0.99


def test_a_skull_is_refused_where_no_network_is_asked_for(with_brain: Path, heads: dict[str, str]) -> None:
    with Classifier(with_brain, form="standard", brain_extraction="mask") as classifier:
        with pytest.raises(InputError, match=r"no masks; expected one of each of \['flair', 't2w'\]"):
            classifier.predict(heads)
        assert classifier.predict(heads, truth(heads)).brain_extraction["method"] == "mask"
    with pytest.raises(InputError, match="no brain_extraction 'hd-bet'"):
        Classifier(with_brain, brain_extraction="hd-bet")


def test_none_is_said_in_the_result(exports: Path, pair: dict[str, str]) -> None:
    with Classifier(exports, form="standard") as classifier:
        assert classifier.predict(pair).brain_extraction == {"method": "none"}


def test_exports_without_a_brain_extraction_are_refused(exports: Path) -> None:
    with pytest.raises(InputError, match="no brain extraction in the exports"):
        Classifier(exports, brain_extraction="network")


def test_what_is_no_brain_is_refused(with_brain: Path, heads: dict[str, str], tmp_path: Path) -> None:
    def scored(**changed: Callable[[np.ndarray], np.ndarray]) -> None:
        files = dict(heads)
        for name, change in changed.items():
            image = nib.Nifti1Image.from_filename(heads[name])
            files[name] = str(tmp_path / f"{name}.nii.gz")
            nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj)), image.affine), files[name])
        with Classifier(with_brain, form="standard", brain_extraction="network") as classifier:
            classifier.predict(files)

    def halved(values: np.ndarray) -> np.ndarray:
        values = values.copy()
        values[:, :, 12:18] = np.minimum(values[:, :, 12:18], 100)  # a dark slab through the brain
        return values

    def small(values: np.ndarray) -> np.ndarray:
        x, y, z = np.meshgrid(*(np.linspace(-1, 1, edge) for edge in values.shape), indexing="ij")
        bright = x**2 + y**2 + z**2 < 0.12
        return np.where(bright, values, np.minimum(values, 60)).astype(values.dtype)

    with pytest.raises(InputError, match=r"flair: the extracted brain lies in \d+ parts, the largest holds 5\d%"):
        scored(flair=halved)
    with pytest.raises(InputError, match=r"flair: the brain-extracted image fills \d+ ml; expected between 250"):
        scored(flair=small, t2w=small)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda said: {**said, "schema": 1}, "a manifest of schema 1; expected schema 2. Export again"),
        (lambda said: {**said, "schema": 3}, "a manifest of schema 3; expected schema 2. Update etscnet-edge"),
        (lambda said: {key: said[key] for key in said if key != "gate"}, "no gate.min_largest"),
        (lambda said: {**said, "gate": {**said["gate"], "max_border": 35}}, "gate.max_border 35"),
        (lambda said: {**said, "axes": [0, 0, 1]}, r"axes \[0, 0, 1\]"),
        (lambda said: {**said, "spacing": [1.0, 0.0, 1.0]}, "spacing"),
        (lambda said: {**said, "spacing": [1.0, float("nan"), 1.0]}, "spacing"),
        (lambda said: {**said, "tiling": {**said["tiling"], "step": 0}}, "tiling.step 0"),
        (lambda said: {**said, "orientation": "LPS"}, "orientation 'LPS'"),
        (lambda said: {**said, "normalisation": {"scheme": "CTNormalization"}}, "CTNormalization"),
        (lambda said: {**said, "classes": {"0": "background"}}, "classes"),
        (lambda said: {key: said[key] for key in said if key != "source"}, "no source.checkpoint.sha256"),
        (lambda said: {**said, "network": {**said["network"], "file": "../etscnet.onnx"}}, "is no file of it"),
        (lambda said: {**said, "network": {**said["network"], "patch_size": [64, 64, 64]}}, "expected image"),
        (lambda said: [said], "a manifest of schema None"),
    ],
)
def test_a_changed_manifest_is_refused(
    with_brain: Path, tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    said = json.loads((with_brain / NAME).read_text())
    shutil.copy(with_brain / "brain_extraction.onnx", tmp_path)
    (tmp_path / NAME).write_text(json.dumps(change(said)))
    with pytest.raises(InputError, match=words), opened(read_brain_manifest(tmp_path), threads=1):
        pass


def test_a_changed_network_is_refused_before_any_study(with_brain: Path, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    shutil.copytree(with_brain, folder)
    graph = folder / "brain_extraction.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(InputError, match="not the file that was exported"):
        Classifier(folder, brain_extraction="network")
    graph.unlink()
    with pytest.raises(InputError, match="the file is missing"):
        Classifier(folder, brain_extraction="network")
    (folder / NAME).write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        Classifier(folder, brain_extraction="network")


def test_a_budget_that_does_not_do_is_refused(
    with_brain: Path, heads: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = read_brain_manifest(with_brain)
    assert needed_mb(manifest, (180, 220, 180)) < needed_mb(manifest, (360, 440, 360))
    folder = tmp_path / "exports"
    shutil.copytree(with_brain, folder)
    said = json.loads((folder / NAME).read_text())
    said["network"]["memory_mb"] = 5000
    (folder / NAME).write_text(json.dumps(said))
    with pytest.raises(InputError, match="the brain extraction takes 5000 MB"):
        Classifier(folder, brain_extraction="network", memory_mb=4000)
    with Classifier(with_brain, form="standard", brain_extraction="network", memory_mb=4000) as classifier:
        monkeypatch.setattr("etscnet_edge.brain_extraction.studies.resident_mb", lambda: 3990.0)
        with pytest.raises(InputError, match=r"the brain extraction takes 40\d\d MB, with what is resident"):
            classifier.predict(heads)


def test_the_command_says_it_and_needs_neither_torch_nor_scipy(
    with_brain: Path, heads: dict[str, str], tmp_path: Path
) -> None:
    arguments = ["predict", "--exports", str(with_brain), "--brain_extraction", "network", "--form", "standard"]
    arguments += [word for name, path in heads.items() for word in (f"--{name}", path)]
    code = (
        "import sys; sys.modules['scipy'] = None; from etscnet_edge.__main__ import main\n"
        f"main({[*arguments, '--output', str(tmp_path / 'result.json')]!r})\n"
        "theirs = {'torch', 'monai', 'scripts', 'export', 'onnx', 'skimage'} & set(sys.modules)\n"
        "assert not theirs, theirs"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "edge")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=tmp_path, capture_output=True)
    said = json.loads((tmp_path / "result.json").read_text())
    assert said["brain_extraction"]["method"] == "network"
    with Classifier(with_brain, form="standard", brain_extraction="network") as classifier:
        assert said["score"] == pytest.approx(classifier.predict(heads).score, abs=1e-6)


def test_masks_and_the_network_contradict_each_other(
    with_brain: Path, heads: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    masks = [word for name, path in truth(heads).items() for word in (f"--{name}_mask", path)]
    images = [word for name, path in heads.items() for word in (f"--{name}", path)]
    for method in ("network", "none"):
        with pytest.raises(SystemExit):
            main(["predict", "--exports", str(with_brain), "--brain_extraction", method, *images, *masks])
        assert f"masks and --brain_extraction {method}; expected one way" in capsys.readouterr().err


def test_the_server_takes_images_with_skull(with_brain: Path, heads: dict[str, str], tmp_path: Path) -> None:
    with running_server(with_brain, tmp_path, "--brain_extraction", "network", "--form", "standard") as server:
        answer = post(server.url, form(heads))
        assert answer.status_code == 200 and answer.json()["brain_extraction"]["method"] == "network"
        masks = {f"{name}_mask": (Path(path).name, Path(path).read_bytes()) for name, path in truth(heads).items()}
        assert post(server.url, {**form(heads), **masks}).json()["brain_extraction"]["method"] == "mask"
