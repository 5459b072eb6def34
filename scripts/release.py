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
from torch import Tensor

from scripts import fusion
from scripts.checkpoint import provenance, read_weights, save
from scripts.errors import InputError
from scripts.files import sha256, write_atomically
from scripts.network import ETSCNet
from scripts.parallel import rank
from scripts.pictures import learning_curves
from scripts.training import BestBranches, ResumableTraining, best_network


@dataclass
class ModelRelease:
    """Writes the model of a finished training.

    Args:
        training: the finished training, its history included.
        branches: the best epoch of every branch, with its validation logits.
        spatial_size: of the images that it was trained on.
        model_file: where the weights go; `<stem>.json` beside them says where they come from.
        dataset_dir: the BIDS data set, whose description says whether it is synthetic.
        cases: the number of cases of each split.
    """

    training: ResumableTraining
    branches: BestBranches
    spatial_size: Sequence[int]
    model_file: str | Path
    dataset_dir: str | Path
    cases: Mapping[str, int]

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
            "data": {**describe_data(self.dataset_dir), "cases": dict(self.cases)},
            "settings": self.training.settings,
            "epochs": len(self.training.history),
            "best_epochs": {name: self.branches.best[name]["epoch"] for name in network.modalities},
            **found,
            "made_with": {"commit": _commit(), "torch": torch.__version__, "monai": monai.__version__},
        }
        write_origin(self.model_file, origin)
        learning_curves(self.training.history, network.modalities, path=Path(self.model_file).with_name("training.png"))


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


def halve(model_file: str, output: str) -> str:
    """Store the weights of convolutions and linear layers in half precision, everything else as it is; carry the origin over.

    Loading gives a float32 network again. Returns a sentence with the sizes and the largest relative rounding.
    """
    state = read_weights(model_file)
    said = provenance(model_file)
    if not said:
        raise InputError(
            "model.json does not speak of these weights",
            expected="weights with their origin",
            remedy="Take the model.pt and model.json of one training.",
            file=model_file,
        )
    halved = {name: value.half() if _is_weight(name, value) else value for name, value in state.items()}
    if not all(bool(torch.isfinite(value).all()) for value in halved.values()):
        raise InputError("weights over 65504", expected="half-precision range", remedy="Ship float32.", file=model_file)
    save(halved, output)
    write_origin(
        output, {**{k: v for k, v in said.items() if k not in ("model", "sha256")}, "half_precision_weights": True}
    )
    error = max(
        float((halved[name].float() - value).abs().max() / value.abs().max())
        for name, value in state.items()
        if _is_weight(name, value)
    )
    sizes = [Path(file).stat().st_size / 2**20 for file in (model_file, output)]
    return f"{sizes[0]:.1f} MiB -> {sizes[1]:.1f} MiB, largest rounding {error:.1e} of a tensor's largest weight"


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
