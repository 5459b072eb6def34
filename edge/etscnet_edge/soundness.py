"""Whether a manifest says all that is needed of it, in its types and ranges: a changed one is refused before any study."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Holds = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(edge, int) and edge > 0 for edge in value)


def _range(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_number, value)) and value[0] < value[1]


def _orientation(value: Any) -> bool:
    letters = [{"L": "R", "P": "A", "I": "S"}.get(letter, letter) for letter in value] if _text(value) else []
    return sorted(letters) == ["A", "R", "S"]


def _above_0(value: Any) -> bool:
    return _number(value) and value > 0


KEYS: dict[str, Holds] = {
    "version": _text,
    "intended_use": _text,
    "warnings": lambda value: value == [] or _texts(value),
    "for_timing_only": lambda value: isinstance(value, bool),
    "modalities": lambda value: _texts(value) and len(set(value)) == len(value) > 0,
    "spatial_size": _size,
    "inputs.image.shape": lambda value: isinstance(value, list) and _size(value[2:]),
    "outputs.pred.shape": lambda value: value == [1, 1],
    "outputs.branch_scores.shape": lambda value: isinstance(value, list) and len(value) == 2,
    "preprocessing.file": _text,
    "preprocessing.orientation": _orientation,
    "preprocessing.inside": lambda value: isinstance(value, list),
    **{f"preprocessing.limits.{name}": _range for name in ("voxel_mm", "extent_mm", "brain_ml")},
    **{
        f"preprocessing.limits.{name}": _above_0
        for name in (
            "centre_distance_mm",
            "min_squareness",
            "max_voxels",
            "min_contrast",
            "max_correlation",
            "max_skull_share",
        )
    },
    "threshold": lambda value: _number(value) and 0 < value < 1,
    "labels": lambda value: isinstance(value, dict) and set(value) == {"0", "1"} and all(map(_text, value.values())),
    "golden": _text,
    "forms": lambda value: isinstance(value, dict) and len(value) > 0,
    "files": lambda value: isinstance(value, dict),
}
FORM_KEYS: dict[str, Holds] = {
    "file": _text,
    "precision": _text,
    "meant_for": _text,
    "cpu_flag": lambda value: isinstance(value, str),
    "without_flag": lambda value: isinstance(value, str),
    "tolerance": _above_0,
    "memory_mb": _above_0,
}
FILE_KEYS: dict[str, Holds] = {"sha256": lambda value: _text(value) and len(value) == 64, "bytes": _above_0}


def _temperature(value: Any) -> bool:
    given = value.get("temperature") if isinstance(value, dict) else 0
    return _text(value.get("reason")) if given is None else _above_0(given)


def _rising(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_number, value)) and value == sorted(value)


OPTIONAL: dict[str, Holds] = {"temperature": _temperature, "reference": lambda value: isinstance(value, dict)}
REFERENCE_KEYS: dict[str, Holds] = {
    "calibration": _rising,
    "limit": _above_0,
    "statistics": lambda value: isinstance(value, dict) and len(value) > 0,
}
SUMMARY_KEYS: dict[str, Holds] = {
    **dict.fromkeys(("min", "max", "q50"), _number),
    **dict.fromkeys(("below", "above"), _above_0),
}


def unsound(said: dict[str, Any]) -> str:
    """The first thing that is missing or can't be, "" for nothing.

    Args:
        said: the manifest.
    """
    faults = [
        *_faults(said, KEYS, ""),
        *(fault for name, form in _items(said, "forms") for fault in _faults(form, FORM_KEYS, f"forms.{name}.")),
        *(fault for name, file in _items(said, "files") for fault in _faults(file, FILE_KEYS, f"files.{name}.")),
        *_faults(said, {key: holds for key, holds in OPTIONAL.items() if key in said}, ""),
    ]
    if faults:
        return faults[0]
    modalities, shape = len(said["modalities"]), said["inputs"]["image"]["shape"]
    if shape != [1, modalities, *said["spatial_size"]] or said["outputs"]["branch_scores"]["shape"] != [1, modalities]:
        return f"{modalities} modalities and an image of {shape}"
    return next(iter(_reference_faults(said)), "")


def _reference_faults(said: dict[str, Any]) -> list[str]:
    """Of the reference, where there is one: an export of weights without one gives the reason in its place."""
    reference = said.get("reference")
    if not isinstance(reference, dict) or _text(reference.get("reason")):
        return []
    if faults := _faults(reference, REFERENCE_KEYS, "reference."):
        return faults
    statistics = reference["statistics"]
    if set(statistics) != set(said.get("modalities") or []) or not all(statistics.values()):
        return [f"reference.statistics of {sorted(statistics)}"]
    return [
        fault
        for modality in statistics
        for name, summary in _items(statistics, modality)
        for fault in _faults(summary, SUMMARY_KEYS, f"reference.statistics.{modality}.{name}.")
    ]


def _items(said: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    return list(said[key].items()) if isinstance(said.get(key), dict) else []


def _faults(said: Any, keys: dict[str, Holds], where: str) -> list[str]:
    faults = []
    for key, holds in keys.items():
        value = said
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            faults.append(f"no {where}{key}")
        elif not holds(value):
            faults.append(f"{where}{key} = {str(value)[:80]}")
    return faults
