"""Training from JSON: a killed run goes on to the same weights, two ranks equal one, another backbone is an overlay."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine
from torch import Tensor, nn

from scripts.bids import SUFFIXES
from scripts.errors import InputError
from scripts.network import ETSCNet
from scripts.release import add_reference
from scripts.split import PARTS
from scripts.training import LearningRate
from tests.conftest import BUNDLE, ROOT, SMALL
from tests.small_bundle import BACKBONE
from tests.tiny_model import write_tiny_overlay
from tests.torchrun import two_processes

LONG = {**SMALL, "epochs": 6, "fractions": "[0.4,0.2,0.4]"}
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(("power", "expected"), [(0.0, [0.1] * 4), (1.0, [0.1, 0.075, 0.05, 0.025])])
def test_the_learning_rate_follows_the_number_of_the_epoch_alone(power: float, expected: list[float]) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=7.0)
    rates = []
    engine = Engine(lambda engine, batch: rates.append(optimizer.param_groups[0]["lr"]))
    LearningRate(optimizer, initial=0.1, epochs=4, power=power).attach(engine)
    engine.run([None], max_epochs=4)
    assert rates == pytest.approx(expected)


def weights(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(folder / "model.pt", weights_only=True)
    return state


def weights_of_the_last_epoch(folder: Path) -> dict[str, Tensor]:
    """Unlike the best epoch's they are always of an epoch behind the kill."""
    state: dict[str, Tensor] = torch.load(folder / "checkpoint.pt", weights_only=True)["network"]
    return state


