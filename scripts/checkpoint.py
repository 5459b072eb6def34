"""Files of weights: written whole or not at all, read without running code, refused with a reason.

`model.pt` is the flat state dict of ETSCNet (MONAI's stock commands load it), `model.json` beside it says where the weights
come from and holds the SHA-256 of the file that it speaks of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scripts.errors import InputError
from scripts.files import sha256
from scripts.network import ETSCNet

UNKNOWN_ORIGIN = "The origin of these weights is unknown: no model.json beside them speaks of this file."
SYNTHETIC = (
    "These weights were trained on synthetic images: they know no real patient, and their score is for testing alone."
)


def save(content: Mapping[str, Any], path: str | Path) -> None:
    """`torch.save`, atomically and on disk before the rename (a power cut leaves the old file)."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        torch.save(dict(content), file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def load_model(
    network: ETSCNet, path: str | Path, *, spatial_size: Sequence[int], device: torch.device | str
) -> ETSCNet:
    """Load `model.pt` into the network, in evaluation mode on the device.

    Half-precision weights become float32. No pickled code runs.

    Raises:
        InputError: no such file, no weights, weights of another network or other modalities, values that are not finite,
            or weights that were trained on images of another size than `spatial_size`.
    """
    state = read_weights(path)
    expected = network.state_dict()
    if set(state) != set(expected) or any(state[name].shape != expected[name].shape for name in expected):
        theirs = sorted({name.split(".")[1] for name in state if name.startswith("branches.")})
        raise InputError(
            f"the weights are of another network (modalities {theirs}, {len(state)} tensors)",
            expected=f"modalities {list(network.modalities)}, {len(expected)} tensors of the configured backbone",
            remedy="Give the --modalities and the overlay that these weights were trained with.",
            file=path,
        )
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise InputError(
            "weights that are NaN or infinite", expected="finite weights", remedy="Train again.", file=path
        )
    network.load_state_dict(state)
    try:
        network.check_spatial_size(spatial_size)
    except ValueError as error:
        raise InputError(
            str(error), expected="one size", remedy="A score at another size means nothing.", file=path
        ) from error
    return network.to(device).eval()


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The state dict of a file of weights, each tensor in the shape that its network gives it, on the CPU.

    Raises:
        InputError: no such file, or not a flat dictionary of tensors.
    """
    if not Path(path).is_file():
        remedy = "Give --checkpoint, or train: python -m monai.bundle run training --config_file configs/train.json."
        raise InputError("no weights", expected="a file of weights (model.pt)", remedy=remedy, file=path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged stream leads torch to anything: KeyError, IndexError, AttributeError, ...
        raise InputError(
            f"not weights ({type(error).__name__}: {str(error).partition(chr(10))[0]})",
            expected="a state dict saved by torch, without pickled code",
            remedy="Copy or download the file again.",
            file=path,
        ) from error
    flat = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not flat:
        remedy = "Give model.pt; checkpoint.pt is the state of a training."
        raise InputError("no flat dictionary of tensors", expected="a state dict", remedy=remedy, file=path)
    return dict(state)


def trained_size(path: str | Path, otherwise: Sequence[int]) -> list[int]:
    """The grid that the weights were trained on, which is the grid that their images must be prepared on.

    Args:
        path: `model.pt`.
        otherwise: for weights that don't say.

    Raises:
        InputError: as `read_weights`.
    """
    size = read_weights(path).get("spatial_size", torch.zeros(3)).tolist()
    return [int(edge) for edge in size] if any(size) else list(otherwise)


def provenance(path: str | Path) -> dict[str, Any]:
    """What `model.json` says of the weights; empty where there is none or it speaks of another file.

    Raises:
        InputError: it is not JSON.
    """
    sidecar = Path(path).with_suffix(".json")
    if not sidecar.is_file():
        return {}
    try:
        said = json.loads(sidecar.read_text())
    except ValueError as error:
        remedy = "Copy the weights again, both files."
        raise InputError(f"not JSON ({error})", expected="model.json", remedy=remedy, file=sidecar) from error
    return said if isinstance(said, dict) and said.get("sha256") == sha256(path) else {}


def origin_warning(path: str | Path) -> str | None:
    """What every result must say about the weights' origin: synthetic, unknown, or nothing (None)."""
    said = provenance(path)
    if not said:
        return UNKNOWN_ORIGIN
    return SYNTHETIC if said.get("data", {}).get("synthetic") else None


def model_version(path: str | Path, bundle_version: str) -> str:
    """The bundle's version and the first 8 digits of the weights' SHA-256, e.g. "0.1.0+1f3a9c02"."""
    return f"{bundle_version}+{sha256(path)[:8]}"
