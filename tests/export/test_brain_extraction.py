"""An nnU-Net model folder as ONNX: what is read of it, what the graph says, what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from export import brain_extraction
from export.brain_extraction import GRAPH, MANIFEST, export_brain_extraction
from export.brain_parity import BrainParity, prove_brain
from export.nnunet import CHECKPOINT, read_model_folder, unet_plan
from export.unet import UNet
from export.unet_graph import unet_graph
from scripts.errors import InputError
from tests.conftest import ROOT, write_study
from tests.nnunet_folder import head_of, plans, write_folder
from tests.processes import run_module

PATCH = (16, 24, 16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("model"), plans(patch=PATCH))


@pytest.fixture(scope="module")
def exported(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("exported")
    export_brain_extraction(folder, target)
    return target


def configuration(said: dict[str, Any]) -> dict[str, Any]:
    return dict(said["configurations"]["3d_fullres"])


def test_the_manifest_says_what_the_plan_says(folder: Path, exported: Path) -> None:
    said = json.loads((exported / MANIFEST).read_text())
    assert {path.name for path in exported.iterdir()} == {GRAPH, MANIFEST}
    graph = (exported / GRAPH).read_bytes()
    assert said["files"] == {GRAPH: {"sha256": hashlib.sha256(graph).hexdigest(), "bytes": len(graph)}}
    checkpoint = (folder / CHECKPOINT).read_bytes()
    assert said["source"]["checkpoint"]["sha256"] == hashlib.sha256(checkpoint).hexdigest()
    assert said["source"]["checkpoint"]["loaded"] == "weights and plain values alone"
    assert said["network"]["patch_size"] == list(PATCH) and said["spacing"] == [4.0] * 3
    assert said["network"]["memory_mb"] > 1 and said["axes"] == [2, 1, 0]
    assert said["resampling"] == {
        "data": {"order": 3, "order_z": 0, "separate": None},
        "logits": {"order": 1, "order_z": 0, "separate": None},
        "anisotropy": 3,
    }
    assert said["mirror_axes"] == [] and said["largest_part"] is True
    assert said["parity"]["decided_otherwise"] <= 1e-4 and said["intended_use"].startswith("Research only")


def test_the_same_weights_give_the_same_bytes(folder: Path, exported: Path, tmp_path: Path) -> None:
    export_brain_extraction(folder, tmp_path / "again", hd_bet_mirroring=True, largest_part=False)
    assert (tmp_path / "again" / GRAPH).read_bytes() == (exported / GRAPH).read_bytes()
    said = json.loads((tmp_path / "again" / MANIFEST).read_text())
    assert said["mirror_axes"] == [0, 1, 2] and said["largest_part"] is False
    assert not any("largest" in warning for warning in said["warnings"])


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
@pytest.mark.parametrize("dropout", [False, True])
def test_the_graph_says_what_torch_says(residual: bool, dropout: bool) -> None:
    said = configuration(plans(features=(3, 4, 6), residual=residual))
    arguments = said["architecture"]["arch_kwargs"]
    arguments["kernel_sizes"], arguments["strides"] = [[1, 3, 3], [3, 3, 3], [3, 3, 3]], [[1] * 3, [1, 2, 2], [2] * 3]
    arguments["dropout_op"] = "torch.nn.modules.dropout.Dropout3d" if dropout else None
    torch.manual_seed(1)
    network = UNet(unet_plan(said, classes=2, file=Path("plans.json"))).eval()
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    model = unet_graph(network, (8, 16, 12))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).standard_normal((1, 1, 8, 16, 12)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)).numpy()
    found = session.run(["logits"], {"image": image})[0]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.ptp(expected) * 10)  # float32 sums in another order


def test_the_networks_are_nnunets() -> None:
    original = pytest.importorskip(
        "dynamic_network_architectures.architectures.unet", reason="nnU-Net comes with hd-bet's environment alone"
    )
    for residual, name in ((False, "PlainConvUNet"), (True, "ResidualEncoderUNet")):
        said = configuration(plans(features=(3, 4, 6), residual=residual))
        given = {**said["architecture"]["arch_kwargs"], "conv_op": torch.nn.Conv3d, "norm_op": torch.nn.InstanceNorm3d}
        theirs = getattr(original, name)(1, num_classes=2, **{**given, "nonlin": torch.nn.LeakyReLU}).eval()
        ours = UNet(unet_plan(said, classes=2, file=Path("plans.json"))).eval()
        ours.load_state_dict(theirs.state_dict(), strict=True)
        image = torch.randn(1, 1, 8, 16, 12)
        with torch.inference_mode():
            assert torch.equal(ours(image), theirs(image))


def test_plans_of_before_nnunet_2_4_are_understood(tmp_path: Path) -> None:
    new = plans(features=(2, 4), patch=PATCH)
    old = json.loads(json.dumps(new))
    entry = old["configurations"]["3d_fullres"]
    del entry["architecture"]
    entry |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 2,
        "unet_max_num_features": 320,
        "n_conv_per_stage_encoder": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3]],
    }
    assert unet_plan(entry, classes=2, file=tmp_path) == unet_plan(configuration(new), classes=2, file=tmp_path)
    old["configurations"]["base"] = old["configurations"]["3d_fullres"]
    old["configurations"]["3d_fullres"] = {"inherits_from": "base", "spacing": [2.0, 2.0, 2.0]}
    write_folder(tmp_path / "old", new)
    (tmp_path / "old" / "plans.json").write_text(json.dumps(old))
    model = read_model_folder(tmp_path / "old")
    assert model.configuration["spacing"] == [2.0] * 3 and model.configuration["patch_size"] == list(PATCH)


def changed_plans(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    folder = write_folder(tmp_path / "model", plans(patch=PATCH))
    said = json.loads((folder / "plans.json").read_text())
    change(said["configurations"]["3d_fullres"])
    (folder / "plans.json").write_text(json.dumps(said))
    return folder


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("normalization_schemes", ["CTNormalization"], "normalisation: "),
        ("patch_size", [64, 64], "axes of the patch: 2"),
        ("previous_stage", "3d_lowres", "previous stage: 3d_lowres"),
        ("preprocessor_name", "MyPreprocessor", "preprocessor: MyPreprocessor"),
        ("resampling_fn_data", "resample_torch_fornnunet", "resampling_fn_data : resample_torch"),
        ("resampling_fn_data_kwargs", {"order": 2}, "resampling_fn_data order: 2"),
        ("resampling_fn_probabilities_kwargs", {"order": 1, "order_z": 1}, "resampling_fn_probabilities order_z: 1"),
    ],
)
def test_what_the_edge_does_not_do_is_refused(tmp_path: Path, key: str, value: Any, words: str) -> None:
    folder = changed_plans(tmp_path, lambda said: said.update({key: value}))
    with pytest.raises(InputError, match=words):
        read_model_folder(folder)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("norm_op", "torch.nn.modules.batchnorm.BatchNorm3d", "a network with norm_op BatchNorm3d"),
        ("conv_op", "torch.nn.modules.conv.Conv2d", "a network with conv_op Conv2d"),
        ("nonlin", "torch.nn.ReLU", "a network with nonlin ReLU"),
        ("features_per_stage", [2, 6], "weights of another network"),
        ("n_conv_per_stage", [2, 1], "weights of another network"),
    ],
)
def test_another_network_is_refused(tmp_path: Path, key: str, value: Any, words: str) -> None:
    folder = changed_plans(tmp_path, lambda said: said["architecture"]["arch_kwargs"].update({key: value}))
    with pytest.raises(InputError, match=words):
        read_model_folder(folder)


def test_more_than_two_classes_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, plans(patch=PATCH))
    labels = {"background": 0, "brain": 1, "lesion": 2}
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "MRI"}, "labels": labels}))
    with pytest.raises(InputError, match="labels: "):
        read_model_folder(folder)


class Runs:
    """Its unpickling would run something."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("it ran",)


