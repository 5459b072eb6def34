"""The bundle as MONAI's own commands and classes see it: unmodified, from another working directory, with the shipped weights."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject

from scripts.checkpoint import load_model, provenance, save
from scripts.network import ETSCNet
from tests.conftest import BUNDLE, SMALL
from tests.processes import run_module

CONFIGS = BUNDLE / "configs"
SCHEMA_MD5 = "06954cad2cc5d3784e72077ac76f0fc8"
SMALL_INPUT = (1, 2, 64, 64, 32)  # exporting at full size takes minutes and shows nothing more


def monai_bundle(*arguments: str, cwd: Path, forked: bool = True) -> subprocess.CompletedProcess[str]:
    """`python -m monai.bundle ...` from another folder; where not forked, in a new interpreter without PYTHONPATH."""
    if forked:
        done = run_module("monai.bundle", arguments, cwd=cwd)
    else:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, "-m", "monai.bundle", *arguments]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600, env=environment)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(done.args)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}")
    return done


def files(*names: str) -> list[str]:
    return [str(CONFIGS / name) for name in names]


COMMON = [
    "--config_file",
    *files("inference.json"),
    "--meta_file",
    *files("metadata.json"),
    "--bundle_root",
    str(BUNDLE),
]


def test_the_metadata_meet_the_official_schema(shared_dir: Path, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    shutil.copy(shared_dir / "schema" / "meta_schema_20240725.json", schema)
    schema.chmod(0o644)
    assert hashlib.md5(schema.read_bytes()).hexdigest() == SCHEMA_MD5
    done = monai_bundle(
        "verify_metadata",
        "--meta_file",
        *files("metadata.json"),
        "--filepath",
        str(schema),
        "--hash_val",
        SCHEMA_MD5,
        cwd=tmp_path,
    )
    assert "verified with no error" in done.stdout + done.stderr


def test_the_network_keeps_the_format_that_the_metadata_declare(tmp_path: Path) -> None:
    # In a new interpreter: the bundle finds its code by itself.
    done = monai_bundle("verify_net_in_out", "network_def", *COMMON, cwd=tmp_path, forked=False)
    assert "verified with no error" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def shipped() -> ETSCNet:
    """The shipped weights."""
    network = ETSCNet(["flair", "t2w"])
    size = provenance(BUNDLE / "models" / "model.pt")["spatial_size"]
    return load_model(network, BUNDLE / "models" / "model.pt", spatial_size=size, device="cpu")


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """Smooth, in [0, 1], with a background: closer to a study than noise is."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 2, 8, 8, 4, generator=generator)
    fine: torch.Tensor = torch.nn.functional.interpolate(coarse, SMALL_INPUT[2:], mode="trilinear")
    return torch.where(fine > 0.35, fine, 0.0)


def exported_by(verb: str, target: Path) -> str:
    """The shipped weights at a small size by one of MONAI's own commands."""
    given = {"filepath": target, "ckpt_file": BUNDLE / "models" / "model.pt", "input_shape": list(SMALL_INPUT)}
    options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
    monai_bundle(verb, "network_def", *options, *COMMON, cwd=target.parent)
    return str(target)


def test_ckpt_export_gives_the_same_score(shipped: ETSCNet, image: torch.Tensor, tmp_path: Path) -> None:
    target = exported_by("ckpt_export", tmp_path / "model.ts")
    exported = torch.jit.load(target)
    with torch.no_grad():
        torch.testing.assert_close(exported(image), shipped(image), rtol=0, atol=1e-6)  # the same kernels


def test_onnx_export_gives_the_same_score(shipped: ETSCNet, image: torch.Tensor, tmp_path: Path) -> None:
    target = exported_by("onnx_export", tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    (pred,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(pred, shipped(image).numpy(), rtol=0, atol=1e-4)  # stock export: 8e-5 at full size


WORKFLOWS = {"training": ["train.json"], "evaluating": ["train.json", "evaluate.json"], "inference": ["inference.json"]}


@pytest.mark.parametrize("run_id", WORKFLOWS)
def test_the_properties_are_those_that_monai_defines(run_id: str, cohort: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {} if run_id == "inference" else {"fractions": [0.6, 0.2, 0.2]}
    workflow = create_workflow(
        config_file=files(*WORKFLOWS[run_id]),
        workflow_type="inference" if run_id == "inference" else "training",
        bundle_root=str(BUNDLE),
        dataset_dir=str(cohort),
        output_dir=str(tmp_path),
        **options,
    )
    assert workflow.check_properties() == []


def shipped_size() -> list[int]:
    size: list[int] = provenance(BUNDLE / "models" / "model.pt")["spatial_size"]
    return size


def test_the_inference_prepares_images_of_the_size_that_the_weights_know(tmp_path: Path) -> None:
    network = ETSCNet(["flair", "t2w"])
    network.spatial_size.copy_(torch.tensor([96, 64, 32]))
    save(network.state_dict(), tmp_path / "model.pt")
    for weights, size in ((tmp_path / "model.pt", [96, 64, 32]), (BUNDLE / "models" / "model.pt", shipped_size())):
        parser = ConfigParser(ConfigParser.load_config_file(CONFIGS / "inference.json"))
        parser.update({"bundle_root": str(BUNDLE), "checkpoint": str(weights)})
        assert parser.get_parsed_content("spatial_size") == size


def test_monai_algo_trains_an_epoch_and_evaluates_it(cohort: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {name: json.loads(value) for name, value in SMALL.items()}
    settings.update(dataset_dir=str(cohort), output_dir=str(tmp_path), fractions=[0.2, 0.2, 0.6])
    local = tmp_path / "site"
    shutil.copytree(BUNDLE, local / "bundle")
    shutil.copytree(BUNDLE.parent / "scripts", local / "scripts")
    for config in ("train.json", "evaluate.json"):  # a site's own settings
        path = local / "bundle" / "configs" / config
        path.write_text(json.dumps({**json.loads(path.read_text()), **(settings if config == "train.json" else {})}))
    algo = MonaiAlgo(bundle_root=str(local / "bundle"), local_epochs=1)
    algo.initialize(extra={ExtraItems.CLIENT_NAME: "site"})  # type: ignore[no-untyped-call]
    assert algo.trainer is not None
    before = {name: value.clone() for name, value in algo.trainer.network.state_dict().items()}
    algo.train(data=ExchangeObject(weights=before), extra={})
    updates = algo.get_weights().weights  # type: ignore[no-untyped-call]
    moved = sum(float(np.abs(np.asarray(value, dtype=np.float64)).sum()) for value in updates.values())
    assert moved > 0
    assert algo.trainer.state.epoch == 1
    algo.finalize()


def test_the_shipped_weights_are_small_float32_when_loaded_and_say_that_they_know_no_patient(shipped: ETSCNet) -> None:
    file = BUNDLE / "models" / "model.pt"
    assert file.stat().st_size < 25 * 2**20
    assert {value.dtype for value in shipped.state_dict().values() if value.is_floating_point()} == {torch.float32}
    said = provenance(file)
    assert said["data"]["synthetic"] is True
    assert all(said["best_epochs"].values())
