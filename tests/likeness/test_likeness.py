"""A case beside the training cohort: from a cohort through model.json to what a run writes of each study."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, Transform
from torch import Tensor, nn

from scripts.checkpoint import provenance, save
from scripts.dataset import StudyDataset, TolerantLoader
from scripts.errors import InputError
from scripts.evaluation_writer import EvaluationWriter
from scripts.likeness.cohort_reference import describe_cohort, measure
from scripts.likeness.feature_reference import NOT_GIVEN
from scripts.likeness.features import BranchFeatures, first_convolution, last_linear
from scripts.network import ETSCNet, LogitsInferer, efficientnet3d_b0
from scripts.prediction_writer import PredictionWriter
from scripts.release import write_origin
from scripts.stats.temperature import calibrated
from scripts.transforms import FuseScoresd

MODALITIES = ("flair", "t2w")


class Drawn(Transform):
    """A case's images by its seed: noise in a box, brighter where the case says; 4 x 4 x 4 voxels of background at one corner."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        rng = np.random.default_rng(data["seed"])
        image = rng.uniform(0.2, 0.6, (2, 16, 16, 8)) + 0.3 * data.get("brighter", 0) + 0.002 * data["label"]
        image[:, :4, :4, :4] = 0
        if data.get("empty"):
            image[:] = 0
        return {**data, "image": torch.tensor(image, dtype=torch.float32)}


class Pooled(nn.Module):
    """Means of eight parts of the image, and a linear layer, after a convolution that changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(1, 1, 1, bias=False)
        nn.init.constant_(self.conv.weight, 1.0)
        self.pool, self.fc = nn.AdaptiveAvgPool3d(2), nn.Linear(8, 1)
        nn.init.constant_(self.fc.weight, 5.0)
        nn.init.constant_(self.fc.bias, -16.0)

    def forward(self, image: Tensor) -> Tensor:
        logit: Tensor = self.fc(self.pool(self.conv(image)).flatten(1))
        return logit


class Bare(nn.Module):
    """A branch without a linear layer, as an exported file has it."""

    def forward(self, image: Tensor) -> Tensor:
        return 40 * image.mean(dim=(2, 3, 4)) - 16


def cases(folder: Path, n: int, *, first: int = 0, **said: Any) -> list[dict[str, Any]]:
    files = {}
    for name in MODALITIES:
        files[name] = str(folder / f"{name}.nii")
        nib.save(nib.Nifti1Image(np.zeros((20, 22, 10), np.int16), np.diag([0.7, 0.7, 6, 1])), files[name])
    numbers = range(first, first + n)
    return [{"case": f"sub-{k:03d}", "seed": k, "label": k % 2, **files, **said} for k in numbers]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights whose model.json says what the training cohort looked like."""
    folder = tmp_path_factory.mktemp("weights")
    network = ETSCNet(MODALITIES, Pooled).eval()
    save(network.state_dict(), folder / "model.pt")

    def refused(sample: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError("a cohort is described without augmentation")

    training = StudyDataset(cases(folder, 40), Compose([Drawn()]), augmentation=refused)
    validation = StudyDataset(cases(folder, 20, first=100), Compose([Drawn()]))
    described = describe_cohort(measure(network, training), measure(network, validation))
    write_origin(folder / "model.pt", {"data": {"synthetic": True}, **described})
    return folder / "model.pt"


def infer(
    weights: Path, output: Path, given: list[dict[str, Any]], *, backbone: type[nn.Module] = Pooled
) -> dict[str, dict[str, Any]]:
    network = ETSCNet(MODALITIES, backbone).eval()
    loader = TolerantLoader(StudyDataset(given, Compose([Drawn()])))
    writer = PredictionWriter(
        network, loader, output_dir=output, checkpoint=weights, bundle_version="0.1.0", pictures=False
    )
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader,
        network=network,
        inferer=LogitsInferer(),
        postprocessing=FuseScoresd(network),
        val_handlers=[writer, EvaluationWriter(writer, output)],
    ).run()
    assert not any(module._forward_pre_hooks for module in network.modules()), (
        "nothing listens to the network after the run"
    )
    return {result["case"]: result for result in writer.results}


