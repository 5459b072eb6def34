"""Read nnU-Net's checkpoint without running what it holds: it is a pickle, and nnU-Net itself loads it as one.

Weights and plain values (numbers, texts, numpy's scalars and arrays, paths) are read by torch.load(weights_only=True). A file
that names anything else is refused, unless its SHA-256 is given as trusted.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PosixPath
from typing import Any

import numpy as np
import torch

from scripts.errors import InputError


def load_checkpoint(path: Path, digest: str, *, trust: str | None = None) -> tuple[dict[str, Any], str]:
    """The checkpoint, and in words how it was read.

    Args:
        path: of the file.
        digest: its SHA-256.
        trust: the SHA-256 of a file that may be unpickled though it holds more than plain values.

    Raises:
        InputError: the file is damaged, holds more than plain values without being trusted, or is not the trusted one.
    """
    if trust is not None and trust != digest:
        raise InputError(
            f"SHA-256 {digest}", expected=f"{trust}, as --trust says", remedy="Check the download.", file=path
        )
    try:
        with _plain_values():
            return dict(torch.load(path, map_location="cpu", weights_only=True)), "weights and plain values alone"
    except pickle.UnpicklingError as error:
        if trust is None:
            raise InputError(
                f"a checkpoint that holds more than weights and plain values ({_named(path)})",
                expected="what torch.load(weights_only=True) reads",
                remedy=f"If you know that it is HD-BET's, give --trust {digest}: its code will then be run.",
                file=path,
            ) from error
        return dict(torch.load(path, map_location="cpu", weights_only=False)), f"pickle, trusted by SHA-256 {digest}"
    except (RuntimeError, EOFError, OSError, TypeError, ValueError) as error:
        raise InputError(
            f"no checkpoint of torch ({str(error)[:300]})",
            expected="a complete file",
            remedy="Download it again.",
            file=path,
        ) from error


def _named(path: Path) -> str:
    """What the checkpoint names that would be run."""
    try:
        with _plain_values():
            return ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or "no names"
    except (ValueError, RuntimeError, OSError):
        return "it is no file of torch.save"


@contextmanager
def _plain_values() -> Iterator[None]:
    """nnU-Net's checkpoints hold learning rates, scores and folders as numpy's and pathlib's, which are plain values too."""
    kinds: list[Any] = [
        np.dtype,
        np.ndarray,
        PosixPath,
        *{type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "bool")},
    ]
    # Files name these as numpy 1 or as numpy 2 does.
    makers = {"scalar": np.float64(0).__reduce__()[0], "_reconstruct": np.zeros(1).__reduce__()[0]}
    kinds += [
        (maker, f"numpy.{module}.multiarray.{name}") for name, maker in makers.items() for module in ("core", "_core")
    ]
    with torch.serialization.safe_globals(kinds):
        yield
