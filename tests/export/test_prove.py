"""What the proof of an export asks for. The runtime is torch here, with a fault where a test puts one: what a real one says is
tested in `test_parity_on_studies.py`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export import parity as module
from export.bundle import TrainedBundle, load_bundle
from export.golden import write_golden
from export.parity import ALIVE, prove
from scripts.errors import InputError
from scripts.network import ETSCNet
from tests.conftest import BUNDLE, write_study

SIZE = (32, 32, 32)
EDGE_VALUES = ["golden", "zeros", "ones", "one voxel", "stripes", "first plane", "last corner"]
FORMS = {
    "standard": {"file": "etscnet.onnx", "precision": "float32", "meant_for": "any"},
    "gpu": {"file": "etscnet.gpu.onnx", "precision": "float16", "meant_for": "a GPU"},
    "nchwc8": {"file": "etscnet.nchwc8.onnx", "precision": "float32", "meant_for": "ONNX Runtime on x86 with AVX2"},
}


class Corner(nn.Module):
    """A branch whose logit is that of the image's mean and of its first voxels."""

    def forward(self, image: Tensor) -> Tensor:
        return 3 * image.mean(dim=(2, 3, 4)) + image[:, :, :4, :4, :4].mean(dim=(2, 3, 4)) - 1


@pytest.fixture(scope="module")
def loaded() -> TrainedBundle:
    return load_bundle(BUNDLE)


@pytest.fixture
def bundle(loaded: TrainedBundle) -> TrainedBundle:
    """The shipped bundle with a network that takes no time."""
    network = ETSCNet(["flair", "t2w"], backbone=Corner).eval()
    network.fusion_weights.copy_(torch.tensor([0.75, 0.25]))
    return replace(loaded, network=network, spatial_size=SIZE)


@pytest.fixture(scope="module")
def golden(loaded: TrainedBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with golden.npz, of which the proof takes the images alone."""
    folder = tmp_path_factory.mktemp("golden")
    write_golden(loaded, folder, spatial_size=loaded.spatial_size)
    return folder


class Fault:
    """What the runtime adds to torch's scores (1, 1 + M), of one file and one study; and what it was asked."""

    def __init__(self, bundle: TrainedBundle) -> None:
        self.bundle, self.file, self.study, self.error = bundle, "", -1, np.zeros(3)
        self.images: dict[str, list[torch.Tensor]] = {}

    def run(self, file: str, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked = self.images.setdefault(file, [])
        asked.append(torch.from_numpy(image.copy()))
        with torch.inference_mode():
            logits = self.bundle.network(asked[-1], return_logits=True)
            scores = torch.cat([self.bundle.network.fuse(logits), torch.sigmoid(logits)], dim=1).double().numpy()
        if file == self.file and len(asked) - 1 == self.study:
            scores = scores + self.error
        return scores[:, :1], scores[:, 1:]


@pytest.fixture
def fault(bundle: TrainedBundle, monkeypatch: pytest.MonkeyPatch) -> Fault:
    made = Fault(bundle)

    class TorchSession:
        def __init__(self, file: Path, *, threads: int) -> None:
            self.name = file.name

        def run(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return made.run(self.name, image)

    said = {"origin": {"sha256": bundle.origin["sha256"]}, "spatial_size": list(SIZE), "forms": FORMS}
    monkeypatch.setattr(module, "Session", TorchSession)
    monkeypatch.setattr(module, "read_manifest", lambda folder: said)
    monkeypatch.setattr(module, "cpu_flags", lambda: {"avx512f", "avx2"})
    return made


def test_every_form_sees_the_golden_case_the_edge_values_and_the_cases(
    bundle: TrainedBundle, fault: Fault, golden: Path, tmp_path: Path
) -> None:
    cases: list[dict[str, Any]] = [
        {"case": f"sub-0{number}", "label": number % 2, **write_study(tmp_path / "bids", f"sub-0{number}", seed=number)}
        for number in (1, 2)
    ]
    result = prove(bundle, golden, cases=cases)
    assert result and list(result.studies) == [*EDGE_VALUES, "sub-01", "sub-02"]
    assert list(fault.images) == ["etscnet.onnx", "etscnet.gpu.onnx"]
    first, zeros, ones, voxel, stripes, plane, corner = (image[0] for image in fault.images["etscnet.onnx"][:7])
    assert first.shape == (2, *SIZE) and 0.9 < float(first.max()) <= 1 and len(first.unique()) > 1000
    assert not zeros.any() and bool((ones == 1).all())
    for image, ones_at in ((voxel, (16, 16, 16)), (plane, (0,)), (corner, (31, 31))):
        assert bool((image[:, *ones_at] == 1).all()) and float(image.sum()) == 2 * 32 ** (3 - len(ones_at))
    assert bool((stripes[:, ::2, :, ::3] == 1).all()) and float(stripes.sum()) == 2 * 16 * 32 * 11
    standard, half, other = result.forms
    assert (standard.studies, standard.tolerance, half.tolerance) == (9, 1e-5, 1e-3)
    assert standard.auc_difference == 0.0 and standard.score < 1e-6 and not standard.reason
    assert not other and other.reason == "for another processor (ONNX Runtime on x86 with AVX2)" and other.studies == 0


@pytest.mark.parametrize("study", range(len(EDGE_VALUES)))
@pytest.mark.parametrize("score", range(3))
def test_one_score_of_one_study_that_is_off_fails_that_form(
    bundle: TrainedBundle, fault: Fault, golden: Path, study: int, score: int
) -> None:
    fault.file, fault.study, fault.error = "etscnet.gpu.onnx", study, np.eye(3)[score] * 2e-3
    result = prove(bundle, golden)
    standard, half, _ = result.forms
    assert not result and standard and not half and half.score == pytest.approx(2e-3, abs=1e-6)


def test_a_difference_within_the_tolerance_passes(bundle: TrainedBundle, fault: Fault, golden: Path) -> None:
    fault.file, fault.study, fault.error = "etscnet.gpu.onnx", 3, np.array([9e-4, 0, -9e-4])
    result = prove(bundle, golden)
    assert result and result.forms[1].score == pytest.approx(9e-4, abs=1e-6)


def test_a_decision_that_flips_fails_the_form_though_its_score_may_not_tell(
    bundle: TrainedBundle, fault: Fault, golden: Path
) -> None:
    bundle.network.threshold.copy_(torch.tensor(0.999))
    fault.file, fault.study, fault.error = "etscnet.onnx", 0, np.array([1.0, 0, 0])
    result = prove(bundle, golden)
    assert result.forms[0].flips == 1 and result.forms[1].flips == 0


def test_other_weights_and_dead_ones_prove_nothing(
    bundle: TrainedBundle, fault: Fault, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = bundle.network.branches["t2w"]
    monkeypatch.setattr(branch, "forward", lambda image: image.mean((2, 3, 4)) * 0.9 * ALIVE)
    with pytest.raises(InputError, match="a network whose logits span"):
        prove(bundle, golden)
    monkeypatch.setattr(branch, "forward", lambda image: image.mean((2, 3, 4)) * 1.1 * ALIVE)
    assert prove(bundle, golden)
    other = {"origin": {"sha256": "0" * 64}, "spatial_size": list(SIZE), "forms": FORMS}
    monkeypatch.setattr(module, "read_manifest", lambda folder: other)
    with pytest.raises(InputError, match="an export of other weights"):
        prove(bundle, golden)
