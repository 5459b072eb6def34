"""What the bundle's transforms and the preprocessing graph make of the same study."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import nibabel as nib
import numpy as np
import onnxruntime
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose

from export.preprocess_graph import INSIDE, preprocess_model
from tests.conftest import BUNDLE

Size = tuple[int, int, int]
CONFIG = BUNDLE / "configs" / "inference.json"
DECLARED: list[dict[str, Any]] = json.loads(CONFIG.read_text())["preprocessing"]["transforms"]
SIZE: Size = (64, 64, 32)
# Of the range, which is 1. ONNX Runtime finds a voxel's place by out/in rounded to float32, torch by in/out: in a width of 450
# the places may lie 5e-5 voxels apart, and an image that goes from 0 to 1 between two voxels differs by as much there.
TOLERANCE = 1e-4


@lru_cache
def session(size: Size, names: tuple[str, ...] | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model = preprocess_model(CONFIG if names is None else ordered(names), spatial_size=size)
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def ordered(names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The declared list with the graph's steps in another order."""
    by_name = {entry["_target_"]: entry for entry in DECLARED}
    before, after = DECLARED[:3], DECLARED[-1:]
    return [*before, *(by_name[name] for name in names), *after]


def run(
    stored: np.ndarray,
    *,
    size: Size,
    slope: float = 1.0,
    intercept: float = 0.0,
    mask: np.ndarray | None = None,
    names: tuple[str, ...] | None = None,
) -> np.ndarray:
    """(x, y, z) as stored -> (1, 1, X, Y, Z)."""
    feed = {
        "volume": np.ascontiguousarray(stored, dtype=np.float32),
        "slope": np.array(slope, np.float32),
        "intercept": np.array(intercept, np.float32),
        "mask": np.ones(stored.shape, bool) if mask is None else np.ascontiguousarray(mask),
    }
    image: np.ndarray = session(size, names).run(None, feed)[0]
    return image


def pipeline(size: Size, transforms: list[dict[str, Any]] = DECLARED) -> Compose:
    """What the bundle runs."""
    parser = ConfigParser()
    parser.read_config(CONFIG)
    parser["bundle_root"], parser["spatial_size"], parser["modalities"] = str(BUNDLE), list(size), ["flair", "t2w"]
    parser["preprocessing"], parser["brain_extraction"] = {"_target_": "Compose", "transforms": transforms}, "none"
    made: Compose = parser.get_parsed_content("preprocessing")
    return made


def monai(scaled: np.ndarray, *, size: Size, names: tuple[str, ...] = tuple(INSIDE)[1:]) -> np.ndarray:
    """MONAI's transforms of the graph, after the brain extraction, on values in memory."""
    by_name = {entry["_target_"]: {**entry, "keys": ["flair"]} for entry in DECLARED}
    data: Any = {"flair": MetaTensor(torch.from_numpy(scaled.astype(np.float32))[None])}
    image: np.ndarray = pipeline(size, [by_name[name] for name in names])(data)["flair"].numpy()
    return image[None]  # (1, 1, X, Y, Z)


def from_files(paths: dict[str, str], *, size: Size) -> np.ndarray:
    """Files -> (1, M, X, Y, Z) as a device does it: stored values, the header's slope and intercept, mask, the graph."""
    images = []
    for name in ("flair", "t2w"):
        file = nib.Nifti1Image.from_filename(paths[name])
        data: Any = file.dataobj  # nibabel's ArrayProxy
        stored = np.asanyarray(data.get_unscaled()).astype(np.float32)
        mask = nib.Nifti1Image.from_filename(paths[f"{name}_mask"]) if f"{name}_mask" in paths else None
        images.append(
            run(
                nib.as_closest_canonical(nib.Nifti1Image(stored, file.affine)).dataobj,
                size=size,
                slope=data.slope,
                intercept=data.inter,
                mask=None if mask is None else np.asanyarray(nib.as_closest_canonical(mask).dataobj) > 0,
            )
        )
    return np.concatenate(images, axis=1)


def from_bundle(paths: dict[str, str], *, size: Size) -> np.ndarray:
    method = "mask" if "flair_mask" in paths else "none"
    case = {"case": "sub-01", "brain_extraction": method, **paths}
    image: np.ndarray = pipeline(size)(case)["image"].numpy()
    return image[None]


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype == np.float32
    return float(np.abs(ours - theirs).max())
