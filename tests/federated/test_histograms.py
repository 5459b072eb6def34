"""Fusion weights and threshold from histograms against those from the pooled scores themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from federated.histograms import (
    Spread,
    Told,
    bound,
    fused_scores,
    middles,
    search,
    tell,
    understood,
    understood_spread,
)
from scripts.fusion import fuse, search_threshold, search_weights, simplex
from scripts.stats.metrics import brier
from scripts.stats.roc import auc
from tests.federated.hospitals import even_edges


def site(seed: int, children: int = 24) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Branch scores (N, 2) and labels of one site; the second branch is the better one."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(children) % 3 == 0).astype(np.int64)
    shift = np.stack([0.5 * labels, 1.5 * labels], axis=1)
    return 1 / (1 + np.exp(-(shift - 0.7 + generator.normal(0, 1, (children, 2))))), labels


def counted(scores: NDArray[np.float64], labels: NDArray[np.int64], *, bins: int) -> Told:
    return tell(scores, labels, even_edges(scores.shape[1], bins))


def counted_fused(scores: NDArray[np.float64], labels: NDArray[np.int64], *, bins: int) -> Told:
    return counted(fused_scores(scores), labels, bins=bins)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=2, max_size=40),
    st.integers(2, 30),
)
def test_the_auc_of_a_histogram_is_never_farther_off_than_the_bound(cases: list[tuple[float, int]], bins: int) -> None:
    scores, labels = np.array([case[0] for case in cases]), np.array([case[1] for case in cases])
    if len(set(labels.tolist())) < 2:
        return
    counts = counted(scores[:, None], labels, bins=bins).counts[0]
    exact = auc(labels, scores)
    assert abs(auc(*middles(counts)) - exact) <= bound(counts) + 1e-12


def test_the_bound_is_reached_where_every_pair_in_a_bin_is_in_order() -> None:
    labels, scores = np.array([0, 0, 1, 1]), np.array([0.11, 0.12, 0.18, 0.19])
    counts = counted(scores[:, None], labels, bins=10).counts[0]
    assert auc(labels, scores) == 1 and auc(*middles(counts)) == 0.5 and bound(counts) == 0.5


def test_the_sum_over_sites_is_the_histogram_of_all_their_children() -> None:
    parts = [site(seed) for seed in range(3)]
    together = counted(np.concatenate([s for s, _ in parts]), np.concatenate([y for _, y in parts]), bins=20)
    first, second, third = (counted(*part, bins=20) for part in parts)
    summed = first + second + third
    assert (summed.counts == together.counts).all()
    np.testing.assert_allclose(summed.squared_error, together.squared_error, rtol=1e-12)


@pytest.mark.parametrize("bins", [20, 50, 200])
def test_federated_weights_are_as_good_as_the_pooled_search_within_the_bound(bins: int) -> None:
    parts = [site(seed) for seed in range(3)]
    scores, labels = np.concatenate([s for s, _ in parts]), np.concatenate([y for _, y in parts])
    pooled = search_weights(scores, labels)
    told = [(counted_fused(*part, bins=bins), counted(*part, bins=bins)) for part in parts]
    found = search(told[0][0] + told[1][0] + told[2][0], told[0][1] + told[1][1] + told[2][1], even_edges(9, bins))
    exact = auc(labels, fuse(scores, found.weights))
    best = [one.weights for one in pooled.table].index(pooled.weights)
    worst = found.auc_bound + bound((told[0][0] + told[1][0] + told[2][0]).counts[best])
    assert abs(found.auc - exact) <= found.auc_bound
    assert exact >= pooled.auc - worst - 1e-12
    assert found.brier == pytest.approx(brier(labels, fuse(scores, found.weights)), abs=1e-12)  # the sums are exact
    for own, limit, column in zip(found.branch_auc, found.branch_auc_bound, scores.T, strict=True):
        assert abs(own - auc(labels, column)) <= limit


def test_with_fine_bins_the_federated_search_finds_what_the_pooled_one_finds() -> None:
    parts = [site(seed) for seed in range(3)]
    scores, labels = np.concatenate([s for s, _ in parts]), np.concatenate([y for _, y in parts])
    pooled = search_weights(scores, labels)
    told = [(counted_fused(*part, bins=1_000_000), counted(*part, bins=1_000_000)) for part in parts]
    found = search(told[0][0] + told[1][0] + told[2][0], told[0][1] + told[1][1] + told[2][1], even_edges(9, 1_000_000))
    threshold = search_threshold(fuse(scores, pooled.weights), labels)
    assert found.weights == pooled.weights and found.auc == pooled.auc and found.auc_bound == 0
    assert found.threshold == pytest.approx(threshold.threshold, abs=2e-6)  # half a bin at either side
    assert found.youden == pytest.approx(threshold.youden)


@pytest.mark.parametrize("bins", [5, 13, 50])
def test_the_threshold_decides_on_the_true_scores_as_it_says(bins: int) -> None:
    scores, labels = site(7, children=60)
    edges = even_edges(9, bins)
    found = search(counted_fused(scores, labels, bins=bins), counted(scores, labels, bins=bins), edges)
    fused = fuse(scores, found.weights)
    assert (fused[labels == 1] >= found.threshold).mean() == pytest.approx(found.sensitivity)
    assert (fused[labels == 0] < found.threshold).mean() == pytest.approx(found.specificity)


def test_candidates_are_in_the_order_of_the_grid() -> None:
    scores, labels = site(3)
    told = counted_fused(scores, labels, bins=10)
    assert len(told.counts) == len(simplex(2))
    last = counted(fuse(scores, simplex(2)[-1])[:, None], labels, bins=10)
    assert (told.counts[-1] == last.counts[0]).all()


def test_scores_of_zero_and_one_and_on_an_edge_have_their_bin() -> None:
    counts = counted(np.array([[0.0], [0.2], [1.0]]), np.array([0, 0, 1]), bins=5).counts[0]
    assert counts.tolist() == [[1, 1, 0, 0, 0], [0, 0, 0, 0, 1]]


def test_histograms_that_are_none_or_of_other_children_are_not_used() -> None:
    scores, labels = site(1)
    good = counted(scores, labels, bins=10).to_message()
    children = (int((labels == 0).sum()), int((labels == 1).sum()))
    assert not isinstance(understood(good, rows=2, bins=10, children=children), str)
    assert "other children" in str(understood(good, rows=2, bins=10, children=(1, 1)))
    assert "not of counts" in str(understood(good, rows=9, bins=10, children=children))
    assert "no histogram" in str(understood(None, rows=2, bins=10, children=children))
    negative = {**good, "counts": (np.array(good["counts"]) - 1).tolist()}
    assert "not of counts" in str(understood(negative, rows=2, bins=10, children=children))
    infinite = {**good, "log_loss": [float("inf"), 0.0]}
    assert "finite" in str(understood(infinite, rows=2, bins=10, children=children))


def test_bins_are_laid_where_the_scores_of_all_sites_lie() -> None:
    """Scores of a young network, which bins over [0, 1] cannot tell apart."""
    parts = [(0.48 + 0.001 * scores, labels) for scores, labels in map(site, range(3))]
    scores, labels = np.concatenate([s for s, _ in parts]), np.concatenate([y for _, y in parts])
    first, second, third = (Spread.of(s) for s, _ in parts)
    edges = (first + second + third).edges(50)
    assert edges.shape == (2, 51) and (np.diff(edges) > 0).all()
    np.testing.assert_allclose(edges.mean(axis=1), scores.mean(axis=0), rtol=1e-9)
    told = [tell(s, y, edges) for s, y in parts]
    summed = told[0] + told[1] + told[2]
    for counts, column in zip(summed.counts, scores.T, strict=True):
        assert abs(auc(*middles(counts)) - auc(labels, column)) <= bound(counts) < 0.1
    assert all(bound(counts) > 0.4 for counts in counted(scores, labels, bins=50).counts)


def test_a_few_scores_far_out_do_not_hide_the_others_order() -> None:
    scores, labels = site(5, children=60)
    scores[:2] *= 100  # no longer scores, which a histogram does not care for: two children far out
    edges = Spread.of(scores[:, :1]).edges(50)
    uneven = tell(scores[:, :1], labels, edges).counts[0]
    even = tell(scores[:, :1], labels, np.linspace(edges[0, 0], edges[0, -1], 51)[None]).counts[0]
    assert bound(uneven) < 0.2 < 0.35 < bound(even)


@pytest.mark.parametrize("bins", [7, 50])
def test_the_threshold_over_any_bins_decides_on_the_true_scores_as_it_says(bins: int) -> None:
    for seed in range(10):
        scores, labels = site(seed, children=60)
        scores = 0.48 + 0.001 * scores
        fused = fused_scores(scores)
        edges = Spread.of(fused).edges(bins)
        found = search(tell(fused, labels, edges), counted(scores, labels, bins=bins), edges)
        exact = fuse(scores, found.weights)
        assert (exact[labels == 1] >= found.threshold).mean() == pytest.approx(found.sensitivity)
        assert (exact[labels == 0] < found.threshold).mean() == pytest.approx(found.specificity)
        assert found.youden > 0


def test_equal_scores_have_bins_and_fill_one_of_them() -> None:
    scores = np.full((6, 1), 0.5)
    edges = Spread.of(scores).edges(10)
    assert edges[0, 0] < 0.5 < edges[0, -1]
    counts = tell(scores, np.arange(6) % 2, edges).counts[0]
    assert (counts.max(axis=1) == 3).all()


def test_sums_that_cannot_be_those_of_the_children_are_not_used() -> None:
    scores, labels = site(1)
    good = Spread.of(scores).to_message()
    assert isinstance(understood_spread(good, rows=2, number=labels.size), Spread)
    for wrong in (
        {**good, "number": 3},
        {**good, "total": [1.0]},
        {**good, "total": [np.nan, 1.0]},
        {**good, "squares": [99, 1]},
    ):
        assert "cannot be those" in str(understood_spread(wrong, rows=2, number=labels.size))
    assert "nothing about its scores" in str(understood_spread(None, rows=2, number=labels.size))