def test_a_checkpoint_that_runs_something_is_not_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_folder(tmp_path, plans(patch=PATCH), extra={"logging": Runs()})
    digest = hashlib.sha256((folder / CHECKPOINT).read_bytes()).hexdigest()
    with pytest.raises(InputError, match=rf"more than weights and plain values \(.*print\).*give --trust {digest}"):
        read_model_folder(folder)
    with pytest.raises(InputError, match=r"expected 0+, as --trust says"):
        read_model_folder(folder, trust=64 * "0")
    assert "it ran" not in capsys.readouterr().out
    model = read_model_folder(folder, trust=digest)
    assert model.source["checkpoint"]["loaded"] == f"pickle, trusted by SHA-256 {digest}"
    assert "it ran" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"no zip file", b"PK\3\4" + 100 * b"\0"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = write_folder(tmp_path, plans(patch=PATCH))
    (folder / CHECKPOINT).write_bytes(content)
    with pytest.raises(InputError, match=r"no checkpoint of torch|it is no file of torch.save"):
        read_model_folder(folder)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    said = plans(patch=PATCH)
    network = UNet(unet_plan(configuration(said), classes=2, file=tmp_path))
    with torch.no_grad():
        head_of(network).bias[0] = float("nan")
    with pytest.raises(InputError, match="weights that are not finite"):
        read_model_folder(write_folder(tmp_path, said, network))


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", CHECKPOINT])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_folder(tmp_path, plans(patch=PATCH))
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file"):
        read_model_folder(folder)


