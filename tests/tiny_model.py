"""Weights for 32 x 32 x 32 voxels that tell images apart, made in a moment."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch

from scripts.checkpoint import save
from scripts.network import ETSCNet, SwinClassifier

SIZE = (32, 32, 32)


def write_tiny_model(folder: Path) -> tuple[Path, Path]:
    """model.pt and the overlay of its backbone. Untrained: layer norm tells images apart all the same, batch norm would not."""
    torch.manual_seed(0)
    network = ETSCNet(["flair", "t2w"], partial(SwinClassifier, feature_size=12))
    network.spatial_size.copy_(torch.tensor(SIZE))
    save(network.state_dict(), folder / "model.pt")
    named = {"_target_": "scripts.network.SwinClassifier", "_mode_": "callable", "_requires_": "@code_path"}
    (folder / "tiny.json").write_text(json.dumps({"backbone": {**named, "feature_size": 12}}))
    return folder / "model.pt", folder / "tiny.json"
