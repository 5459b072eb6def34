"""Comparison of models: DeLong against R's pROC and MLstatkit, McNemar and Holm against statsmodels."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from MLstatkit import Delong_test
from numpy.typing import NDArray
from statsmodels.stats import contingency_tables
from statsmodels.stats.multitest import multipletests

from scripts.errors import InputError
from scripts.stats.comparison import delong_covariance, delong_test, holm, mcnemar
from scripts.stats.roc import auc, auc_interval, delong_variance

REFERENCE = Path(__file__).parent / "reference"  # made by delong.R there
EXACT = 1e-9  # what the data sets were written to hold
Cohort = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]


def read_cohorts() -> dict[str, Cohort]:
    with (REFERENCE / "delong_cohorts.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    chosen = {name: [row for row in rows if row["cohort"] == name] for name in {row["cohort"] for row in rows}}
    return {
        name: (
            np.array([int(row["label"]) for row in part]),
            np.array([float(row["a"]) for row in part]),
            np.array([float(row["b"]) for row in part]),
        )
        for name, part in sorted(chosen.items())
    }


def read_expected() -> dict[str, dict[str, float]]:
    with (REFERENCE / "delong_expected.csv").open() as stream:
        return {
            row["cohort"]: {name: float(value) for name, value in row.items() if name != "cohort"}
            for row in csv.DictReader(stream)
        }


COHORTS, EXPECTED = read_cohorts(), read_expected()


def test_the_reference_holds_what_is_asked_of_it() -> None:
    assert len(COHORTS) == 42 and COHORTS.keys() == EXPECTED.keys()
    sizes = {(int(y.sum()), int(y.size - y.sum())) for y, _, _ in COHORTS.values()}
    assert {(8, 11), (39, 56), (5, 60), (70, 4), (2, 3)} <= sizes
    assert sum(np.unique(a).size < a.size for _, a, _ in COHORTS.values()) >= 20  # with ties
    assert sum(np.unique(a).size == a.size for _, a, _ in COHORTS.values()) >= 12  # without


@pytest.mark.parametrize("name", COHORTS)
def test_delong_is_procs(name: str) -> None:
    (labels, a, b), expected = COHORTS[name], EXPECTED[name]
    covariance = delong_covariance(labels, [a, b])
    found = delong_test(labels, a, b)
    assert (auc(labels, a), auc(labels, b)) == pytest.approx((expected["auc_a"], expected["auc_b"]), abs=EXACT)
    assert (covariance[0, 0], covariance[1, 1]) == pytest.approx((expected["var_a"], expected["var_b"]), abs=EXACT)
    assert covariance[0, 1] == covariance[1, 0] == pytest.approx(expected["cov"], abs=EXACT)
    assert (found.z, found.p) == pytest.approx((expected["z"], expected["p"]), abs=EXACT)
    ends = (
        max(-1.0, expected["difference_low"]),
        min(1.0, expected["difference_high"]),
    )  # pROC does not stop at -1 and 1
    assert found.interval == pytest.approx(ends, abs=EXACT)
    if 0 < expected["auc_a"] < 1:
        assert auc_interval(labels, a) == pytest.approx((expected["logit_low"], expected["logit_high"]), abs=EXACT)
        half = 1.959963984540054 * math.sqrt(delong_variance(labels, a))
        plain = max(0.0, auc(labels, a) - half), min(1.0, auc(labels, a) + half)
        assert plain == pytest.approx((expected["plain_low"], expected["plain_high"]), abs=EXACT)


@pytest.mark.parametrize("name", COHORTS)
def test_delong_is_mlstatkits(name: str) -> None:
    labels, a, b = COHORTS[name]
    z, p, _, _, auc_a, auc_b, info = Delong_test(labels, a, b)
    found = delong_test(labels, a, b)
    assert info["method"] == "delong"
    assert (-z, p, auc_a - auc_b) == pytest.approx((found.z, found.p, found.difference), abs=EXACT)
    assert found.standard_error == pytest.approx(math.sqrt(info["var_diff"]), abs=EXACT)


def test_delong_does_not_depend_on_the_order_of_the_cases_and_turns_with_the_models() -> None:
    generator = np.random.default_rng(0)
    for labels, a, b in COHORTS.values():
        order = generator.permutation(labels.size)
        found = delong_test(labels, a, b)
        assert delong_test(labels[order], a[order], b[order]) == found  # to the last bit
        turned = delong_test(labels, b, a)
        assert (turned.difference, turned.z, turned.p) == (-found.difference, -(found.z or 0), found.p)


def test_covariance_of_many_models_is_that_of_each_pair() -> None:
    labels, a, b = COHORTS["04"]
    scores = np.array([a, b, a + b, -a])
    covariance = delong_covariance(labels, scores)
    assert covariance.shape == (4, 4)
    for i in range(4):
        assert covariance[i, i] == delong_variance(labels, scores[i])
        for j in range(4):
            assert covariance[i, j] == delong_covariance(labels, [scores[i], scores[j]])[0, 1]
    assert covariance[0, 3] == pytest.approx(-covariance[0, 0], abs=1e-15)  # -a turns every pair of a


def test_identical_scores_have_no_difference_and_p_1() -> None:
    labels, a, _ = COHORTS["03"]
    for same in (a, 2 * a - 1):
        found = delong_test(labels, a, same)
        assert (found.difference, found.z, found.p, found.interval) == (0.0, 0.0, 1.0, None)
        assert found.reason is not None and "no interval" in found.reason


def test_two_models_that_both_separate_have_p_1_and_no_interval() -> None:
    labels = np.array([1, 1, 1, 0, 0, 0])
    found = delong_test(labels, [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], [0.7, 0.9, 0.8, 0.1, 0.3, 0.2])
    assert (found.difference, found.p, found.interval) == (0.0, 1.0, None)


def test_a_difference_without_variance_has_no_p() -> None:
    found = delong_test([1, 1, 1, 0, 0, 0], [0.9, 0.8, 0.7, 0.3, 0.2, 0.1], [0.5] * 6)
    assert found.difference == 0.5
    assert (found.standard_error, found.interval, found.z, found.p) == (0.0, None, None, None)
    assert found.reason is not None and "variance of the difference is 0" in found.reason
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["p"] is None


def test_a_class_of_one_case_has_no_p() -> None:
    found = delong_test([1, 0, 0, 0], [0.9, 0.1, 0.2, 0.95], [0.1, 0.4, 0.2, 0.3])
    assert found.difference == pytest.approx(2 / 3)
    assert (found.standard_error, found.interval, found.z, found.p) == (None, None, None, None)
    assert found.reason == "1 controlled, 3 uncontrolled: one case gives no variance"
    assert np.isnan(delong_covariance([1, 0, 0], [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])).all()


@pytest.mark.parametrize(
    ("labels", "a", "b", "message"),
    [
        ([1, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2], r"scores \(2,\)"),
        ([1, 0], [0.1, math.nan], [0.1, 0.2], "scores hold nan"),
        ([1, 1], [0.1, 0.3], [0.1, 0.2], "all 2 labels are 1"),
    ],
)
def test_what_is_no_pair_is_refused(labels: list[int], a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        delong_test(labels, a, b)


def test_mcnemar_is_statsmodels() -> None:
    generator = np.random.default_rng(1)
    for n in (5, 19, 95, 400):
        labels, a, b = generator.integers(0, 2, size=(3, n))
        b = np.where(generator.random(n) < 0.4, labels, b)
        found = mcnemar(labels, a, b)
        table = [[found.both_correct, found.only_a_correct], [found.only_b_correct, found.neither_correct]]
        assert table == [
            [int(((a == labels) == x)[(b == labels) == y].sum()) for y in (True, False)] for x in (True, False)
        ]
        assert found.p == pytest.approx(contingency_tables.mcnemar(table, exact=True).pvalue, abs=1e-12)


def test_mcnemar_by_hand() -> None:
    # Six cases only a decides correctly, one only b: 2 (1 + 7) / 2^7.
    labels, a, b = [1] * 4 + [0] * 5, [1] * 4 + [0, 0, 1, 1, 0], [0] * 4 + [1, 1, 0, 1, 0]
    found = mcnemar(labels, a, b)
    assert (found.both_correct, found.only_a_correct, found.only_b_correct, found.neither_correct) == (1, 6, 1, 1)
    assert found.p == pytest.approx(16 / 128)


def test_mcnemar_of_the_same_decisions_is_1() -> None:
    assert mcnemar([1, 0], [1, 1], [1, 1]).p == 1.0


@pytest.mark.parametrize(
    ("labels", "a", "message"),
    [([1, 0], [0.7, 0.2], "else than 0 and 1"), ([1, 0], [1, 0, 1], r"\(3,\)"), ([], [], r"\(0,\)")],
)
def test_mcnemar_needs_decisions(labels: list[int], a: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mcnemar(labels, a, a if labels == [] else [1] * len(labels))


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03: 3 x 0.01, 2 x 0.02, and 0.03 raised to the one before it.
    assert holm([0.03, None, 0.01, 0.02]) == pytest.approx([0.04, None, 0.03, 0.04])
    assert holm([0.9, 0.6]) == [1.0, 1.0]
    assert holm([None]) == [None] and holm([]) == []


def test_holm_is_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for tests in (1, 2, 5, 9):
        given = rng.random(tests).round(2).tolist()  # ties among them
        assert holm(given) == pytest.approx(multipletests(given, method="holm")[1].tolist(), rel=1e-7, abs=1e-15)


@pytest.mark.parametrize("p", [math.nan, -0.1, 1.1])
def test_holm_refuses_what_is_no_p(p: float) -> None:
    with pytest.raises(InputError, match="p is"):
        holm([0.5, p])
