"""From a finished training to a model that others can load: fusion weights, threshold, `model.pt`, `model.json`.

Both the weights (Eq. 2 of the paper, grid over the simplex) and the threshold (Youden) come from the validation split alone.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import monai
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from scripts import fusion
from scripts.best_branches import BestBranches, best_network
from scripts.checkpoint import provenance, read_weights, save
from scripts.cohort import PARTS, read_datalist
from scripts.dataset import StudyDataset
from scripts.errors import InputError
from scripts.files import sha256, write_atomically
from scripts.likeness.cohort_reference import describe_cohort, measure
from scripts.network import ETSCNet
from scripts.parallel import rank
from scripts.pictures import learning_curves
from scripts.stats.metrics import brier
from scripts.training import ResumableTraining

BRIER_OF_HALVED = (
    0.002  # halved weights change a score by less than 0.001; another cohort's Brier score differs by more
)


@dataclass
class ModelRelease:
    """Writes the model of a finished training.

    Args:
        training: the finished training, its history included.
        branches: the best epoch of every branch, with its validation logits.
        spatial_size: of the images that it was trained on.
        model_file: where the weights go; `<stem>.json` beside them says where they come from.
        dataset_dir: the BIDS data set, whose description says whether it is synthetic.
        parts: "training" and "validation" -> StudyDataset, which reference and temperature come from; "testing" -> its cases,
            which are counted and no more.
    """

    training: ResumableTraining
    branches: BestBranches
    spatial_size: Sequence[int]
    model_file: str | Path
    dataset_dir: str | Path
    parts: Mapping[str, Any]

    def write(self) -> None:
        """Search the fusion weights and the threshold, and write weights, origin and learning curves (rank 0 alone)."""
        if rank() != 0:
            return
        network = best_network(self.training.network, self.branches)
        found = choose_fusion(network, self.branches)
        network.spatial_size.copy_(torch.tensor(list(self.spatial_size)))
        save(network.state_dict(), self.model_file)
        origin = {
            "modalities": list(network.modalities),
            "spatial_size": list(self.spatial_size),
            "data": {
                **describe_data(self.dataset_dir),
                "cases": {name: len(part) for name, part in self.parts.items()},
            },
            "settings": self.training.settings,
            "epochs": len(self.training.history),
            "best_epochs": {name: self.branches.best[name]["epoch"] for name in network.modalities},
            **found,
            "made_with": {"commit": _commit(), "torch": torch.__version__, "monai": monai.__version__},
            **self._describe(network),
        }
        write_origin(self.model_file, origin)
        learning_curves(self.training.history, network.modalities, path=Path(self.model_file).with_name("training.png"))

    def _describe(self, network: ETSCNet) -> dict[str, Any]:
        network.to(next(self.training.network.parameters()).device)
        return describe_cohort(*(measure(network, self.parts[part]) for part in ("training", "validation")))


def choose_fusion(network: ETSCNet, branches: BestBranches) -> dict[str, Any]:
    """Set the network's fusion weights and threshold from the branches' validation logits; says what was found."""
    labels = branches.labels.numpy().astype(int)
    logits = torch.stack([branches.best[name]["logits"] for name in network.modalities], dim=1)  # (N, M)
    scores = torch.sigmoid(logits.double()).numpy()
    weights = fusion.search_weights(scores, labels)
    threshold = fusion.search_threshold(fusion.fuse(scores, weights.weights), labels)
    network.fusion_weights.copy_(torch.tensor(weights.weights))
    network.threshold.copy_(torch.tensor(threshold.threshold))
    return {"fusion": weights.to_dict(), "threshold": threshold.to_dict()}


def describe_data(dataset_dir: str | Path) -> dict[str, Any]:
    """Name and kind of a BIDS data set by its `dataset_description.json`; "synthetic" is None where it doesn't say."""
    file = Path(dataset_dir) / "dataset_description.json"
    said = json.loads(file.read_text()) if file.is_file() else {}
    return {"name": said.get("Name"), "synthetic": said.get("Synthetic"), "generated_by": said.get("GeneratedBy")}


def write_origin(model_file: str | Path, origin: Mapping[str, Any]) -> None:
    """Write `model.json`, bound to the weights by their SHA-256."""
    content = {"model": Path(model_file).name, "sha256": sha256(model_file), **origin}
    write_atomically(Path(model_file).with_suffix(".json"), json.dumps(content, indent=2) + "\n")


