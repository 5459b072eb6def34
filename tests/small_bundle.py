"""A bundle whose branches have every operator of the shipped ones in two blocks: it is exported in a fraction of the time."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.efficientnet import EfficientNet
from torch import nn

from export.seeded_image import seeded_image
from scripts.checkpoint import save
from scripts.files import sha256
from scripts.network import ETSCNet

ROOT = Path(__file__).parents[1]
MODALITIES = ["flair", "t2w"]
SIZE = (32, 64, 48)  # three edges that can't be mistaken for one another
# The shipped network's first stages: no expansion, a stride of 2, a kernel of 5, a residual sum.
BACKBONE: dict[str, Any] = {
    "blocks_args_str": ["r1_k5_s22_e1_i32_o16_se0.25", "r1_k3_s11_e6_i16_o16_se0.25"],
    "spatial_dims": 3,
    "in_channels": 1,
    "num_classes": 1,
    "width_coefficient": 1.0,
    "depth_coefficient": 1.0,
    "image_size": 64,
}


def write_small_bundle(folder: Path, *, trained: bool = True) -> Path:
    """A bundle in a folder, with its code beside it, as far as exports and runs of inference read it.

    Args:
        folder: that is made.
        trained: the batch norms know the statistics of images, as after a training: the scores depend on the image.
    """
    shutil.copytree(ROOT / "bundle" / "configs", folder / "configs")
    (folder / "scripts").symlink_to(ROOT / "scripts")
    config = folder / "configs" / "inference.json"
    backbone = {"_target_": "monai.networks.nets.efficientnet.EfficientNet", "_mode_": "callable", **BACKBONE}
    config.write_text(json.dumps({**json.loads(config.read_text()), "backbone": backbone}))
    weights = folder / "models" / "model.pt"
    save(_network(trained=trained).state_dict(), weights)
    origin = {"sha256": sha256(weights), "data": {"name": "seeded images", "synthetic": True}}
    weights.with_suffix(".json").write_text(json.dumps(origin))
    return folder


def _network(*, trained: bool) -> ETSCNet:
    torch.manual_seed(0)
    backbone: Callable[[], nn.Module] = partial(EfficientNet, **BACKBONE)
    network = ETSCNet(MODALITIES, backbone)
    network.spatial_size.copy_(torch.tensor(SIZE))
    for branch in network.branches.values():
        branch._fc.reset_parameters()  # type: ignore[union-attr, operator]  # see efficientnet3d_b0
    if trained:
        images = torch.cat([torch.from_numpy(seeded_image(2, SIZE, seed=seed)) for seed in range(4)])
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = 1.0
        with torch.no_grad():
            network.train()(images * torch.linspace(0.5, 1.0, len(images)).reshape(-1, 1, 1, 1, 1))
    return network.eval()
