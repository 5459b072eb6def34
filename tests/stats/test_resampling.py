"""Nested cross-validation, optimism, redrawn test sets: by hand, on noise, and whatever the order of the rows."""

from __future__ import annotations

import json
import math
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from scripts.errors import InputError
from scripts.fusion import fuse, search_threshold, search_weights
from scripts.stats.draws import bootstrap_counts, stratified_draws, stratified_folds
from scripts.stats.metrics import classification_metrics
from scripts.stats.resampling import (
    METRICS,
    TEST,
    Children,
    in_order,
    nested_cross_validation,
    optimism,
    redraw_splits,
    redraw_test_sets,
)
from scripts.stats.roc import auc


def children(seed: int, *, controlled: int = 39, uncontrolled: int = 56, shift: float = 0.15) -> Children:
    """Branch scores to six digits; with shift 0 pure noise."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.r_[np.ones(controlled, int), np.zeros(uncontrolled, int)])
    branches = np.clip(generator.normal(0.4 + shift * labels[:, None], 0.2, size=(labels.size, 2)), 0, 1).round(6)
    return given(labels, branches)


def given(labels: NDArray[np.int64], branches: NDArray[np.float64]) -> Children:
    fused = branches.mean(axis=1)
    names = [f"sub-{number:03d}" for number in range(len(labels))]
    return in_order(names, labels, branches=branches, fused=fused, decisions=(fused >= 0.45).astype(int))


LABELS = np.r_[np.ones(12, int), np.zeros(18, int)]


def test_folds_hold_each_class_in_equal_parts_and_each_child_once() -> None:
    folds = stratified_folds(LABELS, folds=5, repeats=20, seed=0)
    assert folds.shape == (20, 30)
    for row in folds:
        assert np.bincount(row).tolist() == [6] * 5
        assert sorted(np.bincount(row[LABELS == 1]).tolist()) == [2, 2, 2, 3, 3]
    assert len({tuple(row) for row in folds.tolist()}) == 20


def test_bootstrap_samples_have_the_cohorts_classes() -> None:
    counts = bootstrap_counts(LABELS, draws=50, seed=0)
    assert (counts[:, LABELS == 1].sum(axis=1) == 12).all() and (counts[:, LABELS == 0].sum(axis=1) == 18).all()
    assert counts.max() > 1


def test_draws_are_disjoint_and_of_the_asked_size() -> None:
    test, validation = stratified_draws(LABELS, [(8, 11), (3, 5)], draws=50, seed=0)
    assert (test + validation).max() == 1
    assert (test @ LABELS == 8).all() and (test.sum(axis=1) == 19).all()
    assert (validation @ LABELS == 3).all() and (validation.sum(axis=1) == 8).all()


def test_every_child_is_drawn_equally_often() -> None:
    drawn = stratified_draws(LABELS, [(3, 9)], draws=4000, seed=0)[0].mean(axis=0)
    # 12 draws of 3 and 18 of 9; 4,000 draws have a standard error of 0.008 at the most.
    assert drawn[LABELS == 1] == pytest.approx(0.25, abs=0.035) and drawn[LABELS == 0] == pytest.approx(0.5, abs=0.035)


def test_nested_estimate_is_that_of_a_loop_over_the_folds() -> None:
    cohort = children(1, controlled=14, uncontrolled=17)
    result = nested_cross_validation(cohort, folds=4, repeats=3, seed=5)
    folds = stratified_folds(cohort.labels, folds=4, repeats=3, seed=5)
    for repeat, fold in enumerate(folds):
        scores, called, areas = np.empty(31), np.empty(31), []
        for number in range(4):
            inside, outside = fold != number, fold == number
            weights = search_weights(cohort.branches[inside], cohort.labels[inside]).weights
            fused = fuse(cohort.branches, weights)
            threshold = search_threshold(fused[inside], cohort.labels[inside]).threshold
            scores[outside], called[outside] = fused[outside], fused[outside] >= threshold
            areas.append(auc(cohort.labels[outside], fused[outside]))
            assert tuple(result.weights[4 * repeat + number]) == weights
            assert result.thresholds[4 * repeat + number] == threshold
        expected = classification_metrics(cohort.labels, called, threshold=0.5)
        assert result.pooled["auc"][repeat] == pytest.approx(auc(cohort.labels, scores), abs=1e-12)
        assert result.mean["auc"][repeat] == pytest.approx(np.mean(areas), abs=1e-12)
        for name in METRICS[1:]:
            assert result.pooled[name][repeat] == pytest.approx(getattr(expected, name), abs=1e-12)


def test_apparent_values_are_those_of_the_search_on_all_and_optimism_is_what_is_taken_off() -> None:
    cohort = children(2)
    result = optimism(cohort, draws=50)
    found = search_weights(cohort.branches, cohort.labels)
    fused = fuse(cohort.branches, found.weights)
    threshold = search_threshold(fused, cohort.labels).threshold
    expected = classification_metrics(cohort.labels, fused, threshold=threshold)
    for name in METRICS:
        assert result.apparent[name] == pytest.approx(getattr(expected, name), abs=1e-12)
        assert result.corrected[name] == pytest.approx(result.apparent[name] - result.optimism[name].mean(), abs=1e-12)


def test_on_noise_the_nested_estimate_is_right_and_the_apparent_one_too_good() -> None:
    cohorts = [children(seed, controlled=12, uncontrolled=16, shift=0) for seed in range(120)]
    nested = [nested_cross_validation(cohort, folds=4, repeats=2) for cohort in cohorts]
    apparent = [optimism(cohort, draws=20) for cohort in cohorts]
    for metric in ("auc", "balanced_accuracy"):
        held_out = [result.mean[metric].mean() for result in nested]
        # Three standard errors of 120 cohorts; held-out children are independent of what was found without them.
        assert abs(np.mean(held_out) - 0.5) < 3 * np.std(held_out) / math.sqrt(120)
        seen = [result.apparent[metric] for result in apparent]
        assert np.mean(seen) - 0.5 > 5 * np.std(seen) / math.sqrt(120)
        corrected = [result.corrected[metric] for result in apparent]
        assert abs(np.mean(corrected) - 0.5) < np.mean(seen) - 0.5


def test_redrawn_decisions_follow_the_hypergeometric_distribution() -> None:
    cohort = children(3)
    result = redraw_test_sets(cohort, draws=4000)
    called = int(cohort.called[cohort.labels == 1].sum())
    exact = stats.hypergeom(39, called, TEST[0])
    for right in range(9):
        # 4,000 draws: a standard error of 0.008 at the most.
        assert (result.values["sensitivity"] == right / 8).mean() == pytest.approx(exact.pmf(right), abs=0.032)
    # Over all draws the mean AUC is the cohort's: each pair is drawn equally often.
    assert result.values["auc"].mean() == pytest.approx(auc(cohort.labels, cohort.fused), abs=0.01)


def test_redrawn_values_are_those_of_all_the_test_sets_where_there_are_few() -> None:
    cohort = children(4, controlled=9, uncontrolled=12)
    result = redraw_test_sets(cohort, draws=3000)
    one, none = np.flatnonzero(cohort.labels == 1), np.flatnonzero(cohort.labels == 0)
    possible = []
    for left_one in one:
        for right in combinations(none, 11):
            at = [*one[one != left_one], *right]
            possible.append(auc(cohort.labels[at], cohort.fused[at]))
    assert set(np.round(result.values["auc"], 9)) == set(np.round(possible, 9))
    assert result.share_from("auc", 0.6) == pytest.approx(np.mean(np.array(possible) >= 0.5995), abs=0.03)


def test_redrawn_splits_find_weights_and_threshold_on_their_validation_set() -> None:
    cohort = children(5)
    result = redraw_splits(cohort, draws=20, seed=4)
    test, validation = stratified_draws(cohort.labels, [TEST, (4, 5)], draws=20, seed=4)
    for row in range(20):
        inside, outside = validation[row] == 1, test[row] == 1
        weights = search_weights(cohort.branches[inside], cohort.labels[inside]).weights
        fused = fuse(cohort.branches, weights)
        threshold = search_threshold(fused[inside], cohort.labels[inside]).threshold
        expected = classification_metrics(cohort.labels[outside], fused[outside], threshold=threshold)
        for name in METRICS:
            assert result.values[name][row] == pytest.approx(getattr(expected, name), abs=1e-12)


def test_results_do_not_depend_on_the_order_of_rows_but_on_the_seed() -> None:
    cohort = children(6)
    names = [f"sub-{number:03d}" for number in range(95)]
    order = np.random.default_rng(0).permutation(95)
    turned = in_order(
        [names[at] for at in order],
        cohort.labels[order],
        branches=cohort.branches[order],
        fused=cohort.fused[order],
        decisions=cohort.called[order].astype(int),
    )
    for run in (nested_cross_validation, optimism, redraw_test_sets, redraw_splits):
        size = {"repeats": 5} if run is nested_cross_validation else {"draws": 20}
        assert run(turned, **size).to_dict() == run(cohort, **size).to_dict()
        assert run(cohort, **size, seed=1).to_dict() != run(cohort, **size).to_dict()


def test_equal_scores_give_an_auc_of_one_half_everywhere() -> None:
    cohort = given(np.r_[np.ones(20, int), np.zeros(25, int)], np.full((45, 2), 0.3))
    nested = nested_cross_validation(cohort, repeats=3)
    assert (
        (nested.pooled["auc"] == 0.5).all() and (nested.mean["auc"] == 0.5).all() and (nested.thresholds == 0.5).all()
    )
    corrected = optimism(cohort, draws=10)
    assert corrected.apparent["auc"] == corrected.corrected["auc"] == 0.5
    assert (redraw_splits(cohort, draws=10).values["balanced_accuracy"] == 0.5).all()


def test_too_few_children_are_refused() -> None:
    few = children(0, controlled=4, uncontrolled=30)
    with pytest.raises(InputError, match="5 folds, 200 repeats, 4 children in the smaller class"):
        nested_cross_validation(few)
    with pytest.raises(InputError, match="4 controlled children, 8 a draw"):
        redraw_test_sets(few)
    with pytest.raises(InputError, match="12 controlled children, 12 a draw"):
        redraw_splits(children(0, controlled=12))


def test_faulty_input_is_refused() -> None:
    labels, scores = np.array([1, 0, 1, 0]), np.full((4, 2), 0.5)
    names = ["a", "b", "c", "d"]
    same = {"branches": scores, "fused": scores[:, 0], "decisions": labels}
    with pytest.raises(InputError, match="4 names, 3 of them distinct"):
        in_order(["a", "b", "c", "a"], labels, **same)
    for name, wrong in (("branches", scores[:3]), ("branches", scores[:, 0]), ("fused", scores), ("decisions", [1])):
        with pytest.raises(InputError, match="4 names, 4 of them distinct"):
            in_order(names, labels, **{**same, name: wrong})
    with pytest.raises(InputError, match="finite"):
        in_order(names, labels, **{**same, "branches": np.where(np.eye(4, 2), np.nan, scores)})
    with pytest.raises(InputError, match=r"expected probabilities in \[0, 1\]"):
        in_order(names, labels, **{**same, "fused": scores[:, 0] + 1})
    with pytest.raises(InputError, match="all 4 labels are 1"):
        in_order(names, np.ones(4), **same)


def test_results_are_written_as_json() -> None:
    cohort = children(7)
    for result in (
        nested_cross_validation(cohort, repeats=2),
        optimism(cohort, draws=5),
        redraw_splits(cohort, draws=5),
        redraw_test_sets(cohort, draws=5),
    ):
        assert json.loads(json.dumps(result.to_dict(), allow_nan=False))["seed"] == 0
