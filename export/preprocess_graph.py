"""The bundle's preprocessing of one volume as an ONNX graph, `preprocess.onnx`, written from the bundle's own list of transforms.

Each transform is translated by `INSIDE` or left to the caller by `OUTSIDE`. Any other is refused, and so is any value that is not
honoured: what runs on a device can't drift from what the network was trained on. The order of the list is kept.

    volume     (x, y, z) float32, any size: the stored voxel values, one modality, axes already turned to the orientation
    slope, intercept  () float32: NIfTI's scl_slope and scl_inter; 1 and 0 where the header has none (a slope of 0 or NaN)
    mask       (x, y, z) bool on the volume's grid: True in the brain; True everywhere where the brain is extracted already
    -> image   (1, 1, X, Y, Z) float32 in [0, 1]

The mask is an input, and not applied to the stored values beforehand, because a voxel outside of the brain is 0 *after* slope and
intercept. float32 holds integers to 2**24: scale larger stored values in float64 first, and give a slope of 1.
Operators: onnx.ai/onnx/operators (opset 18), text format: onnx.ai/onnx/repo-docs/Syntax.html.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from monai.transforms import ConcatItemsd, MapTransform, Orientationd, Resized, ScaleIntensityd, ThresholdIntensityd

from export.graph import IR_VERSION, OPSET, PRODUCER
from scripts.brain_extraction.skull import MAX_SKULL_SHARE
from scripts.checks import (
    BRAIN_ML,
    CENTRE_DISTANCE_MM,
    EXTENT_MM,
    MAX_CORRELATION,
    MIN_CONTRAST,
    MIN_SQUARENESS,
    VOXEL_MM,
)
from scripts.errors import InputError
from scripts.nifti import MAX_VOXELS
from scripts.transforms import BrainExtractiond, CheckStudyd, LoadStudyd

BRAIN = "scripts.transforms.BrainExtractiond"
UNTOLD = ("dtype", "lazy")  # of MONAI's own machinery: nothing to tell the manifest
LIMITS = {  # mm, ml
    "voxel_mm": list(VOXEL_MM),
    "extent_mm": list(EXTENT_MM),
    "centre_distance_mm": CENTRE_DISTANCE_MM,
    "min_squareness": MIN_SQUARENESS,
    "brain_ml": list(BRAIN_ML),
    "max_voxels": MAX_VOXELS,
    "min_contrast": MIN_CONTRAST,
    "max_correlation": MAX_CORRELATION,
    "max_skull_share": MAX_SKULL_SHARE,
}
Config = str | Path | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Step:
    """What is known of one transform.

    Attributes:
        transform: its class; the signature gives the parameters that a configuration leaves out.
        honours: the one value of each parameter that is honoured.
        open: parameters whose value the caller, the run or the manifest takes care of.
        nodes: ONNX text that makes `{y}` from `{x}`, both (1, 1, x, y, z) float32; "" for a step outside.
    """

    transform: type[MapTransform]
    honours: Mapping[str, Any]
    open: tuple[str, ...] = ()
    nodes: str = ""


INSIDE = {
    # Where, and no product: one pass, and no float copy of the mask.
    BRAIN: Step(
        BrainExtractiond,
        {},
        # where the mask comes from is each run's own choice
        ("method", "hd_bet_weights", "hd_bet_mirroring", "device", "mask_quality"),
        """brain = Unsqueeze (mask, batch_channel)
        {y} = Where (brain, {x}, zero)""",
    ),
    # x > 0 ? x : 0, in place.
    "ThresholdIntensityd": Step(
        ThresholdIntensityd, {"threshold": 0.0, "above": True, "cval": 0.0}, (), "{y} = Relu ({x})"
    ),
    "Resized": Step(
        Resized,
        {
            "size_mode": "all",
            "mode": "trilinear",
            "align_corners": False,
            "anti_aliasing": False,
            "anti_aliasing_sigma": None,
            "dtype": np.float32,
            "lazy": False,
        },
        ("spatial_size",),
        '{y} = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> ({x}, , , output_shape)',
    ),
    # A constant image becomes 0, as MONAI's `rescale_array` makes it. Resizing leaves it constant but for rounding (at most
    # 2**-20 of its value), which must not be spread over [0, 1].
    "ScaleIntensityd": Step(
        ScaleIntensityd,
        {"minv": 0.0, "maxv": 1.0, "factor": None, "channel_wise": False, "dtype": np.float32},
        (),
        """lowest = ReduceMin <keepdims = 0> ({x})
        highest = ReduceMax <keepdims = 0> ({x})
        span = Sub (highest, lowest)
        low = Abs (lowest)
        high = Abs (highest)
        largest = Max (low, high)
        rounding = Mul (largest, epsilon)
        constant = LessOrEqual (span, rounding)
        infinity = Reciprocal (zero)
        divisor = Where (constant, infinity, span)
        risen = Sub ({x}, lowest)
        {y} = Div (risen, divisor)""",
    ),
}

OUTSIDE = {
    # Files and headers: the graph begins with the stored values.
    "scripts.transforms.LoadStudyd": Step(LoadStudyd, {}),
    # A graph can't say what is wrong.
    "scripts.transforms.CheckStudyd": Step(CheckStudyd, {}),
    # It depends on the affine, and is a view of the array without arithmetic.
    "Orientationd": Step(Orientationd, {"as_closest_canonical": False, "lazy": False}, ("axcodes", "labels")),
    # Modalities have grids of their own: the graph runs once for each.
    "ConcatItemsd": Step(ConcatItemsd, {"name": "image", "dim": 0}),
}


def preprocess_model(config: Config, *, spatial_size: Sequence[int]) -> onnx.ModelProto:
    """Write the graph, whose inputs and output the module's docstring gives. Equal arguments give equal bytes.

    Args:
        config: the bundle's configuration file (JSON), or its list of transforms with or without references.
        spatial_size: the image's (X, Y, Z) in voxels. Where the list has a number and no reference, it must be this one.

    Raises:
        InputError: a transform, a value, an order or a size that the graph does not honour.
    """
    inside = [name for name, _ in _read(config, spatial_size) if name in INSIDE]
    values = ["channel", *(f"step_{number}" for number in range(1, len(inside))), "image"]
    steps = [INSIDE[name].nodes.format(x=x, y=y) for name, x, y in zip(inside, values, values[1:], strict=False)]
    size = ", ".join(str(edge) for edge in spatial_size)
    model = onnx.parser.parse_model(
        f"""<ir_version: {IR_VERSION}, opset_import: ["" : {OPSET}], producer_name: "{PRODUCER}">
    preprocess (float[x, y, z] volume, float slope, float intercept, bool[x, y, z] mask) => (float[1, 1, {size}] image) {{
        zero = Constant <value_float = 0.0> ()
        epsilon = Constant <value_float = {2.0**-20}> ()
        batch_channel = Constant <value_ints = [0, 1]> ()
        output_shape = Constant <value_ints = [1, 1, {size}]> ()
        sloped = Mul (volume, slope)
        scaled = Add (sloped, intercept)
        channel = Unsqueeze (scaled, batch_channel)
        {" ".join(steps)}
    }}"""
    )
    onnx.checker.check_model(model, full_check=True)  # infers every shape, strictly
    return model


def parameters(config: Config, *, spatial_size: Sequence[int]) -> dict[str, Any]:
    """What the manifest says of the preprocessing, fit for JSON.

    Returns:
        "orientation": the axis codes that the volume must have; "outside": names of the caller's steps, in order; "inside": the
        graph's steps, in order, each {"step": name, parameter: value, ...}; "limits": of the caller's checks.

    Raises:
        InputError: as `preprocess_model`.
    """
    steps = _read(config, spatial_size)
    size = {"Resized": {"spatial_size": list(spatial_size)}}
    told = {
        name: {key: value for key, value in values.items() if key in INSIDE[name].honours and key not in UNTOLD}
        for name, values in steps
        if name in INSIDE
    }
    return {
        "orientation": dict(steps)["Orientationd"]["axcodes"],
        "outside": [_short(name) for name, _ in steps if name in OUTSIDE],
        "inside": [{"step": _short(name), **size.get(name, {}), **values} for name, values in told.items()],
        "limits": LIMITS,
    }


def _read(config: Config, spatial_size: Sequence[int]) -> list[tuple[str, dict[str, Any]]]:
    """The target and all parameters of each transform, none of them unknown or of a value that is not honoured."""
    file = config if isinstance(config, str | Path) else None
    transforms = config if not isinstance(config, str | Path) else _declared(config)
    if len(spatial_size) != 3 or any(not isinstance(edge, int) or edge < 1 for edge in spatial_size):
        raise _fault(f"spatial_size is {list(spatial_size)}", "three positive integers", file)
    steps = [_step(entry, spatial_size, file) for entry in transforms]
    names = [name for name, _ in steps]
    *before, after = OUTSIDE
    inside = names[len(before) : -1]
    once = names == [*before, *inside, after] and sorted(inside) == sorted(INSIDE)
    if not once or inside.index(BRAIN) > inside.index("Resized"):  # the mask is on the volume's grid
        order = f"{', '.join(map(_short, before))}, then each once {', '.join(map(_short, INSIDE))}, then {after}"
        raise _fault(f"the steps are {', '.join(map(_short, names))}", f"{order}; the brain before its resizing", file)
    if any(values["keys"] != steps[0][1]["keys"] for _, values in steps):
        raise _fault("the steps have different keys", "every step for every modality, which one graph serves", file)
    return steps


def _declared(file: str | Path) -> Sequence[Mapping[str, Any]]:
    expected = '"preprocessing": {"_target_": "Compose", "transforms": [...]} and no more in it'
    try:
        declared = json.loads(Path(file).read_text())["preprocessing"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise _fault(f"no configuration ({type(error).__name__}: {error})", expected, file) from error
    if (
        not isinstance(declared, dict)
        or set(declared) != {"_target_", "transforms"}
        or declared["_target_"] != "Compose"
    ):
        raise _fault(f'"preprocessing" is {str(declared)[:120]}', expected, file)
    transforms: Sequence[Mapping[str, Any]] = declared["transforms"]
    return transforms


def _step(entry: Mapping[str, Any], spatial_size: Sequence[int], file: str | Path | None) -> tuple[str, dict[str, Any]]:
    name = str(entry.get("_target_"))
    step = {**OUTSIDE, **INSIDE}.get(name)
    if step is None:
        raise _fault(f"the transform {name}", f"one of {', '.join({**OUTSIDE, **INSIDE})}", file)
    given = {key: value for key, value in entry.items() if key not in ("_target_", "_requires_", "_desc_")}
    signature = inspect.signature(step.transform.__init__)
    try:
        bound = signature.bind(None, **given)
    except TypeError as error:
        raise _fault(f"{name}: {error}", f"parameters of {signature}", file) from error
    bound.apply_defaults()
    values = {key: value for key, value in bound.arguments.items() if key != "self"}
    size = values.get("spatial_size")  # a reference is the caller's spatial_size
    honours: dict[str, Any] = {**step.honours, "allow_missing_keys": False}
    if name == "Resized" and not (isinstance(size, str) and size.startswith("@")):
        honours["spatial_size"] = list(spatial_size)
    for key, value in values.items():
        if (key in honours and value != honours[key]) or key not in {*honours, *step.open, "keys"}:
            raise _fault(f"{name} has {key} = {value!r}", f"{honours.get(key)!r}", file)
    return name, values


def _short(name: str) -> str:
    return name.rpartition(".")[2]


def _fault(found: str, expected: str, file: str | Path | None) -> InputError:
    remedy = "Correct the configuration, or teach export/preprocess_graph.py this and test it against MONAI."
    return InputError(found, expected=expected, remedy=remedy, file=file)
