"""AUC, its interval, proportions and metrics: against scikit-learn, SciPy and the definitions."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import metrics as sklearn_metrics

from scripts.errors import InputError
from scripts.stats.decisions import decision_metrics, wilson
from scripts.stats.metrics import brier_interval, classification_metrics
from scripts.stats.roc import auc, auc_interval, concordance, delong_variance, roc_curve

Cohort = tuple[NDArray[np.int64], NDArray[np.float64]]


def cohorts(number: int, *, seed: int = 0, decimals: int = 1) -> list[Cohort]:
    """Random cohorts with both classes; scores with one decimal, so that most are tied with another."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        m, n = generator.integers(2, 15, size=2)
        labels = generator.permutation(np.r_[np.ones(m, int), np.zeros(n, int)])
        scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.25), 0, 1).round(decimals)
        made.append((labels, scores))
    return made


def delong_by_definition(labels: NDArray[np.int64], scores: NDArray[np.float64]) -> float:
    positive, negative = scores[labels == 1], scores[labels == 0]
    kernel = np.array([[1.0 if x > y else 0.5 if x == y else 0.0 for y in negative] for x in positive])
    v10, v01 = kernel.mean(axis=1), kernel.mean(axis=0)
    return float(v10.var(ddof=1) / len(positive) + v01.var(ddof=1) / len(negative))


def test_auc_is_scikit_learns_with_and_without_ties() -> None:
    for labels, scores in cohorts(50) + cohorts(50, seed=1, decimals=9):
        assert auc(labels, scores) == pytest.approx(sklearn_metrics.roc_auc_score(labels, scores), abs=1e-12)


def test_concordance_counts_pairs_and_ties_in_whole_numbers() -> None:
    assert concordance([1, 1, 0, 0], [0.9, 0.4, 0.4, 0.1]) == 2 + 2 + 1 + 2
    assert isinstance(concordance([1, 0], [0.5, 0.5]), int)


def test_auc_does_not_depend_on_the_scale_of_the_scores_and_turns_with_the_labels() -> None:
    for labels, scores in cohorts(20):
        assert auc(labels, np.exp(3 * scores)) == auc(labels, scores)
        assert auc(1 - labels, scores) == pytest.approx(1 - auc(labels, scores), abs=1e-12)


def test_delong_variance_is_that_of_the_definition_over_all_pairs() -> None:
    for labels, scores in cohorts(50) + cohorts(50, seed=1, decimals=9):
        assert delong_variance(labels, scores) == pytest.approx(delong_by_definition(labels, scores), abs=1e-14)


def test_delong_variance_is_not_a_number_with_one_case_in_a_class() -> None:
    assert math.isnan(delong_variance([1, 0, 0], [0.5, 0.4, 0.6]))


def test_delong_variance_is_zero_only_for_separation_or_equal_scores() -> None:
    # auc_interval relies on this to choose its second formula.
    for labels, scores in cohorts(300, seed=2):
        degenerate = auc(labels, scores) in (0.0, 1.0) or np.ptp(scores) == 0
        assert (delong_by_definition(labels, scores) < 1e-15) == degenerate


