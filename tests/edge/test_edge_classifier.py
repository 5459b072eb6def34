"""Without torch and monai: the same image and the same score as the bundle, from real MRI and from every geometry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from etscnet_edge.classifier import Classifier
from etscnet_edge.preprocess import GraphPreprocessing

from export.bundle import TrainedBundle, load_bundle
from tests.conftest import BUNDLE, ROOT, brain_image, write_study
from tests.real_mri import real_cases

MODALITIES = ("flair", "t2w")
DTYPES = (np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64)


@pytest.fixture(scope="module")
def bundle() -> TrainedBundle:
    return load_bundle(BUNDLE)


@pytest.fixture(scope="module")
def classifier(exports: Path) -> Iterator[Classifier]:
    with Classifier(exports, threads=2) as opened:
        yield opened


def compare(classifier: Classifier, bundle: TrainedBundle, case: dict[str, Any], *, brain_extraction: str) -> None:
    """Image within 1e-4 at every voxel by either preprocessing, scores within 1e-5: what the package promises."""
    images = {name: case[name] for name in MODALITIES}
    files = {name: case[f"{name}_mask"] for name in MODALITIES} if brain_extraction == "mask" else {}
    study = classifier.read(images, files)
    expected = bundle.prepare(case, classifier.manifest.spatial_size, brain_extraction=brain_extraction)
    by_graph = GraphPreprocessing(classifier.manifest)
    for number, name in enumerate(MODALITIES):
        channel = by_graph(study.volumes[name], study.masks.get(name))
        assert float(np.abs(channel - expected.numpy()[0, number]).max()) < 1e-4
    assert float(np.abs(classifier.prepare(study) - expected.numpy()).max()) < 1e-4
    prediction = classifier.predict(images, files)
    with torch.inference_mode():
        logits = bundle.network(expected.as_subclass(torch.Tensor), return_logits=True)
    assert prediction.score == pytest.approx(float(bundle.network.fuse(logits)), abs=1e-5)
    scores = torch.sigmoid(logits)[0].tolist()
    assert list(prediction.branch_scores.values()) == pytest.approx(scores, abs=1e-5)


def test_real_pairs(shared_dir: Path, classifier: Classifier, bundle: TrainedBundle) -> None:
    for case in real_cases(shared_dir / "mri"):
        compare(classifier, bundle, case, brain_extraction=case["brain_extraction"])


def geometry(path: Path, seed: int) -> None:
    """An image stored in some way: axes permuted and flipped, oblique, any type, slope and intercept, negative values."""
    rng = np.random.default_rng(seed)
    image = brain_image(seed % 5, shape=(44 + seed % 9, 50 + seed % 7, 18 + seed % 5))
    data = np.asarray(image.get_fdata())
    if seed % 3 == 0:
        data = data + np.where(data > 0, 0, rng.integers(-5, 1, data.shape))  # an earlier interpolation's overshoot
    dtype = DTYPES[seed % len(DTYPES)]
    axes = np.stack([rng.permutation(3), rng.choice([-1, 1], 3)], axis=1)
    angle = rng.uniform(-0.3, 0.3)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned = nib.Nifti1Image(data, turn @ image.affine).as_reoriented(axes)
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    nib.save(nib.Nifti1Image(turned.get_fdata(), turned.affine, header), path)  # nibabel finds slope and intercept


@pytest.mark.parametrize("seed", range(52))
def test_geometries(seed: int, tmp_path: Path, classifier: Classifier, bundle: TrainedBundle) -> None:
    case = {"case": "sub"}
    for number, name in enumerate(MODALITIES):
        path = tmp_path / f"{name}.nii{'.gz' * (seed % 2)}"
        geometry(path, 2 * seed + number)
        case[name] = str(path)
    compare(classifier, bundle, case, brain_extraction="none")


def test_numbers_beyond_float32s_integers_are_scaled_first(
    tmp_path: Path, classifier: Classifier, bundle: TrainedBundle
) -> None:
    case = {"case": "sub"}
    for number, name in enumerate(MODALITIES):
        image = brain_image(number)
        stored = np.asarray(image.dataobj).astype(np.int32) * 500_001
        header = nib.Nifti1Header()
        header.set_slope_inter(1e-3, 0.0)
        case[name] = str(tmp_path / f"{name}.nii")
        nib.save(nib.Nifti1Image(stored.astype(np.int32), image.affine, header), case[name])
    compare(classifier, bundle, case, brain_extraction="none")


def test_the_command_gives_one_json_and_loads_neither_torch_nor_monai(exports: Path, tmp_path: Path) -> None:
    paths = write_study(tmp_path, "sub-01", seed=1)
    code = (
        "import sys; from etscnet_edge.__main__ import main; main(sys.argv[1:]); "
        "ours = {'torch', 'monai', 'scripts', 'export', 'onnx'} & set(sys.modules); assert not ours, ours"
    )
    options = ["predict", "--exports", str(exports), "--flair", paths["flair"], "--t2w", paths["t2w"]]
    command = [sys.executable, "-c", code, *options, "--output", str(tmp_path / "new" / "result.json")]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "edge")},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert json.loads((tmp_path / "new" / "result.json").read_text()) == said
    assert said["warnings"][0] == "Research only, not for diagnosis." and any(
        "synthetic" in warning for warning in said["warnings"]
    )
    assert said["decision"] in ("controlled", "uncontrolled") and set(said["branch_scores"]) == set(MODALITIES)
    assert all(said["milliseconds"][stage] > 0 for stage in ("load", "read", "preprocess", "network"))


def test_a_fault_is_one_line_and_status_1(exports: Path, tmp_path: Path) -> None:
    paths = write_study(tmp_path, "sub-01", seed=1)
    options = ["--exports", str(exports), "--flair", paths["flair"], "--t2w", paths["flair"]]
    command = [sys.executable, "-m", "etscnet_edge", "predict", *options, "--output", str(tmp_path / "result.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "edge", timeout=120)
    assert done.returncode == 1 and done.stdout == "" and not (tmp_path / "result.json").exists()
    assert done.stderr.startswith("error: file ") and "are the same image" in done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, etscnet_edge, etscnet_edge.__main__; print({'numpy', 'nibabel', 'onnxruntime'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "edge", check=True)
    assert done.stdout.strip() == "set()"


def test_onnx_runtime_neither_counts_nor_reports(exports: Path, tmp_path: Path) -> None:
    """Its Linux builds keep a device's number in the home folder and a session's in the temporary one, and send telemetry."""
    paths = write_study(tmp_path / "study", "sub-01", seed=1)
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    options = ["predict", "--exports", str(exports), "--flair", paths["flair"], "--t2w", paths["t2w"]]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    environment = {**kept, "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "temporary")}
    command = [sys.executable, "-m", "etscnet_edge", *options]
    subprocess.run(command, cwd=ROOT / "edge", env=environment, check=True, capture_output=True, timeout=120)
    assert not list((tmp_path / "home").rglob("*")) and not list((tmp_path / "temporary").rglob("*"))


@pytest.mark.parametrize(
    ("verb", "options", "words"),
    [
        ("predict", ["--picture", "{folder}"], "the path is no file"),
        ("predict", ["--output", "/dev/full"], "file /dev/full: the path is no file"),
        ("serve", ["--memory_mb", "500"], "6 bodies of 100 MB; expected less than the budget's 500 MB"),
    ],
)
def test_an_option_that_can_not_be_is_one_line(
    exports: Path, tmp_path: Path, verb: str, options: list[str], words: str
) -> None:
    paths = write_study(tmp_path, "sub-01", seed=1)
    files = ["--flair", paths["flair"], "--t2w", paths["t2w"]] if verb == "predict" else []
    given = [option.format(folder=tmp_path) for option in options]
    command = [sys.executable, "-m", "etscnet_edge", verb, "--exports", str(exports), *files, *given]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "edge", timeout=60)
    assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr
