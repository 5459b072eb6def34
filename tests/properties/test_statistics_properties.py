"""What the statistics must hold for any labels, scores and decisions, drawn anew by hypothesis from one seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from scripts.likeness.rank import Rank
from scripts.stats.comparison import delong_covariance, delong_test, holm, mcnemar
from scripts.stats.decisions import wilson
from scripts.stats.metrics import brier_interval, classification_metrics
from scripts.stats.roc import auc, auc_interval, concordance, delong_variance, roc_curve
from scripts.stats.temperature import calibrated

GRID = st.integers(0, 20).map(lambda step: step / 20)  # few values: many ties
SCORE = st.one_of(GRID, st.floats(0, 1))


@st.composite
def cases(draw: st.DrawFn, columns: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N,) with both classes, scores (N, columns) in [0, 1]."""
    size = draw(st.integers(2, 24))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=size, max_size=size)))
    assume(0 < labels.sum() < size)
    rows = draw(st.lists(st.lists(SCORE, min_size=columns, max_size=columns), min_size=size, max_size=size))
    return labels, np.array(rows, dtype=float)


@given(cases())
def test_the_auc_is_the_share_of_pairs_in_the_right_order(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn[0], drawn[1][:, 0]
    pairs = [(a > b) + (a == b) / 2 for a in scores[labels == 1] for b in scores[labels == 0]]
    assert auc(labels, scores) == pytest.approx(np.mean(pairs), abs=1e-12)
    assert auc(1 - labels, scores) == pytest.approx(1 - auc(labels, scores), abs=1e-12)


@given(cases(), st.randoms(use_true_random=False))
def test_neither_order_nor_a_rising_change_of_the_scores_matters(
    drawn: tuple[np.ndarray, np.ndarray], random: object
) -> None:
    labels, scores = drawn[0], drawn[1][:, 0]
    ranks = stats.rankdata(scores)
    order = list(range(len(labels)))
    random.shuffle(order)  # type: ignore[attr-defined]
    for said in (auc, delong_variance, concordance):
        expected = said(labels, scores)
        for found in (said(labels[order], scores[order]), said(labels, ranks**3)):
            assert found == expected or (math.isnan(found) and math.isnan(expected))


@given(cases(), st.floats(0.5, 0.98))
def test_intervals_hold_the_estimate_and_widen_with_the_level(
    drawn: tuple[np.ndarray, np.ndarray], level: float
) -> None:
    labels, scores = drawn[0], drawn[1][:, 0]
    area = auc(labels, scores)
    low, high = auc_interval(labels, scores, level=level)
    lower, higher = auc_interval(labels, scores, level=level + 0.01)
    assert 0 <= lower <= low <= area <= high <= higher <= 1
    metrics = classification_metrics(labels, scores, threshold=0.5, level=level)
    for name, interval in metrics.intervals.items():
        if interval is not None:
            assert 0 <= interval[0] <= getattr(metrics, name) + 1e-12, name
            assert getattr(metrics, name) - 1e-12 <= interval[1] <= 1, name
    if (narrow := brier_interval(labels, scores, level=level)) is not None:
        wide = brier_interval(labels, scores, level=level + 0.01)
        assert wide is not None and wide[0] <= narrow[0] < narrow[1] <= wide[1]


@given(cases())
def test_exchanging_the_classes_exchanges_the_proportions(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn[0], drawn[1][:, 0]
    called = (scores >= 0.5).astype(int)
    one = classification_metrics(labels, scores, decisions=called)
    other = classification_metrics(1 - labels, 1 - scores, decisions=1 - called)
    assert (one.sensitivity, one.specificity, one.ppv, one.npv) == (
        other.specificity,
        other.sensitivity,
        other.npv,
        other.ppv,
    )
    assert one.acc == other.acc and one.brier == pytest.approx(other.brier, abs=1e-12)
    assert one.true_positives + one.false_negatives == one.positives == int(labels.sum())


@given(cases())
def test_the_curve_rises_from_0_to_1_and_its_area_is_the_auc(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn[0], drawn[1][:, 0]
    curve = roc_curve(labels, scores)
    x, y = np.array(curve.false_positive_rate), np.array(curve.true_positive_rate)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert (np.diff(x) >= 0).all() and (np.diff(y) >= 0).all()
    assert np.trapezoid(y, x) == pytest.approx(auc(labels, scores), abs=1e-12)


@given(cases(columns=3))
def test_the_covariance_of_aucs_is_one(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, scores = drawn
    covariance = delong_covariance(labels, scores.T)
    if min(labels.sum(), (1 - labels).sum()) < 2:
        assert np.isnan(covariance).all()
        return
    np.testing.assert_array_equal(covariance, covariance.T)
    assert np.linalg.eigvalsh(covariance).min() >= -1e-12
    variances = [delong_variance(labels, column) for column in scores.T]
    np.testing.assert_allclose(np.diag(covariance), variances, atol=1e-15)


@given(cases(columns=2))
def test_a_paired_test_turns_with_its_models(drawn: tuple[np.ndarray, np.ndarray]) -> None:
    labels, (a, b) = drawn[0], drawn[1].T
    one, other, same = delong_test(labels, a, b), delong_test(labels, b, a), delong_test(labels, a, a)
    assert one.difference == -other.difference == pytest.approx(auc(labels, a) - auc(labels, b), abs=1e-12)
    assert one.p == other.p and (one.p is None or 0 <= one.p <= 1)
    assert same.difference == 0 and same.p in (None, 1.0)
    if one.interval is not None and other.interval is not None:
        assert one.interval == (-other.interval[1], -other.interval[0])
        excludes = not one.interval[0] <= 0 <= one.interval[1]
        assert (one.p is not None and excludes is (one.p < 0.05)) or abs(one.p - 0.05) < 1e-9  # type: ignore[operator]


@given(st.lists(st.tuples(*[st.integers(0, 1)] * 3), min_size=1, max_size=30))
def test_mcnemar_counts_every_case_once_and_turns_with_its_models(rows: list[tuple[int, int, int]]) -> None:
    labels, a, b = np.array(rows).T
    one, other = mcnemar(labels, a, b), mcnemar(labels, b, a)
    assert (one.only_a_correct, one.only_b_correct, one.p) == (other.only_b_correct, other.only_a_correct, other.p)
    assert one.both_correct + one.only_a_correct + one.only_b_correct + one.neither_correct == len(rows)
    assert 0 < one.p <= 1


@given(st.integers(0, 200), st.integers(1, 200), st.floats(0.5, 0.999))
def test_wilson_is_scipys_and_turns_with_the_outcome(successes: int, size: int, level: float) -> None:
    successes = min(successes, size)
    low, high = wilson(successes, size, level=level)
    expected = stats.binomtest(successes, size).proportion_ci(level, method="wilson")
    assert (low, high) == pytest.approx((max(expected.low, 0), min(expected.high, 1)), abs=1e-9)
    turned = wilson(size - successes, size, level=level)
    assert turned == pytest.approx((1 - high, 1 - low), abs=1e-12)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(pvalues: list[float | None]) -> None:
    adjusted = holm(pvalues)
    given_p = [p for p in pvalues if p is not None]
    pairs = [(p, q) for p, q in zip(pvalues, adjusted, strict=True) if p is not None and q is not None]
    assert [q is None for q in adjusted] == [p is None for p in pvalues]
    assert all(p <= q + 1e-15 and q <= 1 for p, q in pairs)
    assert all(q <= r for (p, q) in pairs for (s, r) in pairs if p < s)
    if given_p:  # the smallest is Bonferroni's
        assert min(q for _, q in pairs) == pytest.approx(min(1, len(given_p) * min(given_p)), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0.05, 20))
def test_a_temperature_keeps_order_side_and_symmetry(scores: list[float], temperature: float) -> None:
    s = np.sort(np.array(scores))
    p = calibrated(s, temperature)
    assert (np.diff(p) >= 0).all() and ((p >= 0) & (p <= 1)).all()
    np.testing.assert_array_equal(p >= 0.5, np.round(s, 15) >= 0.5)
    np.testing.assert_allclose(calibrated(1 - s, temperature), 1 - p, atol=1e-6)
    np.testing.assert_allclose(calibrated(s, 1.0), np.clip(s, 1e-7, 1 - 1e-7), atol=1e-6)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=300), st.floats(-1, 101))
def test_a_rank_flags_what_its_p_says_and_is_valid_on_its_own_cases(scores: list[float], score: float) -> None:
    rank = Rank.of(scores)
    p = rank.p(score)
    assert 1 / (len(scores) + 1) <= p <= 1
    assert rank.flags(score) is (p <= rank.rate + 1e-9)
    assert rank.p(score + 1) <= p
    flagged = sum(rank.flags(own) for own in rank.scores)
    assert flagged <= rank.rate * (len(scores) + 1)