def test_an_export_that_decides_otherwise_leaves_what_was_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "exports"
    target.mkdir()
    (target / GRAPH).write_bytes(b"before")

    def another(network: UNet, patch: tuple[int, int, int], *, notes: str) -> onnx.ModelProto:
        with torch.no_grad():
            changed = UNet(unet_plan(configuration(plans(patch=PATCH)), classes=2, file=folder))
            changed.load_state_dict(network.state_dict())
            head_of(changed).bias[1] += 0.1
        return unet_graph(changed, patch, notes=notes)

    monkeypatch.setattr(brain_extraction, "unet_graph", another)
    with pytest.raises(InputError, match="an export that decides otherwise than torch"):
        export_brain_extraction(folder, target)
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]
    assert (target / GRAPH).read_bytes() == b"before" and not (target / MANIFEST).exists()


def test_logits_are_held_against_their_own_range() -> None:
    assert BrainParity(["noise"], 0.0, 0.001, 10.0)
    assert not BrainParity(["noise"], 0.0, 0.1, 10.0) and not BrainParity(["noise"], 1e-3, 0.0, 10.0)


def test_patches_of_images_are_compared_too(folder: Path, exported: Path, tmp_path: Path) -> None:
    image = write_study(tmp_path, "sub-01", seed=1)["flair"]
    parity = prove_brain(read_model_folder(folder), exported / GRAPH, images=[image])
    assert parity and parity.patches == ["noise", "head-like", Path(image).name]
    with pytest.raises(InputError, match=r"absent.nii.gz: no such file"):
        prove_brain(read_model_folder(folder), exported / GRAPH, images=[str(tmp_path / "absent.nii.gz")])


def test_the_command(folder: Path, tmp_path: Path) -> None:
    options = ["--hd_bet_weights", str(folder), "--output_dir", str(tmp_path / "exports")]
    done = run_module("export", ["brain-extraction", *options], cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert f"{GRAPH} and {MANIFEST} written" in done.stdout and (tmp_path / "exports" / MANIFEST).is_file()
    done = run_module("export", ["brain-extraction", "--hd_bet_weights", str(tmp_path)], cwd=ROOT)
    assert done.returncode != 0 and "expected an nnU-Net v2 model folder" in done.stderr
