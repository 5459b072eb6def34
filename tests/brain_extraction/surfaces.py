"""Masks of the seeded heads in the place of those of BET's surface, which takes seconds."""

from __future__ import annotations

import numpy as np

from scripts.brain_extraction.carry import Mask


def by_threshold(values: np.ndarray, affine: np.ndarray) -> Mask:
    """The middle of the head, by its distance from there."""
    world = (
        np.stack(np.meshgrid(*map(np.arange, values.shape), indexing="ij"), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    )
    return np.asarray(np.sum((world / (64.0, 80.0, 60.0)) ** 2, axis=-1) < 1)


def half(values: np.ndarray, affine: np.ndarray) -> Mask:
    """A mask that misses the front."""
    mask = by_threshold(values, affine)
    mask[:, mask.shape[1] // 2 :] = False
    return mask
