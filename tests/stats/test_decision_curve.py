"""Net benefit: by counting, at ties with the threshold, for both events."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.stats.decision_curve import THRESHOLDS, decision_curve


@pytest.mark.parametrize("event", ["uncontrolled", "controlled"])
def test_net_benefit_is_what_counting_gives(event: str) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 95)
    scores = generator.random(95).round(3)
    found = decision_curve(labels, scores, event=event)
    happened = labels == (1 if event == "controlled" else 0)
    thousandths = np.rint((scores if event == "controlled" else 1 - scores) * 1000).astype(
        int
    )  # whole numbers: no rounding
    for t, model, everyone in zip(found.thresholds, found.model, found.treat_all, strict=True):
        treated = thousandths >= round(1000 * t)
        true, false = (treated & happened).sum(), (treated & ~happened).sum()
        assert model == pytest.approx(true / 95 - false / 95 * t / (1 - t), abs=1e-12)
        assert everyone == pytest.approx(happened.mean() - (1 - happened.mean()) * t / (1 - t), abs=1e-12)
    assert set(found.treat_none) == {0.0} and found.prevalence == pytest.approx(happened.mean())
    assert found.thresholds == THRESHOLDS and len(THRESHOLDS) == 99


def test_one_acts_on_the_uncontrolled_unless_told_otherwise() -> None:
    # Two uncontrolled with risks 0.9 and 0.6, one controlled with 0.3; at 0.5 both are treated and no other.
    found = decision_curve([0, 0, 1], [0.1, 0.4, 0.7], thresholds=[0.5])
    assert found.event == "uncontrolled" and found.model[0] == pytest.approx(2 / 3)
    assert decision_curve([0, 0, 1], [0.1, 0.4, 0.7], event="controlled", thresholds=[0.5]).model[0] == pytest.approx(
        1 / 3
    )


def test_a_risk_at_the_threshold_is_treated_whatever_its_binary_form() -> None:
    for t in THRESHOLDS:
        assert decision_curve([0, 1], [1 - t, 1.0], thresholds=[t]).model[0] == pytest.approx(0.5)
        assert decision_curve([0, 1], [round(1 - t, 2), 1.0], thresholds=[t]).model[0] == pytest.approx(0.5)


def test_a_useless_model_is_all_or_none() -> None:
    found = decision_curve([1, 0, 0], [0.4] * 3)  # everyone's risk is 0.6
    for t, model, everyone in zip(found.thresholds, found.model, found.treat_all, strict=True):
        assert model == pytest.approx(everyone if t <= 0.6 else 0.0)


def test_a_curve_is_valid_json_and_does_not_depend_on_the_order() -> None:
    labels, scores = np.array([1, 0, 0, 1, 0]), np.array([0.9, 0.2, 0.4, 0.4, 0.7])
    found = decision_curve(labels, scores)
    assert decision_curve(labels[::-1], scores[::-1]) == found
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["event"] == "uncontrolled"


@pytest.mark.parametrize(
    ("scores", "event", "thresholds", "message"),
    [
        ([0.5, 1.5], "controlled", [0.5], r"1\.5 at index"),
        ([0.5, math.nan], "controlled", [0.5], "scores hold nan"),
        ([0.5, 0.4], "cured", [0.5], "event is 'cured'"),
        ([0.5, 0.4], "controlled", [0.5, 1.0], "thresholds are"),
        ([0.5, 0.4], "controlled", [], "thresholds are"),
    ],
)
def test_what_has_no_net_benefit_is_refused(
    scores: list[float], event: str, thresholds: list[float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        decision_curve([1, 0], scores, event=event, thresholds=thresholds)
