"""Read an nnU-Net v2 model folder as HD-BET uses it: plans.json, dataset.json, fold_all/checkpoint_final.pth.

Whatever the edge's brain extraction does not do (another normalisation, resampling, several inputs, a cascade, regions) is
refused here by its name. Plans of nnU-Net before 2.4 are understood. Source: nnunetv2 2.8.1, PlansManager, ConfigurationManager,
nnUNetPredictor.initialize_from_trained_model_folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from export.plain_checkpoint import load_checkpoint
from export.unet import UNet, UNetPlan
from scripts.errors import InputError
from scripts.files import sha256

CHECKPOINT = "fold_all/checkpoint_final.pth"
NETWORKS = {"PlainConvUNet": False, "ResidualEncoderUNet": True}  # name -> residual
READERS = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient", "SimpleITKIOWithReorient")  # all give (z, y, x)
RESAMPLE = "resample_data_or_seg_to_shape"
ANISOTROPY = 3  # nnunetv2.configuration.ANISO_THRESHOLD
REMEDY = "Give the folder of HD-BET's weights (release_2.0.0), or report this one."


@dataclass(frozen=True)
class ModelFolder:
    """What was read.

    Attributes:
        network: in evaluation mode.
        configuration: of the plan, inheritance resolved.
        transpose: how nnU-Net turns its (z, y, x) axes.
        source: names and SHA-256 of what was read, and how the checkpoint was.
        mirror_axes: along which the network was trained to be mirrored.
    """

    network: UNet
    configuration: dict[str, Any]
    transpose: tuple[int, ...]
    source: dict[str, Any]
    mirror_axes: tuple[int, ...]


def read_model_folder(folder: str | Path, *, trust: str | None = None) -> ModelFolder:
    """The network of a model folder, with what is needed to run it.

    Args:
        folder: holds plans.json, dataset.json and fold_all/checkpoint_final.pth.
        trust: the SHA-256 of a checkpoint that holds more than weights and plain values: it is unpickled, which runs its code.

    Raises:
        InputError: a file missing or damaged, a checkpoint that is not plain and not trusted, or what the edge does not do.
    """
    folder = Path(folder)
    paths = {name: folder / name for name in ("plans.json", "dataset.json", CHECKPOINT)}
    for path in paths.values():
        if not path.is_file():
            raise InputError("no such file", expected="an nnU-Net v2 model folder", remedy=REMEDY, file=path)
    plans, dataset = (_read_json(paths[name]) for name in ("plans.json", "dataset.json"))
    hashes = {name: sha256(path) for name, path in paths.items()}
    checkpoint, how = load_checkpoint(paths[CHECKPOINT], hashes[CHECKPOINT], trust=trust)
    name = _entry(checkpoint.get("init_args"), "configuration", paths[CHECKPOINT])
    configuration = _configuration(plans, name, paths["plans.json"])
    _check(plans, dataset, configuration, paths)
    network = UNet(unet_plan(configuration, classes=len(dataset["labels"]), file=paths["plans.json"])).eval()
    try:
        network.load_state_dict(_entry(checkpoint, "network_weights", paths[CHECKPOINT]), strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise InputError(
            f"weights of another network ({str(error)[:300]})",
            expected="those of the plan",
            remedy=REMEDY,
            file=paths[CHECKPOINT],
        ) from error
    if not all(bool(torch.isfinite(weight).all()) for weight in network.state_dict().values()):
        raise InputError(
            "weights that are not finite", expected="numbers", remedy="Download it again.", file=paths[CHECKPOINT]
        )
    axes = checkpoint.get("inference_allowed_mirroring_axes") or ()
    source = {
        "folder": folder.resolve().name,
        "dataset": str(plans.get("dataset_name")),
        "configuration": name,
        "trainer": str(checkpoint.get("trainer_name")),
        "checkpoint": {"file": CHECKPOINT, "sha256": hashes[CHECKPOINT], "loaded": how},
        **{key: {"sha256": hashes[key]} for key in ("plans.json", "dataset.json")},
    }
    return ModelFolder(network, configuration, tuple(plans["transpose_forward"]), source, tuple(map(int, axes)))


def unet_plan(configuration: Mapping[str, Any], *, classes: int, file: Path) -> UNetPlan:
    """The network's numbers out of a configuration, of the present form or of nnU-Net before 2.4.

    Raises:
        InputError: another network, or one with other parts.
    """
    if "architecture" in configuration:
        given = configuration["architecture"]
        name, numbers = given["network_class_name"].rpartition(".")[2], dict(given["arch_kwargs"])
    else:
        name, numbers = configuration["UNet_class_name"], _older(configuration)
    if name not in NETWORKS:
        raise InputError(f"the network {name}", expected=f"one of {list(NETWORKS)}", remedy=REMEDY, file=file)
    norm, nonlin = numbers.get("norm_op_kwargs") or {}, numbers.get("nonlin_kwargs") or {}
    for key, found, expected in (
        ("conv_op", _last(numbers.get("conv_op")), "Conv3d"),
        ("norm_op", _last(numbers.get("norm_op")), "InstanceNorm3d"),
        ("nonlin", _last(numbers.get("nonlin")), "LeakyReLU"),
        ("affine", norm.get("affine"), True),
        ("nonlin_first", numbers.get("nonlin_first", False), False),
        ("block", _last(numbers.get("block", "BasicBlockD")), "BasicBlockD"),
        ("stem_channels", numbers.get("stem_channels"), None),
    ):
        if found != expected:
            raise InputError(f"a network with {key} {found}", expected=str(expected), remedy=REMEDY, file=file)
    residual, stages = NETWORKS[name], int(numbers["n_stages"])
    blocks = numbers["n_blocks_per_stage" if residual else "n_conv_per_stage"]
    return UNetPlan(
        residual=residual,
        features=_each(numbers["features_per_stage"], stages),
        kernels=_edges(numbers["kernel_sizes"], stages),
        strides=_edges(numbers["strides"], stages),
        blocks=_each(blocks, stages),
        decoder_blocks=_each(numbers["n_conv_per_stage_decoder"], stages - 1),
        classes=classes,
        bias=bool(numbers.get("conv_bias", False)),
        epsilon=float(norm.get("eps", 1e-5)),
        slope=float(nonlin.get("negative_slope", 0.01)),
        dropout=numbers.get("dropout_op") is not None,
    )


def _older(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers as nnU-Net before 2.4 wrote them."""
    blocks = configuration["n_conv_per_stage_encoder"]
    base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
    return {
        "n_stages": len(blocks),
        "features_per_stage": [min(base * 2**stage, most) for stage in range(len(blocks))],
        "conv_op": "Conv3d",
        "kernel_sizes": configuration["conv_kernel_sizes"],
        "strides": configuration["pool_op_kernel_sizes"],
        "n_conv_per_stage": blocks,
        "n_blocks_per_stage": blocks,
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
        "conv_bias": True,
        "norm_op": "InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"not JSON ({error})", expected="nnU-Net's", remedy=REMEDY, file=path) from error
    if not isinstance(said, dict):
        raise InputError("no table", expected="nnU-Net's", remedy=REMEDY, file=path)
    return said


def _entry(said: Any, key: str, path: Path) -> Any:
    if not isinstance(said, dict) or key not in said:
        raise InputError(f"no {key}", expected="nnU-Net's checkpoint", remedy=REMEDY, file=path)
    return said[key]


def _configuration(plans: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    """By name, with what it inherits."""
    resolved: dict[str, Any] = {}
    known = plans.get("configurations", {})
    visited: list[str] = []
    while name:
        if name not in known or name in visited:
            raise InputError(f"no configuration {name}", expected=f"one of {list(known)}", remedy=REMEDY, file=path)
        visited.append(name)
        resolved = {**known[name], **resolved}
        name = known[name].get("inherits_from", "")
    return resolved


def _check(plans: dict[str, Any], dataset: dict[str, Any], given: dict[str, Any], paths: dict[str, Path]) -> None:
    """Refuse what the edge does not do."""
    of_plans, of_dataset = paths["plans.json"], paths["dataset.json"]
    resampling = [
        (of_plans, f"{key} {part}", found, expected)
        for key in ("resampling_fn_data", "resampling_fn_probabilities")
        for part, found, expected in (
            ("", given.get(key), (RESAMPLE,)),
            ("order", resampling_of(given, key)["order"], (1, 3)),
            ("order_z", resampling_of(given, key)["order_z"], (0,)),
            ("is_seg", given.get(f"{key}_kwargs", {}).get("is_seg", False), (False,)),
        )
    ]
    labels = dataset.get("labels")
    for file, key, found, expected in (
        (
            of_dataset,
            "labels",
            sorted(map(str, labels.values())) if isinstance(labels, dict) else labels,
            (["0", "1"],),
        ),
        (of_dataset, "channels", len(dataset.get("channel_names") or dataset.get("modality") or ()), (1,)),
        (of_plans, "image reader", plans.get("image_reader_writer"), READERS),
        (of_plans, "label manager", plans.get("label_manager", "LabelManager"), ("LabelManager",)),
        (of_plans, "preprocessor", given.get("preprocessor_name"), ("DefaultPreprocessor",)),
        (of_plans, "normalisation", given.get("normalization_schemes"), (["ZScoreNormalization"],)),
        (of_plans, "axes of the patch", len(given.get("patch_size", ())), (3,)),
        (of_plans, "axes of the spacing", len(given.get("spacing", ())), (3,)),
        (of_plans, "transpose", sorted(plans.get("transpose_forward", ())), ([0, 1, 2],)),
        (of_plans, "previous stage", given.get("previous_stage"), (None,)),
        *resampling,
    ):
        if found not in expected:
            words = " or ".join(map(str, expected))
            raise InputError(f"{key}: {found}", expected=words, remedy=REMEDY, file=file)


def resampling_of(configuration: Mapping[str, Any], key: str) -> dict[str, Any]:
    """What nnU-Net's resampling function is called with: "order", "order_z", "separate", by its own defaults."""
    given = configuration.get(f"{key}_kwargs", {})
    return {
        "order": given.get("order", 3),
        "order_z": given.get("order_z", 0),
        "separate": given.get("force_separate_z", False),
        "anisotropy": given.get("separate_z_anisotropy_threshold", ANISOTROPY),
    }


def _last(name: str | None) -> str:
    return (name or "").rpartition(".")[2]


def _list(given: Any, count: int) -> list[Any]:
    return [given] * count if isinstance(given, int) else list(given)


def _each(given: Any, count: int) -> tuple[int, ...]:
    return tuple(int(value) for value in _list(given, count))


def _edges(given: Any, stages: int) -> tuple[tuple[int, int, int], ...]:
    return tuple((a, b, c) for a, b, c in (_each(edges, 3) for edges in _list(given, stages)))
