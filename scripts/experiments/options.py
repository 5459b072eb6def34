"""Options as a command line gives them, checked before anything starts. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds scripts/


def bundle_folder() -> Path:
    """The bundle's folder: beside scripts/ in the checkout, the one that holds it in an unzipped bundle."""
    return ROOT / "bundle" if (ROOT / "bundle" / "configs").is_dir() else ROOT


def several(value: Any) -> tuple[Any, ...]:
    """One value or several: "a", "a,b", ["a", "b"], 7."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, Sequence) else (value,)


def image_size(value: Any) -> tuple[int, int, int]:
    """The edges of an image that the networks can take.

    Raises:
        InputError: not three multiples of 32.
    """
    edges = tuple(value) if isinstance(value, list | tuple) else (value,)
    if len(edges) != 3 or any(not isinstance(edge, int) or edge < 32 or edge % 32 for edge in edges):
        raise InputError(
            f"spatial_size is {value!r}",
            expected="three multiples of 32",
            remedy="Give for example --spatial_size 64 64 32.",
        )
    return edges


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """The value, if it is a whole number from `least` on.

    Raises:
        InputError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(
            f"{name} is {value!r}", expected=f"a whole number, {least} or more", remedy=f"Correct --{name}."
        )
    return value
