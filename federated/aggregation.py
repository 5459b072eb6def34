"""The server's judgement of what a site sent, and the average of what it takes. NumPy alone.

An update is a dictionary, name -> float array: the site's weights minus the global ones that it began the round with. The new
global weights are the old ones plus the mean update, weighted by the sites' training cases (FedAvg: McMahan B et al., AISTATS
2017). Sums are float64 in the order of the sites' names: the order of arrival changes no bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]


def fault_of_update(update: Any, weights: Mapping[str, NDArray[Any]]) -> str | None:
    """Why an update cannot be used: None, or one sentence with numbers and names of weights in it.

    Args:
        update: what the site sent.
        weights: the global ones, whose names and shapes it must have.
    """
    if not isinstance(update, Mapping):
        return f"a {type(update).__name__} in the place of weights"
    missing, foreign = sorted(set(weights) - set(update)), sorted(map(str, set(update) - set(weights)))
    if missing or foreign:
        examples = ", ".join([*missing[:2], *foreign[:2]])
        return f"{len(missing)} weights are missing, {len(foreign)} are unknown ({examples})"
    for name, value in weights.items():
        array = np.asarray(update[name])
        if array.dtype.kind != "f" or array.shape != value.shape:
            return f"{name} is {array.dtype} {array.shape}, not {value.dtype} {value.shape}"
    bad = {name: int((~np.isfinite(update[name])).sum()) for name in weights}
    worst = max(bad, key=lambda name: bad[name])
    if bad[worst]:
        places = sum(map(bool, bad.values()))
        return f"{sum(bad.values())} values in {places} of {len(bad)} weights are NaN or infinite, most in {worst}"
    variances = (name for name in weights if name.endswith("running_var"))
    negative = [name for name in variances if float(np.min(weights[name] + update[name])) < 0]
    return f"{negative[0]} would hold a negative variance" if negative else None


def fault_of_cases(cases: Any, declared: int) -> str | None:
    """Why a number of training cases cannot be used: it must be the one that the site declared before the first round."""
    if isinstance(cases, bool) or not isinstance(cases, int) or cases != declared:
        return f"it says {cases!r} training cases, and declared {declared}"
    return None


def average(weights: Weights, updates: Mapping[str, tuple[int, Mapping[str, NDArray[Any]]]]) -> Weights:
    """The next global weights.

    Args:
        weights: the present ones, name -> array of the layer's own shape.
        updates: site -> (training cases, update of the same names and shapes), at least one, all without a fault.

    Returns:
        float32, of the same names and shapes.
    """
    total = sum(cases for cases, _ in updates.values())
    result: Weights = {}
    for name, value in weights.items():
        mean = np.zeros(value.shape, np.float64)
        for site in sorted(updates):
            cases, update = updates[site]
            mean += (cases / total) * np.asarray(update[name], np.float64)
        result[name] = (value + mean).astype(np.float32)
    return result