@pytest.fixture(scope="module")
def trained(cohort: Path, run_bundle: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of the shipped network."""
    folder = tmp_path_factory.mktemp("trained")
    run_bundle("training", "train.json", dataset_dir=cohort, output_dir=folder, **{**SMALL, "batch_size": 6})
    return folder


@pytest.fixture(scope="module")
def uninterrupted(cohort: Path, run_bundle: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six epochs of a network of two of its blocks, with batch norm, dropout and drop-connect; its overlay is beside them."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    backbone = {"_target_": "monai.networks.nets.efficientnet.EfficientNet", "_mode_": "callable", **BACKBONE}
    (folder / "small.json").write_text(json.dumps({"backbone": backbone}))
    options = {**LONG, "dataset_dir": cohort, "output_dir": folder}
    run_bundle("training", "train.json", str(folder / "small.json"), **options)
    return folder


def test_a_training_leaves_weights_origin_log_and_pictures(trained: Path) -> None:
    network = ETSCNet(["flair", "t2w"])
    network.load_state_dict(weights(trained))
    origin = json.loads((trained / "model.json").read_text())
    assert network.spatial_size.tolist() == origin["spatial_size"] == json.loads(SMALL["spatial_size"])
    assert network.fusion_weights.tolist() == pytest.approx(origin["fusion"]["weights"])
    assert float(network.fusion_weights.sum()) == pytest.approx(1)
    assert float(network.threshold) == pytest.approx(origin["threshold"]["threshold"])
    assert origin["data"]["synthetic"] is True
    assert origin["data"]["cases"] == {"training": 12, "validation": 4, "testing": 4}
    assert origin["reference"]["cases"] == {"training": 12, "validation": 4}
    assert set(origin["reference"]["statistics"]) == {"flair", "t2w"} and len(origin["reference"]["calibration"]) == 16
    features = origin["reference"]["features"]
    assert set(features["layers"]["first"]["branches"]) == {"flair", "t2w"}
    assert set(features["layers"]) | set(features["reasons"]) == {"first", "last"}
    assert origin["temperature"]["cases"] == 4 and (
        origin["temperature"]["temperature"] or origin["temperature"]["reason"]
    )
    rows = (trained / "training.csv").read_text().splitlines()
    assert rows[0] == "epoch,train_loss,auc_flair,loss_flair,auc_t2w,loss_t2w,seconds"
    assert len(rows) == 3
    assert (trained / "training.png").stat().st_size > 10_000
    assert list((trained / "tensorboard").glob("events.*"))


def test_the_verb_finds_what_the_training_found(trained: Path, cohort: Path, tmp_path: Path) -> None:
    for name in ("model.pt", "model.json", "datalist.json"):
        shutil.copy(trained / name, tmp_path / name)
    said = json.loads((tmp_path / "model.json").read_text())
    bare = {key: value for key, value in said.items() if key not in ("reference", "temperature")}
    (tmp_path / "model.json").write_text(json.dumps(bare))
    options = {"dataset_dir": str(cohort), "bundle_root": str(BUNDLE)}
    add_reference(str(tmp_path / "model.pt"), datalist=str(tmp_path / "datalist.json"), **options)
    made = json.loads((tmp_path / "model.json").read_text())
    assert made["reference"]["statistics"] == said["reference"]["statistics"]
    assert made["temperature"]["reason"] == said["temperature"]["reason"]
    assert {**made, "reference": None, "temperature": None} == {**said, "reference": None, "temperature": None}
    assert (tmp_path / "model.pt").read_bytes() == (trained / "model.pt").read_bytes()
    (tmp_path / "model.json").write_text(json.dumps({**bare, "fusion": {**said["fusion"], "brier": 0.1}}))
    with pytest.raises(InputError, match="a validation Brier score of"):
        add_reference(str(tmp_path / "model.pt"), datalist=str(tmp_path / "datalist.json"), **options)
    other = json.loads((tmp_path / "datalist.json").read_text())
    other["training"].append(other["testing"].pop())
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="a split of"):
        add_reference(str(tmp_path / "model.pt"), datalist=str(tmp_path / "other.json"), **options)
    (tmp_path / "model.json").unlink()
    with pytest.raises(InputError, match="no origin"):
        add_reference(str(tmp_path / "model.pt"), datalist=str(tmp_path / "datalist.json"), **options)


def test_a_run_killed_at_any_moment_goes_on_to_the_same_weights(
    uninterrupted: Path, cohort: Path, run_bundle: Run, tmp_path: Path
) -> None:
    configs = [str(BUNDLE / "configs" / "train.json"), str(uninterrupted / "small.json")]
    options = {"dataset_dir": cohort, "output_dir": tmp_path, "brain_extraction": "none", **LONG}
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(configs)]
    for name, value in {"bundle_root": BUNDLE, **options}.items():
        command += [f"--{name}", str(value)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (tmp_path / "training.csv").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)  # into the second epoch
    assert process.poll() is None, "the run ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "model.pt").exists()
    run_bundle("training", *configs, **options)
    for read in (weights, weights_of_the_last_epoch):
        ours, theirs = read(tmp_path), read(uninterrupted)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours), "bit by bit"


def test_a_run_with_other_settings_does_not_go_on_from_the_checkpoint(
    uninterrupted: Path, cohort: Path, run_bundle: Run
) -> None:
    options = {**LONG, "epochs": 7, "learning_rate": 0.01, "dataset_dir": cohort, "output_dir": uninterrupted}
    failed = run_bundle("training", "train.json", str(uninterrupted / "small.json"), check=False, **options)
    assert failed.returncode != 0
    assert "begun with other settings: learning_rate 0.001; expected learning_rate 0.01" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_two_ranks_train_to_what_one_rank_trains_to(cohort: Path, run_bundle: Run, tmp_path: Path) -> None:
    # Instance norm: batch norm over all ranks exists on GPUs alone. SGD: Adam's first steps have the learning rate's size
    # whatever the gradient, so that the rounding of a gradient near zero would show. The tolerance is for the order of sums.
    overlay = write_tiny_overlay(tmp_path)
    options: dict[str, Any] = {**SMALL, "dataset_dir": cohort, "learning_rate": 0.01}
    options["optimizer#_target_"] = "torch.optim.SGD"
    run_bundle("training", "train.json", str(overlay), output_dir=tmp_path / "one", **options)
    configs = ("train.json", "multi_gpu_train.json", str(overlay))
    cpu = {"backend": "gloo", "device": "$torch.device('cpu')"}
    status, said = two_processes("training", *configs, output_dir=tmp_path / "two", **{**options, **cpu})
    assert status == 0, said[-3000:]
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    assert len(one) == len(two) == 2
    for ours, theirs in zip(one, two, strict=True):
        for name in ("train_loss", "loss_flair", "loss_t2w"):
            assert ours[name] == pytest.approx(theirs[name], abs=1e-4), name


def history(folder: Path) -> list[dict[str, Any]]:
    lines = [line.split(",") for line in (folder / "training.csv").read_text().splitlines()]
    return [dict(zip(lines[0], map(float, row), strict=True)) for row in lines[1:]]


def test_one_modality_trains_alone(cohort: Path, run_bundle: Run, tmp_path: Path) -> None:
    run_bundle(
        "training",
        "train.json",
        dataset_dir=cohort,
        output_dir=tmp_path,
        modalities="['t2w']",
        **{**SMALL, "epochs": 1},
    )
    assert {name.split(".")[1] for name in weights(tmp_path) if name.startswith("branches.")} == {"t2w"}
    assert json.loads((tmp_path / "model.json").read_text())["fusion"]["weights"] == [1.0]


@pytest.fixture(scope="module")
def few(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A datalist of twelve of the cohort's children, four a part, enough for an epoch of a slow network."""
    split = json.loads((trained / "datalist.json").read_text())
    parts = {name: sorted(split[name], key=lambda case: case["label"]) for name in PARTS}
    kept = {**split, **{name: [*part[:2], *part[-2:]] for name, part in parts.items()}}  # two of each outcome
    file = tmp_path_factory.mktemp("few") / "datalist.json"
    file.write_text(json.dumps(kept))
    return file


# Narrower than shipped, which takes gigabytes and is tested without a training (test_network.py, test_gradcam.py).
NARROW: dict[str, dict[str, Any]] = {
    "resnet18.json": {"widen_factor": 0.25},
    "densenet121.json": {"init_features": 16, "growth_rate": 8, "block_config": [2, 2, 2, 2]},
    "swin.json": {"feature_size": 12, "window_size": 4},
}


@pytest.mark.parametrize("overlay", NARROW)
def test_another_backbone_is_an_overlay(overlay: str, few: Path, cohort: Path, run_bundle: Run, tmp_path: Path) -> None:
    (tmp_path / "narrow.json").write_text(json.dumps({"+backbone": NARROW[overlay]}))
    overlays = (overlay, str(tmp_path / "narrow.json"))
    options = {**SMALL, "epochs": 1, "datalist": few, "dataset_dir": cohort}
    run_bundle("training", "train.json", *overlays, output_dir=tmp_path, **options)
    pair = {name: cohort / "sub-01" / "anat" / f"sub-01_{SUFFIXES[name]}.nii.gz" for name in ("flair", "t2w")}
    scoring = {**pair, "checkpoint": tmp_path / "model.pt", "output_dir": tmp_path / "scores"}
    run_bundle("inference", "inference.json", *overlays, pictures=False, **scoring)
    assert len((tmp_path / "scores" / "predictions.csv").read_text().splitlines()) == 2
    refused = run_bundle("inference", "inference.json", check=False, **scoring)
    assert refused.returncode != 0
    assert "the weights are of another network" in refused.stderr
