"""The searches on many samples at once are those of scripts.fusion, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.fusion import fuse, search_threshold, search_weights
from scripts.stats.fusion_samples import sample_concordance, search_samples
from scripts.stats.roc import concordance


def cohort(seed: int, *, modalities: int = 2, decimals: int = 6) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.r_[np.ones(12, int), np.zeros(16, int)])
    scores = np.clip(generator.normal(0.4 + 0.15 * labels[:, None], 0.25, size=(28, modalities)), 0, 1)
    return scores.round(decimals), labels


def samples(labels: NDArray[np.int64], number: int, *, seed: int) -> NDArray[np.int64]:
    """Half of them subsets, half bootstrap samples, of 2 children a class and more."""
    generator = np.random.default_rng(seed)
    counts = np.zeros((number, labels.size), dtype=np.int64)
    for row in range(number):
        for label in (0, 1):
            of_class = np.flatnonzero(labels == label)
            drawn = generator.choice(of_class, generator.integers(2, of_class.size), replace=bool(row % 2))
            np.add.at(counts[row], drawn, 1)
    return counts


@pytest.mark.parametrize(
    ("modalities", "decimals", "step"), [(2, 6, 0.1), (2, 1, 0.1), (2, 2, 0.1), (3, 1, 0.1), (1, 1, 0.1), (2, 1, 0.05)]
)
def test_every_sample_gets_what_the_single_search_gives_it(modalities: int, decimals: int, step: float) -> None:
    for seed in range(2):
        scores, labels = cohort(seed, modalities=modalities, decimals=decimals)
        counts = samples(labels, 16, seed=seed)
        found = search_samples(scores, labels, counts, step=step)
        for row, count in enumerate(counts):
            children = np.repeat(np.arange(28), count)
            single = search_weights(scores[children], labels[children], step=step)
            threshold = search_threshold(fuse(scores[children], single.weights), labels[children]).threshold
            m = int(labels[children].sum())
            assert tuple(found.grid[found.chosen[row]]) == single.weights
            assert found.thresholds[row] == threshold
            assert found.concordance[row] / (2 * m * (children.size - m)) == single.auc
            assert found.decisions[row].tolist() == (fuse(scores, single.weights) >= threshold).tolist()


def test_what_cannot_be_told_apart_is_decided_as_in_the_single_search() -> None:
    # Equal branches, equal scores, mirrored branches: every weight vector has the same AUC, some the same Brier score.
    labels = np.array([1, 1, 1, 0, 0, 0, 0])
    one = np.array([0.7, 0.6, 0.2, 0.6, 0.3, 0.1, 0.1])
    counts = samples(labels, 30, seed=3)
    mirrored = np.c_[[0.75, 0.25, 0.5, 0.25, 0.75, 0.5, 0.5], [0.25, 0.75, 0.5, 0.75, 0.25, 0.5, 0.5]]
    for scores in (np.c_[one, one], np.full((7, 2), 0.3), np.full((7, 3), 0.7), mirrored):
        found = search_samples(scores, labels, counts)
        for row, count in enumerate(counts):
            children = np.repeat(np.arange(7), count)
            single = search_weights(scores[children], labels[children])
            assert tuple(found.grid[found.chosen[row]]) == single.weights
            assert (
                found.thresholds[row]
                == search_threshold(fuse(scores[children], single.weights), labels[children]).threshold
            )


def test_concordance_of_more_samples_than_are_taken_at_a_time() -> None:
    scores, labels = cohort(0, decimals=1)
    counts = samples(labels, 300, seed=1)
    expected = [
        concordance(labels[children], scores[children, 0])
        for children in (np.repeat(np.arange(28), count) for count in counts)
    ]
    assert sample_concordance(labels, scores[:, 0], counts).tolist() == expected


def test_sample_of_one_class_and_counts_that_do_not_fit_are_refused() -> None:
    scores, labels = cohort(0)
    counts = samples(labels, 3, seed=0)
    counts[1, labels == 1] = 0
    with pytest.raises(InputError, match="sample 1 holds one class alone"):
        search_samples(scores, labels, counts)
    for wrong in (counts[:, :-1], counts.astype(float), -counts, counts[0]):
        with pytest.raises(InputError, match="counts have shape"):
            search_samples(scores, labels, wrong)
    with pytest.raises(InputError, match="finite"):
        search_samples(np.where(scores == scores[3, 0], np.nan, scores), labels, samples(labels, 3, seed=0))