def test_auc_interval_is_delongs_on_the_logit_scale() -> None:
    labels, scores = [1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.3, 0.4, 0.2, 0.1]
    area, variance = 8 / 9, delong_by_definition(np.array(labels), np.array(scores))
    half = 1.959963984540054 * math.sqrt(variance) / (area * (1 - area))
    expected = [1 / (1 + math.exp(-(math.log(area / (1 - area)) + sign * half))) for sign in (-1, 1)]
    assert auc_interval(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_auc_interval_lies_in_0_to_1_around_the_auc_and_widens_with_the_level() -> None:
    for labels, scores in cohorts(100):
        (low, high), (lower, higher) = auc_interval(labels, scores), auc_interval(labels, scores, level=0.99)
        assert 0 <= lower <= low <= auc(labels, scores) <= high <= higher <= 1
        assert higher - lower > high - low > 0


def test_perfect_separation_gives_no_certainty() -> None:
    labels = [1] * 8 + [0] * 11
    bound = 0.025 ** (1 / 8)
    assert auc_interval(labels, labels) == pytest.approx((bound, 1), abs=1e-12)
    assert auc_interval(labels, [1 - x for x in labels]) == pytest.approx((0, 1 - bound), abs=1e-12)


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5]), ([1, 0, 0, 0], [0.5, 0.1, 0.6, 0.2]), ([1, 0], [0.2, 0.2])],
    ids=["equal scores", "one controlled", "one of each"],
)
def test_what_has_no_variance_has_a_wide_interval(labels: list[int], scores: list[float]) -> None:
    low, high = auc_interval(labels, scores)
    assert 0 < low < auc(labels, scores) < high < 1
    assert high - low > 0.8


def test_auc_interval_covers_the_truth() -> None:
    # Binormal scores, 20 and 30 cases. With 400 cohorts 0.95 has a standard error of 0.011: 0.92 is 2.7 of them off.
    generator = np.random.default_rng(0)
    labels = np.r_[np.ones(20, int), np.zeros(30, int)]
    truth = 0.5 * (1 + math.erf(1.5 / 2))
    intervals = [auc_interval(labels, generator.normal(1.5 * labels)) for _ in range(400)]
    assert 0.92 < np.mean([low <= truth <= high for low, high in intervals]) <= 0.99