def halve(checkpoint: str | Path, output: str | Path) -> str:
    """Store weights of convolutions and linear layers in half precision, everything else as it is; carry the origin over.

    Loading gives a float32 network again.

    Args:
        checkpoint: the weights, such as model.pt, with model.json beside them.
        output: file of the halved weights; `<stem>.json` is written beside it.

    Example:
        python -m scripts halve --checkpoint results/train/model.pt --output results/halved/model.pt

    Returns:
        A sentence with the sizes and the largest relative rounding.

    Raises:
        InputError: weights without their origin, or outside the range of half precision.
    """
    state = read_weights(checkpoint)
    said = provenance(checkpoint)
    if not said:
        raise InputError(
            "model.json does not speak of these weights",
            expected="weights with their origin",
            remedy="Take the model.pt and model.json of one training.",
            file=checkpoint,
        )
    halved = {name: value.half() if _is_weight(name, value) else value for name, value in state.items()}
    if not all(bool(torch.isfinite(value).all()) for value in halved.values()):
        raise InputError("weights over 65504", expected="half-precision range", remedy="Ship float32.", file=checkpoint)
    save(halved, output)
    write_origin(
        output, {**{k: v for k, v in said.items() if k not in ("model", "sha256")}, "half_precision_weights": True}
    )
    error = max(
        float((halved[name].float() - value).abs().max() / value.abs().max())
        for name, value in state.items()
        if _is_weight(name, value)
    )
    sizes = [Path(file).stat().st_size / 2**20 for file in (checkpoint, output)]
    return f"{sizes[0]:.1f} MiB -> {sizes[1]:.1f} MiB, largest rounding {error:.1e} of a tensor's largest weight"


def add_reference(
    checkpoint: str | Path,
    dataset_dir: str | Path,
    datalist: str | Path,
    *,
    bundle_root: str | Path = "bundle",
    config_file: str | Path | None = None,
    cache_dir: str | Path | None = None,
) -> str:
    """Add to a model's `model.json` what the training cohort looked like, and the temperature.

    The weights themselves are not touched. A training writes both by itself; this is for weights that lack them, or were halved.

    Args:
        checkpoint: the weights, such as model.pt, with model.json beside them.
        dataset_dir: BIDS folder that they were trained on.
        datalist: JSON file of its split.
        bundle_root: folder of the bundle, whose inference.json gives network and preprocessing.
        config_file: an overlay over it, for weights of another backbone.
        cache_dir: folder of preprocessed images; None keeps nothing.

    Example:
        python -m scripts reference --checkpoint results/train/model.pt --dataset_dir data/cohort \\
            --datalist data/cohort/datalist.json

    Returns:
        What was found.

    Raises:
        InputError: weights without their origin, or another cohort or split than the training's.
    """
    said = provenance(checkpoint)
    if not said:
        remedy = "Take the model.pt and model.json of one training."
        raise InputError(
            "no origin", expected="model.json that speaks of these weights", remedy=remedy, file=checkpoint
        )
    parts = read_datalist(datalist, dataset_dir)
    parser = ConfigParser()
    configs = [Path(bundle_root) / "configs" / "inference.json"] + ([] if config_file is None else [Path(config_file)])
    parser.read_config([str(path) for path in configs])
    parser["bundle_root"], parser["checkpoint"] = str(bundle_root), str(checkpoint)
    parser["modalities"] = said["modalities"]
    parser["brain_extraction"] = said["settings"]["brain_extraction"]
    network, preprocessing = parser.get_parsed_content("network"), parser.get_parsed_content("preprocessing")
    counts = {part: len(parts[part]) for part in PARTS}
    if counts != said["data"]["cases"]:
        raise _other_cohort(f"a split of {counts}", f"{said['data']['cases']}, the training's", datalist)
    validation = measure(network, StudyDataset(parts["validation"], preprocessing, cache_dir=cache_dir))
    found = brier([one.label for one in validation], [one.score for one in validation])
    if abs(found - said["fusion"]["brier"]) > BRIER_OF_HALVED:
        expected = f"{said['fusion']['brier']:.4f}, the training's"
        raise _other_cohort(f"a validation Brier score of {found:.4f}", expected, datalist)
    training = measure(network, StudyDataset(parts["training"], preprocessing, cache_dir=cache_dir))
    described = describe_cohort(training, validation)
    write_origin(checkpoint, {**{k: v for k, v in said.items() if k not in ("model", "sha256")}, **described})
    temperature, reference = described["temperature"], described["reference"]
    features = {name: f"{layer['expected_rate']:.1%}" for name, layer in reference["features"]["layers"].items()}
    return (
        f"temperature {temperature['temperature'] or temperature['reason']}; cases {reference['cases']}, of which are flagged "
        f"at most: {reference['expected_rate']:.1%} by statistics, by features {features or reference['features']['reasons']}"
    )


def _other_cohort(found: str, expected: str, datalist: str | Path) -> InputError:
    remedy = "Give the cohort and the datalist that these weights were trained on."
    return InputError(found, expected=expected, remedy=remedy, file=datalist)


def _is_weight(name: str, value: Tensor) -> bool:
    """Kernels and matrices; batch-norm statistics, biases and the network's own buffers stay float32."""
    return value.dtype == torch.float32 and value.ndim >= 2 and name.endswith(".weight")


def _commit() -> str | None:
    """The checkout's commit, "+" behind it where files were changed; None outside of a checkout."""
    folder = Path(__file__).parent
    try:
        run = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12"]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
