"""Samples of children, drawn within the classes: folds, bootstrap samples, disjoint sets of fixed sizes.

A sample is a row of N whole numbers, one a child in the order given. What is drawn depends on the labels in their order,
the sizes and the seed alone: bring the children into one order before (`resampling.in_order`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError


def stratified_folds(labels: NDArray[np.int64], *, folds: int, repeats: int, seed: int) -> NDArray[np.int64]:
    """(repeats, N) fold of each child, of labels (N,).

    The classes are dealt out one after the other, so that sizes differ by one at most.
    """
    rng, fold = np.random.default_rng([seed, 1]), np.empty((repeats, labels.size), dtype=np.int64)
    dealt = 0
    for label in (1, 0):
        of_class = np.flatnonzero(labels == label)
        hands = (dealt + np.arange(of_class.size)) % folds
        fold[:, of_class] = rng.permuted(np.tile(hands, (repeats, 1)), axis=1)
        dealt += of_class.size
    return fold


def bootstrap_counts(labels: NDArray[np.int64], *, draws: int, seed: int) -> NDArray[np.int64]:
    """(draws, N) how often each child of labels (N,) is in each sample with replacement, drawn within the classes."""
    rng, counts = np.random.default_rng([seed, 2]), np.zeros((draws, labels.size), dtype=np.int64)
    for label in (1, 0):
        of_class = np.flatnonzero(labels == label)
        counts[:, of_class] = rng.multinomial(of_class.size, np.full(of_class.size, 1 / of_class.size), size=draws)
    return counts


def stratified_draws(
    labels: NDArray[np.int64], sizes: Sequence[tuple[int, int]], *, draws: int, seed: int
) -> list[NDArray[np.int64]]:
    """For each (controlled, uncontrolled) of `sizes` a (draws, N) of 0 and 1, of labels (N,): disjoint, without replacement.

    Raises:
        InputError: a class has no more children than are drawn, so that there is nothing to choose.
    """
    rng, sets = np.random.default_rng([seed, 3]), [np.zeros((draws, labels.size), dtype=np.int64) for _ in sizes]
    for column, label in enumerate((1, 0)):
        of_class = np.flatnonzero(labels == label)
        wanted = [size[column] for size in sizes]
        if of_class.size <= sum(wanted):
            raise InputError(
                f"{of_class.size} {'controlled' if label else 'uncontrolled'} children, {sum(wanted)} a draw",
                expected="more children than a draw takes",
                remedy="Give predictions of more children whom no network was trained on, of a cross-validation for instance.",
            )
        order = rng.random((draws, of_class.size)).argsort(axis=1)
        edges = np.cumsum([0, *wanted])
        for chosen, first, last in zip(sets, edges[:-1], edges[1:], strict=True):
            np.put_along_axis(chosen, of_class[order[:, first:last]], 1, axis=1)
    return sets
