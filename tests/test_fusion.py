"""Search of the fusion weights and of the threshold: the grid, the tie rules, and what must not change the result."""

from __future__ import annotations

import json
import math
from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from scripts import fusion
from scripts.errors import InputError
from scripts.fusion import ThresholdSearch, fuse, search_threshold, search_weights, simplex
from scripts.stats.metrics import brier
from scripts.stats.roc import auc


def validation_split(
    seed: int, *, modalities: int = 2, decimals: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Nine cases as in the paper (4 controlled, 5 not); coarse scores, so that AUCs are often tied."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.r_[np.ones(4, int), np.zeros(5, int)])
    scores = np.clip(generator.normal(0.4 + 0.2 * labels[:, None], 0.25, size=(9, modalities)), 0, 1)
    return scores.round(decimals), labels


def test_two_modalities_have_the_papers_nine_pairs() -> None:
    grid = simplex(2)
    assert grid.tolist() == [[k / 10, (10 - k) / 10] for k in range(1, 10)]


@pytest.mark.parametrize(("modalities", "step", "number"), [(1, 0.1, 1), (3, 0.1, 36), (4, 0.1, 84), (2, 0.05, 19)])
def test_grid_holds_every_vector_once_with_sum_1(modalities: int, step: float, number: int) -> None:
    grid = simplex(modalities, step)
    assert grid.shape == (number, modalities)
    assert len({tuple(row) for row in grid.tolist()}) == number
    assert grid.min() >= step - 1e-12
    steps = round(1 / step)
    assert (np.rint(grid * steps).sum(axis=1) == steps).all()
    assert {math.fsum(row) for row in grid.tolist()} == {1.0}


@pytest.mark.parametrize(("modalities", "step"), [(0, 0.1), (11, 0.1), (2, 0.3), (2, 0), (2, -0.1)])
def test_grid_that_does_not_exist_is_refused(modalities: int, step: float) -> None:
    with pytest.raises(InputError, match=f"{modalities} modalities with step {step}"):
        simplex(modalities, step)


def test_the_grid_of_as_many_steps_as_modalities_is_one_vector() -> None:
    assert simplex(10, 0.1).tolist() == [[0.1] * 10]
    assert simplex(2, 0.5).tolist() == [[0.5, 0.5]]


def test_grid_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"4 modalities with step 0\.001 have 165668499 weight vectors"):
        simplex(4, 0.001)
    monkeypatch.setattr(fusion, "_MOST", 9)
    assert len(simplex(2, 0.1)) == 9, "as many as may be"
    monkeypatch.setattr(fusion, "_MOST", 8)
    with pytest.raises(InputError, match="have 9 weight vectors; expected no more than 8"):
        simplex(2, 0.1)


def test_fused_score_is_the_weighted_sum() -> None:
    assert fuse([[0.2, 0.8], [1.0, 0.0]], [0.4, 0.6]) == pytest.approx([0.56, 0.4], abs=1e-15)


