"""Widths, sizes and power: by hand, against DeLong's interval, a plain loop and simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.stats.comparison import delong_test
from scripts.stats.precision import (
    _binormal,
    children_for_power,
    children_needed,
    delong_components,
    hanley_mcneil,
    interval_of,
    paired_power,
    split_of,
    within_class_correlation,
)
from scripts.stats.roc import auc, auc_interval, delong_variance

LABELS = np.r_[np.ones(14, int), np.zeros(19, int)]
SCORES = np.random.default_rng(0).normal(LABELS * 1.0).round(1)


def test_hanley_and_mcneils_formula_by_hand() -> None:
    assert hanley_mcneil(0.8)(1, 1) == pytest.approx(0.8 * 0.2, abs=1e-15)
    # A 3/4: Q1 3/5, Q2 9/14; (3/16 + (3/5 - 9/16) + 2 (9/14 - 9/16)) / 6.
    assert hanley_mcneil(0.75)(2, 3) == pytest.approx((3 / 16 + 3 / 80 + 9 / 56) / 6, abs=1e-15)


def test_hanley_and_mcneil_is_right_for_exponential_scores() -> None:
    # Scores of the controlled exponential with a mean 4 times as large: AUC 4/5, and the variance is exact.
    generator = np.random.default_rng(0)
    areas = [
        auc(np.r_[np.ones(8), np.zeros(11)], generator.exponential(np.r_[np.full(8, 4.0), np.ones(11)]))
        for _ in range(3000)
    ]
    assert np.mean(areas) == pytest.approx(0.8, abs=0.006)  # standard error 0.002
    assert np.var(areas) == pytest.approx(hanley_mcneil(0.8)(8, 11), rel=0.1)


def test_delongs_components_give_the_variance_of_the_same_children_and_scale_with_others() -> None:
    components = delong_components(LABELS, SCORES)
    assert components(14, 19) == pytest.approx(delong_variance(LABELS, SCORES), abs=1e-15)
    assert components(28, 38) == pytest.approx(components(14, 19) / 2, abs=1e-15)
    expected = auc_interval(LABELS, SCORES)
    assert interval_of(auc(LABELS, SCORES), components(14, 19)) == pytest.approx(expected, abs=1e-12)


def test_children_of_a_class_are_as_near_the_share_as_whole_numbers_are() -> None:
    assert split_of(19, 8 / 19) == (8, 11) and split_of(95, 8 / 19) == (40, 55) and split_of(2, 0.01) == (1, 1)


@pytest.mark.parametrize("area", [0.6, 0.833, 0.95])
@pytest.mark.parametrize("half_width", [0.03, 0.05, 0.1])
def test_the_number_needed_is_enough_and_one_less_is_not(area: float, half_width: float) -> None:
    variance = hanley_mcneil(area)
    needed = children_needed(area, variance, half_width=half_width, share=8 / 19)
    assert needed is not None

    def width(n: int) -> float:
        low, high = interval_of(area, variance(*split_of(n, 8 / 19)))
        return (high - low) / 2

    assert width(needed) <= half_width < width(needed - 1)


def test_a_width_that_no_number_reaches_has_none() -> None:
    assert children_needed(0.8, lambda m, n: 0.01, half_width=0.01, share=0.5) is None


def test_power_is_the_share_of_simulated_sets_that_the_paired_test_rejects() -> None:
    found = paired_power((0.9, 0.7), (8, 11), correlation=0.4, draws=60, seed=3)
    scores = _binormal((0.9, 0.7), (8, 11), 0.4, 60, np.random.default_rng([3, 4]))
    labels = np.r_[np.ones(8, int), np.zeros(11, int)]
    p = [delong_test(labels, scores[0, row], scores[1, row]).p for row in range(60)]
    assert found.power == np.mean([value is not None and value < 0.05 for value in p])
    assert 0 < found.power < 1


def test_power_grows_with_children_and_correlation_and_false_alarms_stay_near_alpha() -> None:
    few, many = (paired_power((0.833, 0.728), split_of(n, 8 / 19)) for n in (19, 95))
    alike = paired_power((0.833, 0.728), (40, 55), correlation=0.8)
    assert few.power < many.power < alike.power
    # 2,000 draws: a standard error of 0.005; with 19 children the test is conservative.
    assert few.false_alarms < 0.05 and many.false_alarms == pytest.approx(0.05, abs=0.02)


def test_the_number_for_a_power_has_that_power_in_simulation() -> None:
    needed = children_for_power((0.833, 0.728), share=8 / 19, correlation=0.5)
    assert needed is not None
    # 2,000 draws: a standard error of 0.009; the normal approximation adds about as much.
    assert paired_power((0.833, 0.728), split_of(needed, 8 / 19)).power == pytest.approx(0.8, abs=0.035)
    assert children_for_power((0.8, 0.8), share=0.5) is None


def test_simulated_scores_have_the_aucs_and_the_correlation() -> None:
    scores = _binormal((0.833, 0.728), (4000, 4000), 0.5, 1, np.random.default_rng(0))[:, 0]
    labels = np.r_[np.ones(4000, int), np.zeros(4000, int)]
    # A standard error of 0.005 of an AUC, of 0.01 of the correlation.
    assert auc(labels, scores[0]) == pytest.approx(0.833, abs=0.02)
    assert auc(labels, scores[1]) == pytest.approx(0.728, abs=0.02)
    assert within_class_correlation(labels, scores[0], scores[1]) == pytest.approx(0.5, abs=0.04)
    # It is that within the classes, whatever monotone scale the scores have.
    assert within_class_correlation(labels, np.exp(scores[0]), scores[1]) == pytest.approx(
        within_class_correlation(labels, scores[0], scores[1]), abs=1e-12
    )


def test_correlation_of_equal_scores_or_few_children_is_not_known() -> None:
    assert within_class_correlation(LABELS, SCORES, np.ones(33)) is None
    assert within_class_correlation([1, 1, 0, 0, 0], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) is None
    assert within_class_correlation(LABELS, SCORES, SCORES) == pytest.approx(1, abs=1e-12)


def test_what_has_no_answer_is_refused() -> None:
    for area in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match=f"the AUC is {area}"):
            hanley_mcneil(area)
    with pytest.raises(InputError, match="1 controlled, 3 uncontrolled children"):
        delong_components([1, 0, 0, 0], [0.5, 0.4, 0.3, 0.6])
    for sizes, correlation in (((1, 5), 0.5), ((5, 5), 1.0)):
        with pytest.raises(InputError, match="correlation between -1 and 1"):
            paired_power((0.8, 0.7), sizes, correlation=correlation)


def test_power_is_written_as_json() -> None:
    assert json.loads(json.dumps(paired_power((0.8, 0.7), (5, 6), draws=10).to_dict()))["areas"] == [0.8, 0.7]
