"""A network for 32 x 32 x 32 voxels that tells images apart, made and run in a moment."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import Discriminator

from scripts.checkpoint import save
from scripts.network import ETSCNet

SIZE = (32, 32, 32)
# Instance norm: unlike batch norm it tells images apart untrained, and is the same on one process and on several.
BACKBONE: dict[str, Any] = {
    "in_shape": (1, *SIZE),
    "channels": (4, 8),
    "strides": (4, 4),
    "norm": "INSTANCE",
    "dropout": 0,
    "last_act": None,
}


def write_tiny_overlay(folder: Path) -> Path:
    """The overlay of its backbone, over any of the bundle's configurations."""
    named = {"_target_": "monai.networks.nets.Discriminator", "_mode_": "callable"}
    (folder / "tiny.json").write_text(json.dumps({"backbone": {**named, **BACKBONE}}))
    return folder / "tiny.json"


def write_tiny_model(folder: Path) -> tuple[Path, Path]:
    """model.pt, untrained, and the overlay of its backbone."""
    torch.manual_seed(0)
    network = ETSCNet(["flair", "t2w"], partial(Discriminator, **BACKBONE))
    network.spatial_size.copy_(torch.tensor(SIZE))
    save(network.state_dict(), folder / "model.pt")
    return folder / "model.pt", write_tiny_overlay(folder)
