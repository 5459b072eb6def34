"""The distance under probabilistic PCA: against the full covariance it stands for, against its text form, against wrong input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.likeness.mahalanobis import COMPONENTS, STORED, Subspace, fit_subspace


def features(n: int, size: int = 40, *, seed: int = 0) -> np.ndarray:
    """Six strong directions and weak noise."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(99).normal(size=(6, size)) * np.linspace(3, 0.5, 6)[:, None]
    return (5 + rng.normal(size=(n, 6)) @ mix + 0.1 * rng.normal(size=(n, size))).astype(np.float32)


def test_it_is_the_distance_under_the_covariance_that_probabilistic_pca_gives() -> None:
    x, new = features(200), features(30, seed=1)
    found = fit_subspace(x)
    values, vectors = np.linalg.eigh(np.corrcoef(x.T.astype(float)))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = np.where(np.arange(40) < COMPONENTS, values, values[COMPONENTS:].mean())
    inverse = vectors @ np.diag(1 / kept) @ vectors.T
    centred = (new - x.astype(float).mean(axis=0)) / x.astype(float).std(axis=0, ddof=1)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred))
    np.testing.assert_allclose(found.distance(new), expected, rtol=1e-4)  # the axes are kept in float32


def test_what_lies_off_the_training_cases_directions_is_far() -> None:
    found = fit_subspace(features(200))
    off = features(20, seed=1) + np.random.default_rng(2).normal(size=40).astype(np.float32)
    assert found.distance(off).min() > 2 * found.distance(features(50, seed=3)).max()


@pytest.mark.parametrize(
    ("cases", "size", "components"), [(5, 40, 1), (35, 40, 3), (300, 40, COMPONENTS), (300, 3200, STORED // 3200)]
)
def test_as_many_components_as_the_cases_and_the_file_bear(cases: int, size: int, components: int) -> None:
    assert len(fit_subspace(features(cases, size)).axes) == components


def test_features_of_any_scale_have_one_distance() -> None:
    x, new = features(100), features(9, seed=1)
    scale = np.logspace(-1, 1, 40).astype(np.float32)
    np.testing.assert_allclose(fit_subspace(x * scale).distance(new * scale), fit_subspace(x).distance(new), rtol=1e-3)


def test_a_feature_that_never_fired_is_far_when_it_does() -> None:
    x = features(100)
    x[:, 7] = 0
    new = features(3, seed=1)
    new[:, 7] = [0, 0, 1]
    distance = fit_subspace(x).distance(new)
    assert np.isfinite(distance).all() and distance[2] > 10 * distance[:2].max()


def test_json_and_back() -> None:
    found = fit_subspace(features(100))
    again = Subspace.from_dict(json.loads(json.dumps(found.to_dict())))
    np.testing.assert_array_equal(again.distance(features(9, seed=1)), found.distance(features(9, seed=1)))


def test_the_order_of_the_cases_does_not_matter() -> None:
    x = features(100)
    turned = fit_subspace(x[np.random.default_rng(0).permutation(100)])
    np.testing.assert_array_equal(turned.axes, fit_subspace(x).axes)


@pytest.mark.parametrize("x", [features(2), np.full((20, 5), 7, np.float32), np.full((20, 5), np.nan, np.float32)])
def test_what_has_no_covariance_is_refused(x: np.ndarray) -> None:
    with pytest.raises(InputError, match="feature"):
        fit_subspace(x)


def test_features_of_another_network_are_refused() -> None:
    found = fit_subspace(features(100))
    for wrong in (np.zeros((1, 39), np.float32), np.full((1, 40), np.inf, np.float32)):
        with pytest.raises(InputError, match="features"):
            found.distance(wrong)


@pytest.mark.parametrize(
    "damage",
    [
        {"mean": "x"},
        {"sd": "AAAA"},
        {"features": 39},
        {"residual": 0.0},
        {"spread": [1.0]},
        {"axes": None},
        {"residual": "a"},
    ],
)
def test_a_damaged_one_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(InputError, match="damaged"):
        Subspace.from_dict({**fit_subspace(features(100)).to_dict(), **damage})
