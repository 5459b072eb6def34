"""What the server takes and refuses, and the average."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from federated.aggregation import Weights, average, fault_of_cases, fault_of_update

WEIGHTS: Weights = {
    "branches.flair.conv.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "branches.flair.norm.running_var": np.ones(3, np.float32),
}


def update(value: float) -> Weights:
    return {name: np.full_like(array, value) for name, array in WEIGHTS.items()}


def test_the_average_weighs_sites_by_their_cases() -> None:
    found = average(WEIGHTS, {"a": (30, update(1.0)), "b": (10, update(-1.0))})
    for name, value in WEIGHTS.items():
        np.testing.assert_array_equal(found[name], value + np.float32(0.5))
        assert found[name].dtype == np.float32


def test_the_order_of_arrival_changes_no_bit() -> None:
    rng = np.random.default_rng(0)
    updates = {
        site: (n, {k: rng.normal(size=v.shape).astype(np.float32) for k, v in WEIGHTS.items()})
        for site, n in zip("abc", (7, 11, 13), strict=True)
    }
    one = average(WEIGHTS, updates)
    other = average(WEIGHTS, dict(reversed(updates.items())))
    assert all((one[name] == other[name]).all() for name in WEIGHTS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"branches.flair.conv.weight": np.full((2, 3), np.nan, np.float32)}, "6 values in 1 of 2 weights are NaN"),
        (
            {"branches.flair.conv.weight": np.full((2, 3), np.inf, np.float32)},
            "NaN or infinite, most in branches.flair.conv",
        ),
        ({"branches.flair.conv.weight": np.zeros((3, 2), np.float32)}, r"float32 \(3, 2\), not float32 \(2, 3\)"),
        ({"branches.flair.conv.weight": np.zeros((2, 3), np.int64)}, "int64"),
        ({"branches.flair.conv.weight": "weights"}, "not float32"),
        ({"branches.t2w.weight": np.zeros(1, np.float32)}, "0 weights are missing, 1 are unknown"),
        ({"branches.flair.norm.running_var": np.full(3, -2, np.float32)}, "negative variance"),
    ],
)
def test_an_update_at_fault_is_refused_with_its_reason(change: dict[str, Any], said: str) -> None:
    assert fault_of_update(update(0.1), WEIGHTS) is None
    found = fault_of_update({**update(0.1), **change}, WEIGHTS)
    assert found is not None
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(found)


def test_a_missing_weight_and_no_weights_at_all_are_refused() -> None:
    assert "1 weights are missing" in str(fault_of_update({"branches.flair.conv.weight": update(0)}, WEIGHTS))
    assert "NoneType" in str(fault_of_update(None, WEIGHTS))


@pytest.mark.parametrize("cases", [0, 41, True, 40.0, "40", None])
def test_a_site_cannot_give_itself_another_weight_than_it_declared(cases: Any) -> None:
    assert fault_of_cases(40, 40) is None
    assert fault_of_cases(cases, 40) is not None