@pytest.mark.parametrize(
    ("scores", "weights", "message"),
    [
        ([[0.2, 0.8]], [1.0], "weights are"),
        ([[0.2, 0.8]], [0.4, 0.7], "weights are"),
        ([[0.2, 0.8]], [-0.2, 1.2], "weights are"),
        ([0.2, 0.8], [0.4, 0.6], r"shape \(2,\)"),
        ([[0.2, math.nan]], [0.4, 0.6], r"\[0, 1\]"),
        (np.empty((0, 2)), [0.4, 0.6], r"shape \(0, 2\)"),
    ],
)
def test_what_cannot_be_fused_is_refused(scores: object, weights: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fuse(np.array(scores), weights)


def test_search_finds_the_highest_auc_on_the_grid() -> None:
    for seed in range(20):
        scores, labels = validation_split(seed)
        found = search_weights(scores, labels)
        tried = [auc(labels, fuse(scores, weights)) for weights in simplex(2)]
        assert found.auc == max(tried)
        assert [row.auc for row in found.table] == tried
        assert found.auc == auc(labels, fuse(scores, found.weights))
        assert found.brier == brier(labels, fuse(scores, found.weights))
        assert found.branch_auc == (auc(labels, scores[:, 0]), auc(labels, scores[:, 1]))


def test_equal_auc_goes_to_the_lower_brier_score() -> None:
    # Both columns separate the classes; the second is nearer to the labels, so that all weight but one step goes there.
    labels = [1, 1, 0, 0]
    scores = [[0.6, 0.9], [0.6, 0.9], [0.4, 0.1], [0.4, 0.1]]
    found = search_weights(scores, labels)
    assert {row.auc for row in found.table} == {1.0}
    assert found.weights == (0.1, 0.9)


def test_equal_auc_and_brier_go_to_the_most_equal_weights() -> None:
    column = [0.9, 0.3, 0.6, 0.1]
    found = search_weights(np.column_stack([column, column]), [1, 1, 0, 0])
    assert len({row.auc for row in found.table}) == 1
    assert found.weights == (0.5, 0.5)


def test_equally_unequal_weights_go_to_the_better_modality() -> None:
    # Three modalities in quarters: (2, 1, 1), (1, 2, 1), (1, 1, 2) are equally far from equal. With the first two the
    # controlled have the same fused scores in another order: AUC 1 and Brier score are tied (exactly: dyadic numbers);
    # the third has a higher Brier score. Of its own the first column separates the classes and the second does not.
    first = [0.75, 0.4375, 0.5, 0.40625, 0.25]
    second = [0.375, 0.625, 0.6875, 0.40625, 0.25]
    constant = [0.5] * 5
    labels = [1, 1, 1, 0, 0]
    found = search_weights(np.column_stack([first, second, constant]), labels, step=0.25)
    tied = [row for row in found.table if (row.auc, row.brier) == (found.auc, found.brier)]
    assert {row.weights for row in tied} == {(0.5, 0.25, 0.25), (0.25, 0.5, 0.25)}
    assert found.branch_auc[0] > found.branch_auc[1]
    assert found.weights == (0.5, 0.25, 0.25)
    assert search_weights(np.column_stack([second, constant, first]), labels, step=0.25).weights == (0.25, 0.25, 0.5)


def test_one_modality_has_weight_1() -> None:
    scores, labels = validation_split(0, modalities=1)
    found = search_weights(scores, labels)
    assert found.weights == (1.0,)
    assert found.auc == auc(labels, scores[:, 0])


@pytest.mark.parametrize("modalities", [2, 3])
def test_permuted_modalities_give_permuted_weights(modalities: int) -> None:
    for seed in range(6):
        scores, labels = validation_split(seed, modalities=modalities)
        found = search_weights(scores, labels)
        for order in permutations(range(modalities)):
            again = search_weights(scores[:, order], labels)
            assert again.weights == tuple(found.weights[i] for i in order), (seed, order)
            assert (again.auc, again.brier) == (found.auc, found.brier)


def test_permuted_cases_give_the_same_weights_and_threshold() -> None:
    for seed in range(10):
        scores, labels = validation_split(seed, modalities=3)
        order = np.random.default_rng(seed).permutation(len(labels))
        found = search_weights(scores, labels)
        assert search_weights(scores[order], labels[order]) == found
        fused = fuse(scores, found.weights)
        assert search_threshold(fused[order], labels[order]) == search_threshold(fused, labels)


def test_columns_that_nothing_tells_apart_give_a_stated_result() -> None:
    # Exchanging the columns maps the cohort onto itself, and the equal weights are not on this grid.
    scores = np.array([[0.75, 0.5], [0.5, 0.75], [0.25, 0.5], [0.5, 0.25]])
    assert search_weights(scores, [1, 1, 0, 0], step=1 / 3).weights == (2 / 3, 1 / 3)


def test_search_is_written_as_json() -> None:
    scores, labels = validation_split(0)
    read = json.loads(json.dumps(search_weights(scores, labels).to_dict(), allow_nan=False))
    assert len(read["table"]) == 9
    assert set(read["table"][0]) == {"weights", "auc", "brier"}
    assert set(read) == {"weights", "auc", "brier", "branch_auc", "table"}
    assert json.dumps(search_threshold(scores[:, 0], labels).to_dict(), allow_nan=False)


def test_threshold_separates_what_can_be_separated() -> None:
    found = search_threshold([0.9, 0.7, 0.3, 0.1], [1, 1, 0, 0])
    assert (found.threshold, found.youden, found.sensitivity, found.specificity) == (0.5, 1.0, 1.0, 1.0)
    assert found.gap == pytest.approx(0.4)


def test_threshold_has_the_highest_youden_index_of_all_midpoints() -> None:
    for seed in range(30):
        scores, labels = validation_split(seed, decimals=2)
        column = scores[:, 0]
        distinct = np.unique(column)
        indices = []
        for threshold in (distinct[1:] + distinct[:-1]) / 2:
            called = column >= threshold
            indices.append(called[labels == 1].mean() + (~called)[labels == 0].mean() - 1)
        found = search_threshold(column, labels)
        assert found.youden == pytest.approx(max(indices))
        assert found.sensitivity + found.specificity - 1 == pytest.approx(found.youden)
        assert (column >= found.threshold)[labels == 1].mean() == found.sensitivity


def test_equal_youden_index_goes_to_the_widest_gap() -> None:
    # J = 1/2 between 0.1 and 0.2 and between 0.4 and 0.8, 0 in the middle.
    assert search_threshold([0.1, 0.2, 0.4, 0.8], [0, 1, 0, 1]).threshold == pytest.approx(0.6)
    assert search_threshold([0.1, 0.6, 0.7, 0.8], [0, 1, 0, 1]).threshold == pytest.approx(0.35)
    # J = 1/2 twice again, and the wider gap is the one that is farther from 0.5.
    assert search_threshold([0.02, 0.3, 0.45, 0.55], [0, 1, 0, 1]).threshold == pytest.approx(0.16)


def test_equal_gaps_go_to_the_threshold_nearest_to_a_half_then_to_the_lower() -> None:
    # Gaps of 0.1 that differ in the last digit of their float64: a tie all the same.
    assert search_threshold([0.3, 0.4, 0.5, 0.6], [0, 1, 0, 1]).threshold == pytest.approx(0.55)
    assert search_threshold([0.25, 0.375, 0.625, 0.75], [0, 1, 0, 1]).threshold == 0.3125


@pytest.mark.parametrize(("score", "called"), [(0.3, 0.0), (0.5, 1.0), (0.9, 1.0)])
def test_equal_scores_say_nothing_about_a_threshold(score: float, called: float) -> None:
    found = search_threshold([score] * 3, [1, 0, 1])
    assert found == ThresholdSearch(0.5, 0.0, sensitivity=called, specificity=1 - called, gap=0.0)


def test_threshold_between_neighbouring_floats_still_separates_them() -> None:
    low = 0.5
    high = math.nextafter(low, 1)
    found = search_threshold([high, low], [1, 0])
    assert low < found.threshold <= high
    assert found.youden == 1.0


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([[0.5, 0.2], [0.1, math.nan]], [1, 0], "not finite"),
        ([[0.5, 0.2], [0.1, 0.3]], [1, 1], "all 2 labels are 1"),
        ([[0.5, 0.2], [0.1, 0.3]], [1, 3], "labels hold 3"),
        ([[0.5, 0.2], [0.1, 0.3]], [1, 0, 0], "labels have shape"),
        ([[0.5, 0.2], [0.1, 4.0]], [1, 0], "scores hold 4.0"),
        ([0.5, 0.2], [1, 0], "scores have shape"),
    ],
)
def test_search_refuses_what_is_no_validation_split(scores: list[float], labels: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        search_weights(scores, labels)


def test_threshold_needs_both_classes() -> None:
    with pytest.raises(InputError, match="both classes"):
        search_threshold([0.5, 0.2], [0, 0])
