"""nnU-Net v2 model folders made here: with random weights, or with a network whose brain is what is bright."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from export.nnunet import unet_plan
from export.unet import UNet

RESAMPLING = {
    f"resampling_fn_{kind}{part}": value
    for kind, order in (("data", 3), ("seg", 1), ("probabilities", 1))
    for part, value in (
        ("", "resample_data_or_seg_to_shape"),
        ("_kwargs", {"is_seg": kind == "seg", "order": order, "order_z": 0, "force_separate_z": None}),
    )
}


def plans(
    *,
    features: tuple[int, ...] = (2, 4),
    patch: tuple[int, int, int] = (48, 56, 48),
    spacing: float = 4.0,
    residual: bool = False,
) -> dict[str, Any]:
    """plans.json of a network with one convolution, or residual block, a stage."""
    stages = len(features)
    blocks = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    return {
        "dataset_name": "Dataset001_Test",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "configurations": {
            "3d_fullres": {
                "preprocessor_name": "DefaultPreprocessor",
                "patch_size": list(patch),
                "spacing": [spacing] * 3,
                "normalization_schemes": ["ZScoreNormalization"],
                "use_mask_for_norm": [False],
                **RESAMPLING,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet."
                    + ("ResidualEncoderUNet" if residual else "PlainConvUNet"),
                    "arch_kwargs": {
                        "n_stages": stages,
                        "features_per_stage": list(features),
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3]] * stages,
                        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
                        blocks: [1] * stages,
                        "n_conv_per_stage_decoder": [1] * (stages - 1),
                        "conv_bias": True,
                        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
                        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": "torch.nn.LeakyReLU",
                        "nonlin_kwargs": {"inplace": True},
                    },
                },
            }
        },
    }


def write_folder(
    folder: Path, said: dict[str, Any], network: UNet | None = None, *, extra: dict[str, Any] | None = None
) -> Path:
    """Write plans.json, dataset.json and fold_all/checkpoint_final.pth; random weights from a seed without a network."""
    configuration = said["configurations"]["3d_fullres"]
    if network is None:
        torch.manual_seed(0)
        network = UNet(unet_plan(configuration, classes=2, file=folder))
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.4)
    (folder / "fold_all").mkdir(parents=True, exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(said))
    dataset = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "brain": 1}, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = {
        "network_weights": network.state_dict(),
        "optimizer_state": None,
        "logging": {"ema_fg_dice": [np.float64(0.5)], "lrs": [np.float32(0.01)]},
        "_best_ema": np.float64(0.5),
        "init_args": {"plans": said, "configuration": "3d_fullres", "fold": "all", "dataset_json": dataset},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
        **(extra or {}),
    }
    torch.save(checkpoint, folder / "fold_all" / "checkpoint_final.pth")
    return folder


def write_bright_is_brain(folder: Path, *, above: float = 0.8) -> Path:
    """A folder whose network takes for brain what lies `above` standard deviations over the patch's mean.

    Every convolution of the upper stage hands the image on, so that the head sees nothing but the image, normalised.
    """
    said = plans()
    network = UNet(unet_plan(said["configurations"]["3d_fullres"], classes=2, file=folder))
    encoder: Any = network.encoder  # a module's attributes are tensors or modules to the type checker
    decoder: Any = network.decoder
    head = head_of(network)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        first, last = encoder.stages[0][0].convs[0], decoder.stages[0].convs[0]
        first.conv.weight[0, 0, 1, 1, 1] = 1
        last.conv.weight[0, 2, 1, 1, 1] = 1  # (from below, from below, skip, skip)
        for block in (first, last):
            block.norm.weight[0] = 1
        head.weight[1, 0], head.bias[1] = 1, -above
    return write_folder(folder, said, network)


def head_of(network: UNet) -> Any:
    """The convolution that makes the logits: weight (classes, features, 1, 1, 1), bias (classes,)."""
    layers: Any = network.decoder.seg_layers
    return layers[-1]