def test_like_and_unlike_cases(weights: Path, tmp_path: Path) -> None:
    given = cases(tmp_path, 6, first=200) + cases(tmp_path, 2, first=300, brighter=1)
    results = infer(weights, tmp_path, given)
    temperature = provenance(weights)["temperature"]["temperature"]
    standing = results["sub-200"]["warnings"]
    assert len(standing) == 2
    for name, result in results.items():
        # 1e-3: six digits of the score, and a temperature far below 1
        assert result["calibrated_probability"] == pytest.approx(calibrated(result["score"], temperature), abs=1e-3)
        unlike = name >= "sub-300"
        assert result["quality"]["flagged"] is unlike and result["out_of_distribution"]["flagged"] is unlike
        assert result["warnings"][:2] == standing and len(result["warnings"]) == (5 if unlike else 2)
        assert set(result["out_of_distribution"]["layers"]["last"]["distance"]) == set(MODALITIES)
    assert results["sub-300"]["warnings"][2].startswith("Unlike the training cohort (p = 0.016): ")
    with (tmp_path / "predictions.csv").open() as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert [rows[name]["unlike_training"] for name in ("sub-205", "sub-300")] == ["0", "1"]
    assert float(rows["sub-300"]["quality_p"]) == pytest.approx(1 / 61, abs=1e-6)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["warnings"] == standing, "a case's own warning is not the evaluation's"


def test_each_case_has_its_own_features(weights: Path, tmp_path: Path) -> None:
    given = cases(tmp_path, 4, first=200)
    forwards, backwards = infer(weights, tmp_path, given), infer(weights, tmp_path, given[::-1])
    for name, result in forwards.items():
        assert result["out_of_distribution"] == backwards[name]["out_of_distribution"]
    distances = {result["out_of_distribution"]["layers"]["last"]["distance"]["flair"] for result in forwards.values()}
    assert len(distances) == 4


def test_an_exported_file_gives_no_features_and_the_result_says_so(weights: Path, tmp_path: Path) -> None:
    results = infer(weights, tmp_path, cases(tmp_path, 2, first=200), backbone=Bare)
    for result in results.values():
        assert result["out_of_distribution"] == {"flagged": None, "reason": NOT_GIVEN}
        assert result["quality"]["flagged"] is False


def test_a_case_without_a_brain_is_a_failure_of_its_own(weights: Path, tmp_path: Path) -> None:
    given = cases(tmp_path, 2, first=200) + cases(tmp_path, 1, first=300, empty=True)
    assert set(infer(weights, tmp_path, given)) == {"sub-200", "sub-201"}
    reason = (tmp_path / "failures.csv").read_text()
    assert "case sub-300" in reason and "flair: the prepared image holds no brain" in reason


def test_a_damaged_reference_stops_the_run(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(weights.read_bytes())
    said = json.loads(weights.with_suffix(".json").read_text())
    said["reference"]["calibration"] = ["far"]
    (tmp_path / "model.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="damaged reference"):
        infer(tmp_path / "model.pt", tmp_path, cases(tmp_path, 2))


def test_the_statistics_are_of_the_image_without_augmentation(weights: Path, tmp_path: Path) -> None:
    said = provenance(weights)["reference"]
    brain = [Drawn()(case)["image"][0].numpy() for case in cases(tmp_path, 40)]
    means = [float(image[image > 0].mean(dtype=float)) for image in brain]
    assert said["statistics"]["flair"]["mean"]["mean"] == pytest.approx(np.mean(means), rel=1e-6)
    assert said["statistics"]["t2w"]["voxel_z_mm"]["q50"] == pytest.approx(6)
    assert said["cases"] == {"training": 40, "validation": 20}
    assert said["features"]["layers"]["last"]["expected_rate"] == pytest.approx(1 / 21)


@pytest.mark.parametrize(("backbone", "size"), [(efficientnet3d_b0, 1280), (Pooled, 8)])
def test_the_features_are_the_first_convolutions_and_what_the_logit_is_made_of(backbone: Any, size: int) -> None:
    network = ETSCNet(MODALITIES, backbone).eval()
    image = torch.rand(2, 2, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs: dict[str, np.ndarray] = {}
    for name, branch in network.branches.items():
        first = first_convolution(branch)
        assert first is not None
        first.register_forward_hook(lambda _, __, output, name=name: outputs.update({name: output.numpy()}))
    with BranchFeatures(network) as features, torch.inference_mode():
        logits = network(image, return_logits=True).numpy()
    for number, (name, branch) in enumerate(network.branches.items()):
        layer, found = last_linear(branch), features.latest["last"][name]
        assert layer is not None and found.shape == (2, size)
        made = found @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        np.testing.assert_allclose(made[:, 0], logits[:, number], atol=1e-5)
        expected = np.concatenate([outputs[name].mean((2, 3, 4)), outputs[name].std((2, 3, 4))], axis=1)
        np.testing.assert_allclose(features.latest["first"][name], expected, atol=1e-5)
