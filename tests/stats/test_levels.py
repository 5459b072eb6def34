"""Every interval is at the level that was asked for, and a result says which, in its JSON, too."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.stats.comparison import AucDifference, delong_test, mcnemar
from scripts.stats.decisions import decision_metrics, mean_of_two, wilson
from scripts.stats.metrics import brier_interval, classification_metrics
from scripts.stats.roc import auc_interval, normal_quantile, roc_curve

LABELS = [1, 1, 1, 0, 0, 0, 0, 1]
SCORES = [0.9, 0.6, 0.4, 0.5, 0.3, 0.2, 0.6, 0.8]
OTHERS = [0.8, 0.7, 0.5, 0.2, 0.6, 0.3, 0.4, 0.9]
LEVELS = [0.8, 0.95]


def round_trip(said: dict[str, Any]) -> Any:
    return json.loads(json.dumps(said, allow_nan=False))


@pytest.mark.parametrize("level", LEVELS)
def test_proportions(level: float) -> None:
    found = decision_metrics(LABELS, [int(score >= 0.5) for score in SCORES], level=level)
    counts = {"acc": (5, 8), "sensitivity": (3, 4), "specificity": (2, 4), "ppv": (3, 5), "npv": (2, 3)}
    assert found.level == level
    for name, count in counts.items():
        assert found.intervals[name] == wilson(*count, level=level), name
    assert found.intervals["balanced_accuracy"] == mean_of_two((3, 4), (2, 4), level=level)
    said = round_trip(found.to_dict())
    assert said["intervals"]["acc"] == list(wilson(5, 8, level=level)) and said["level"] == level


@pytest.mark.parametrize("level", LEVELS)
def test_a_mean_of_two_is_the_recovered_variance_of_their_own_intervals(level: float) -> None:
    (l1, u1), (l2, u2) = wilson(3, 4, level=level), wilson(2, 5, level=level)
    low, high = mean_of_two((3, 4), (2, 5), level=level)
    assert low == pytest.approx(0.575 - math.hypot(0.75 - l1, 0.4 - l2) / 2, abs=1e-15)
    assert high == pytest.approx(0.575 + math.hypot(u1 - 0.75, u2 - 0.4) / 2, abs=1e-15)


@pytest.mark.parametrize("level", LEVELS)
def test_metrics(level: float) -> None:
    found = classification_metrics(LABELS, SCORES, threshold=0.5, level=level)
    assert found.level == level and found.threshold == 0.5
    assert found.intervals["auc"] == auc_interval(LABELS, SCORES, level=level)
    assert found.intervals["brier"] == brier_interval(LABELS, SCORES, level=level)
    assert found.intervals["acc"] == wilson(5, 8, level=level)
    said = round_trip(found.to_dict())
    assert said["intervals"]["auc"] == list(found.intervals["auc"] or ()) and said["level"] == level


def test_two_cases_in_a_class_are_enough_for_an_interval_of_the_brier_score() -> None:
    found = brier_interval([1, 1, 0, 0, 0], [0.9, 0.6, 0.2, 0.4, 0.1])
    assert found is not None and 0 < found[0] < found[1] < 1
    assert brier_interval([1, 0, 0, 0], [0.9, 0.2, 0.4, 0.1]) is None


def test_what_has_no_interval_is_null_in_json() -> None:
    none_called = classification_metrics(LABELS, SCORES, threshold=2.0)
    assert none_called.intervals["ppv"] is None
    assert round_trip(none_called.to_dict())["intervals"]["ppv"] is None
    assert round_trip(decision_metrics(LABELS, [0] * 8).to_dict())["intervals"]["ppv"] is None


@pytest.mark.parametrize("level", LEVELS)
def test_a_paired_difference(level: float) -> None:
    found = delong_test(LABELS, SCORES, OTHERS, level=level)
    wide = delong_test(LABELS, SCORES, OTHERS, level=0.99)
    assert found.level == level and found.interval is not None and wide.interval is not None
    assert wide.interval[0] < found.interval[0] < found.difference < found.interval[1] < wide.interval[1]
    assert (found.z, found.p, found.standard_error) == (wide.z, wide.p, wide.standard_error) and found.reason is None
    said = round_trip(found.to_dict())
    assert said["interval"] == list(found.interval)
    assert set(said) == {"difference", "standard_error", "interval", "z", "p", "level", "reason"}


@pytest.mark.parametrize(
    ("labels", "a", "b", "expected"),
    [
        ([1, 0, 0], [0.9, 0.1, 0.2], [0.1, 0.9, 0.2], (None, None, None, "one case gives no variance")),
        ([1, 1, 0, 0], [3, 4, 1, 2], [3, 4, 1, 2], (0.0, 0.0, 1.0, "by both models: no interval")),
        ([1, 1, 0, 0], [3, 4, 1, 2], [1, 2, 3, 4], (0.0, None, None, "no test and no interval")),
    ],
)
def test_what_can_not_be_tested_says_why(
    labels: list[int], a: list[float], b: list[float], expected: tuple[Any, ...]
) -> None:
    found = delong_test(labels, a, b, level=0.9)
    *numbers, reason = expected
    assert [found.standard_error, found.z, found.p] == numbers and found.interval is None and found.level == 0.9
    assert reason in str(found.reason) and not str(found.reason).startswith("XX")
    assert round_trip(found.to_dict())["interval"] is None
    assert AucDifference(**found.to_dict()) == found


def test_a_curve_and_a_table_of_decisions_are_written_under_their_own_names() -> None:
    said = round_trip(roc_curve(LABELS, SCORES).to_dict())
    assert {"false_positive_rate", "true_positive_rate", "thresholds"} <= set(said)
    assert len(said["false_positive_rate"]) == len(said["true_positive_rate"]) == len(said["thresholds"])
    table = round_trip(mcnemar(LABELS, np.array(SCORES) >= 0.5, np.array(OTHERS) >= 0.5).to_dict())
    assert table["both_correct"] + table["only_a_correct"] + table["only_b_correct"] + table["neither_correct"] == 8


@pytest.mark.parametrize("level", [-0.5, 0.0, 1.0, 1.5, math.nan])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(InputError, match="expected a number between 0 and 1"):
        normal_quantile(level)
