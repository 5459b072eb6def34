"""What fusion, its search and the split must hold for any branches, weights and cohorts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scripts.bids import Case
from scripts.fusion import fuse, search_threshold, search_weights, simplex
from scripts.split import count, split
from scripts.stats.roc import auc, concordance

SCORE = st.one_of(st.integers(0, 10).map(lambda step: step / 10), st.floats(0, 1))


@st.composite
def branches(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) with both classes, scores (N, M) of one to three modalities."""
    size, modalities = draw(st.integers(2, 12)), draw(st.integers(1, 3))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    assume(0 < labels.sum() < size)
    row = st.lists(SCORE, min_size=modalities, max_size=modalities)
    return labels, np.array(draw(st.lists(row, min_size=size, max_size=size)), dtype=float)


@given(branches(), st.data())
def test_a_fused_score_lies_between_its_branches_and_turns_with_them(
    drawn: tuple[np.ndarray, np.ndarray], data: st.DataObject
) -> None:
    scores = drawn[1]
    weights = data.draw(st.sampled_from(simplex(scores.shape[1]).tolist()))
    order = data.draw(st.permutations(range(scores.shape[1])))
    fused = fuse(scores, weights)
    assert (fused >= scores.min(axis=1) - 1e-15).all() and (fused <= scores.max(axis=1) + 1e-15).all()
    np.testing.assert_array_equal(fuse(scores[:, order], np.array(weights)[order]), fused)
    for column in range(scores.shape[1]):
        np.testing.assert_array_equal(fuse(scores, np.eye(scores.shape[1])[column]), scores[:, column])


@given(branches())
def test_no_weights_on_the_grid_are_better_than_those_found(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn
    found = search_weights(scores, labels)
    pairs = {
        tuple(weights): concordance(labels, fuse(scores, weights)) for weights in simplex(scores.shape[1]).tolist()
    }
    assert pairs[found.weights] == max(pairs.values())
    assert found.auc == pytest.approx(auc(labels, fuse(scores, found.weights)), abs=1e-15)
    assert sum(found.weights) == pytest.approx(1, abs=1e-12) and min(found.weights) > 0
    best = [one for one in found.table if one.auc == found.auc]
    assert found.brier == min(one.brier for one in best)


@given(branches(), st.randoms(use_true_random=False))
def test_the_order_of_the_cases_does_not_matter(drawn: tuple[np.ndarray, np.ndarray], random: object) -> None:
    labels, scores = drawn
    order = list(range(len(labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert search_weights(scores[order], labels[order]) == search_weights(scores, labels)
    assert search_threshold(scores[order, 0], labels[order]) == search_threshold(scores[:, 0], labels)


@given(branches())
def test_no_threshold_is_better_than_the_one_found(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn[0], drawn[1][:, 0]

    def youden(threshold: float) -> float:
        called = scores >= threshold
        return float(called[labels == 1].mean() + (~called)[labels == 0].mean() - 1)

    found = search_threshold(scores, labels)
    # The candidates cut the cases in two: "all" and "none" say the same as chance, J = 0.
    cuts = np.unique(scores)[1:]
    assert found.youden == pytest.approx(max(map(youden, cuts), default=0.0), abs=1e-12)
    assert youden(found.threshold) == pytest.approx(found.youden, abs=1e-12) or len(cuts) == 0
    assert found.sensitivity + found.specificity - 1 == pytest.approx(found.youden, abs=1e-12)


@given(st.integers(10, 120), st.integers(10, 120), st.integers(0, 2**31))
def test_a_split_loses_nobody_and_keeps_the_share_of_outcomes(controlled: int, uncontrolled: int, seed: int) -> None:
    labels = [1] * controlled + [0] * uncontrolled
    cases: list[Case] = [
        {
            "case": f"sub-{number}",
            "subject": f"sub-{number}",
            "label": label,
            "flair": f"{number}-f",
            "t2w": f"{number}-t",
        }
        for number, label in enumerate(labels)
    ]
    parts = split(cases, seed=seed)
    names = [case["case"] for part in parts.values() for case in part]
    assert sorted(names) == sorted(case["case"] for case in cases)
    for part in parts.values():
        found = count(part)
        expected = controlled * len(part) / len(cases)
        assert abs(found[1] - expected) < 1