def test_wilson_is_scipys() -> None:
    for n in range(1, 25):
        for successes in range(n + 1):
            for level in (0.9, 0.95):
                expected = binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
                assert wilson(successes, n, level=level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_counts_that_are_none(successes: int, n: int) -> None:
    with pytest.raises(InputError, match=f"{successes} successes of {n}"):
        wilson(successes, n)


def test_level_must_be_a_probability() -> None:
    with pytest.raises(InputError, match="level is 95"):
        auc_interval([1, 0], [0.6, 0.4], level=95)


def test_roc_curve_is_scikit_learns_and_its_area_the_auc() -> None:
    for labels, scores in cohorts(30):
        curve = roc_curve(labels, scores)
        expected = sklearn_metrics.roc_curve(labels, scores, drop_intermediate=False)
        assert curve.false_positive_rate == pytest.approx(expected[0])
        assert curve.true_positive_rate == pytest.approx(expected[1])
        assert curve.thresholds[1:] == pytest.approx(expected[2][1:])
        area = np.trapezoid(curve.true_positive_rate, curve.false_positive_rate)
        assert area == pytest.approx(auc(labels, scores))


def test_roc_curve_is_valid_json() -> None:
    text = json.dumps(roc_curve([1, 0], [0.6, 0.4]).to_dict(), allow_nan=False)
    assert json.loads(text)["thresholds"] == [None, 0.6, 0.4]


def test_metrics_of_a_table_counted_by_hand() -> None:
    # 8 controlled, 7 of them at 0.8; 12 uncontrolled, 11 of them at 0.2: the paper's SEN 0.875 and SPE 0.917.
    labels = [1] * 8 + [0] * 12
    scores = [0.8] * 7 + [0.3] + [0.2] * 11 + [0.9]
    found = classification_metrics(labels, scores, threshold=0.5)
    assert (found.n, found.positives) == (20, 8)
    counts = (found.true_positives, found.false_positives, found.true_negatives, found.false_negatives)
    assert counts == (7, 1, 11, 1)
    assert (found.sensitivity, found.specificity) == (7 / 8, 11 / 12)
    assert (found.acc, found.ppv, found.npv) == (18 / 20, 7 / 8, 11 / 12)
    assert found.balanced_accuracy == pytest.approx((7 / 8 + 11 / 12) / 2)
    assert found.brier == pytest.approx((7 * 0.04 + 0.49 + 11 * 0.04 + 0.81) / 20)
    assert found.log_loss == pytest.approx(-(18 * math.log(0.8) + math.log(0.3) + math.log(0.1)) / 20)
    assert found.intervals["sensitivity"] == wilson(7, 8)
    assert found.intervals["acc"] == wilson(18, 20)
    assert found.intervals["auc"] == auc_interval(labels, scores)


def test_metrics_are_scikit_learns() -> None:
    for labels, scores in cohorts(30):
        found = classification_metrics(labels, scores, threshold=0.5)
        called = (scores >= 0.5).astype(int)
        assert found.acc == pytest.approx(sklearn_metrics.accuracy_score(labels, called))
        assert found.balanced_accuracy == pytest.approx(sklearn_metrics.balanced_accuracy_score(labels, called))
        assert found.brier == pytest.approx(sklearn_metrics.brier_score_loss(labels, scores))
        assert found.log_loss == pytest.approx(sklearn_metrics.log_loss(labels, scores), rel=1e-6)


def test_a_score_at_the_threshold_is_controlled() -> None:
    assert classification_metrics([1, 0], [0.5, 0.4], threshold=0.5).true_positives == 1


def test_interval_of_balanced_accuracy_comes_from_its_two_proportions() -> None:
    labels, scores = [1] * 8 + [0] * 12, [0.8] * 7 + [0.3] + [0.2] * 11 + [0.9]
    low, high = classification_metrics(labels, scores, threshold=0.5).intervals["balanced_accuracy"] or (0, 0)
    (l1, u1), (l2, u2), p1, p2 = wilson(7, 8), wilson(11, 12), 7 / 8, 11 / 12
    assert low == pytest.approx((p1 + p2) / 2 - math.sqrt((p1 - l1) ** 2 + (p2 - l2) ** 2) / 2)
    assert high == pytest.approx((p1 + p2) / 2 + math.sqrt((u1 - p1) ** 2 + (u2 - p2) ** 2) / 2)
    assert (l1 + l2) / 2 < low < high < (u1 + u2) / 2  # narrower than if both were at their worst at once


def test_decisions_take_the_place_of_a_threshold() -> None:
    # Two folds with thresholds of their own: 0.4 is called controlled in the first, 0.6 is not in the second.
    labels, scores, thresholds = (
        np.array([1, 0, 1, 0, 1]),
        np.array([0.4, 0.2, 0.6, 0.5, 0.9]),
        np.array([0.3] * 2 + [0.7] * 3),
    )
    found = classification_metrics(labels, scores, decisions=scores >= thresholds)
    assert (found.true_positives, found.false_negatives, found.true_negatives) == (2, 1, 2)
    assert found.threshold is None and found.to_dict()["threshold"] is None
    for labels, scores in cohorts(20):
        by_threshold = classification_metrics(labels, scores, threshold=0.5).to_dict()
        by_decision = classification_metrics(labels, scores, decisions=(scores >= 0.5).astype(int)).to_dict()
        assert {**by_decision, "threshold": 0.5} == by_threshold
        alone = decision_metrics(labels, scores >= 0.5).to_dict()
        assert {name: value for name, value in by_threshold.items() if name in alone and name != "intervals"} == {
            name: value for name, value in alone.items() if name != "intervals"
        }
        assert alone["intervals"].items() <= by_threshold["intervals"].items()


@pytest.mark.parametrize(
    ("threshold", "decisions", "message"),
    [
        (0.5, [1, 0], "both of threshold and decisions"),
        (None, None, "neither of threshold and decisions"),
        (None, [0.5, 0.4], "decisions hold 0.5 at index 0"),
        (None, [1, 0, 1], r"scores \(3,\)"),
    ],
)
def test_either_a_threshold_or_decisions_are_needed(
    threshold: float | None, decisions: list[float] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        classification_metrics([1, 0], [0.6, 0.4], threshold=threshold, decisions=decisions)


def test_brier_interval_is_that_of_the_variance_within_the_classes() -> None:
    labels, scores = [1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.4, 0.1, 0.2, 0.3, 0.6]
    errors = np.array([0.01, 0.04, 0.36]), np.array([0.01, 0.04, 0.09, 0.36])
    mean = (errors[0].sum() + errors[1].sum()) / 7
    half = 2.5705818356363146 * math.sqrt(3 * errors[0].var(ddof=1) + 4 * errors[1].var(ddof=1)) / 7  # t of 5
    expected = [1 / (1 + math.exp(-(math.log(mean / (1 - mean)) + x * half / (mean * (1 - mean))))) for x in (-1, 1)]
    assert brier_interval(labels, scores) == pytest.approx(expected, abs=1e-12)
    assert classification_metrics(labels, scores, threshold=0.5).intervals["brier"] == brier_interval(labels, scores)


def test_brier_interval_lies_in_0_to_1_or_is_none() -> None:
    for labels, scores in cohorts(50):
        interval = brier_interval(labels, scores)
        if interval is not None:
            low, high = interval
            assert 0 < low < np.mean((scores - labels) ** 2) < high < 1
    assert brier_interval([1, 0, 0], [0.9, 0.1, 0.3]) is None  # one controlled
    assert brier_interval([1, 1, 0, 0], [0.5] * 4) is None  # nothing varies
    assert brier_interval([1, 1, 0, 0], [1, 1, 0, 0]) is None


def test_metrics_do_not_depend_on_the_order_of_the_cases() -> None:
    for labels, scores in cohorts(20, decimals=6):
        turned = classification_metrics(labels[::-1], scores[::-1], threshold=0.5)
        assert turned == classification_metrics(labels, scores, threshold=0.5)  # to the last bit


def test_without_a_case_called_controlled_there_is_no_ppv_and_the_json_is_valid() -> None:
    found = classification_metrics([1, 0, 0], [0.1, 0.0, 0.2], threshold=0.5)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["ppv"] is None
    assert read["intervals"]["ppv"] is None
    assert read["npv"] == pytest.approx(2 / 3)
    assert read["intervals"]["npv"] == list(wilson(2, 3))


def test_log_loss_of_a_certain_error_is_finite() -> None:
    assert math.isfinite(classification_metrics([1, 0], [0.0, 1.0], threshold=0.5).log_loss)


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([1, 0], [0.5, math.nan], "scores hold nan at index 1"),
        ([1, 0], [math.inf, 0.2], "scores hold inf at index 0"),
        ([1, 2], [0.5, 0.2], "labels hold 2.0 at index 1"),
        ([0.7, 0.2], [1, 0], "exchanged"),
        ([1, math.nan], [0.5, 0.2], "labels hold nan"),
        ([1, 1], [0.5, 0.2], "all 2 labels are 1"),
        ([], [], r"labels have shape \(0,\)"),
        ([1, 0], [[0.5], [0.2]], r"scores \(2, 1\)"),
        ([1, 0], [0.5, 0.2, 0.1], r"scores \(3,\)"),
        (["controlled", "uncontrolled"], [0.5, 0.2], "labels: could not convert"),
    ],
)
def test_what_is_no_cohort_is_refused_with_its_fault(labels: list[int], scores: list[float], message: str) -> None:
    for function in (auc, auc_interval, delong_variance, roc_curve):
        with pytest.raises(InputError, match=message):
            function(labels, scores)


@pytest.mark.parametrize(
    ("scores", "threshold", "message"),
    [([1.5, 0.2], 0.5, r"1\.5 at index \[0\].*sigmoid"), ([0.5, 0.2], math.nan, "threshold is nan")],
)
def test_metrics_need_probabilities_and_a_threshold(scores: list[float], threshold: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        classification_metrics([1, 0], scores, threshold=threshold)
