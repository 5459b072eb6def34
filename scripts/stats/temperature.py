"""Temperature scaling: how far the fused score is from a probability, as one number fitted on the validation split.

    probability = sigmoid(logit(S) / T), T > 0

T > 1 draws scores towards 1/2 (they were too sure), T < 1 away from it. The ranking, and with it AUC, threshold and decision,
stay those of the score S. A score of exactly 0 or 1 has no logit: scores are held within `EDGE` of either.

Source: Guo C, Pleiss G, Sun Y, Weinberger KQ, ICML 2017, PMLR 70:1321 (one scalar, the negative log likelihood of the validation
cases). Interval: profile likelihood, all T whose log likelihood is within chi2(1, level) / 2 of the best. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from scripts.errors import InputError
from scripts.stats.metrics import check_probabilities
from scripts.stats.roc import check_scores

EDGE = 1e-7  # of 0 and 1; float32 scores do reach them
RANGE = (0.05, 20.0)  # a temperature outside of it is no calibration: the scores are certain, or say nothing
NONE_WRITTEN = "no temperature: model.json holds none. Write it: python -m scripts reference."


@dataclass(frozen=True)
class Temperature:
    """What was fitted. Without a temperature, `reason` says why.

    Attributes:
        temperature: T.
        interval: of T; its upper end is None where the likelihood does not bound it.
        level: of the interval.
        cases: that it was fitted on.
        log_loss: mean of the validation cases before and after; after it is optimistic, for T was fitted on them.
        reason: "" where there is a temperature.
    """

    temperature: float | None
    interval: tuple[float, float | None] | None
    level: float
    cases: int
    log_loss: tuple[float, float | None]
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def fit_temperature(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Temperature:
    """The temperature with the least log loss on these cases. Checked against scipy's logistic regression of one slope.

    In b = 1 / T the log loss is convex, so that there is one best b, found by its derivative, sum (sigmoid(b l) - y) l.

    Args:
        labels: (N,), 1 controlled, 0 uncontrolled, of the validation split.
        scores: (N,), fused, in [0, 1].
        level: of the interval.

    Raises:
        InputError: as of `check_scores`; a score outside [0, 1].
    """
    label, s = check_scores(labels, scores)
    check_probabilities(s)
    order = np.lexsort((label, s))  # a sum's last digits must not depend on the order of the cases
    y, logits = label[order].astype(np.float64), _logit(s[order])
    before = _loss(1.0, logits, y)

    def none(reason: str) -> Temperature:
        return Temperature(None, None, level, y.size, (before / y.size, None), reason)

    if np.ptp(logits) == 0:
        return none(
            f"all {y.size} validation scores are equal: they say nothing of the outcome, whatever the temperature."
        )
    if bool(np.all(np.where(y == 1, logits > 0, logits < 0))):
        return none(
            f"the score 1/2 separates the outcomes of all {y.size} validation cases: the likelihood is best at T = 0, where "
            "every probability is 0 or 1."
        )
    coldest, hottest = 1 / RANGE[0], 1 / RANGE[1]  # in b
    if _slope(hottest, logits, y) >= 0:
        return none(
            f"the best temperature is above {RANGE[1]:g}: the validation scores do not tell the outcomes apart."
        )
    if _slope(coldest, logits, y) <= 0:
        return none(
            f"the best temperature is below {RANGE[0]:g}: the validation scores separate the outcomes nearly perfectly."
        )
    best = float(optimize.brentq(_slope, hottest, coldest, args=(logits, y), xtol=1e-12, rtol=1e-12))
    after = _loss(best, logits, y)
    allowed = after + float(stats.chi2.ppf(level, 1)) / 2
    low, high = _ends(best, allowed, logits, y)
    interval = (1 / high, None if low is None else 1 / low)
    return Temperature(1 / best, interval, level, y.size, (before / y.size, after / y.size))


def calibrated(scores: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """Scores in [0, 1] of any shape -> probabilities of the same shape: sigmoid(logit(S) / T).

    Raises:
        InputError: a temperature that is not above 0, a score that is not within [0, 1].
    """
    s = np.asarray(scores, dtype=np.float64)
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"temperature is {temperature}", expected="a number above 0", remedy=NONE_WRITTEN)
    if not np.isfinite(s).all():
        raise InputError("a score that is not finite", expected="scores in [0, 1]", remedy="Leave failed cases out.")
    check_probabilities(s)
    probabilities: NDArray[np.float64] = special.expit(_logit(s) / temperature)
    return probabilities


def temperature_of(said: Mapping[str, Any]) -> tuple[float | None, str]:
    """The temperature that `model.json` holds, and where it holds none the reason.

    Raises:
        InputError: a temperature that is no number above 0.
    """
    entry = said.get("temperature")
    if not isinstance(entry, Mapping):
        return None, NONE_WRITTEN
    value = entry.get("temperature")
    if value is None:
        return None, f"no temperature: {entry.get('reason') or 'none was fitted.'}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        raise InputError(f"model.json has the temperature {value!r}", expected="a number above 0", remedy=NONE_WRITTEN)
    return float(value), ""


def _logit(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    logits: NDArray[np.float64] = special.logit(np.clip(scores, EDGE, 1 - EDGE))
    return logits


def _loss(b: float, logits: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Summed log loss: log(1 + exp(-b l)) of the controlled, log(1 + exp(b l)) of the others."""
    return math.fsum(np.logaddexp(0, np.where(y == 1, -b, b) * logits))


def _slope(b: float, logits: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return math.fsum((special.expit(b * logits) - y) * logits)


def _ends(
    best: float, allowed: float, logits: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[float | None, float]:
    """Where the loss on either side of the best b passes what is allowed; None where b = 0 does not."""

    def excess(b: float) -> float:
        return _loss(b, logits, y) - allowed

    low = float(optimize.brentq(excess, 0.0, best, xtol=1e-12)) if excess(0.0) > 0 else None
    beyond = 2 * best
    while excess(beyond) <= 0:  # ends: the loss is convex and, without perfect separation, grows without bound
        beyond *= 2
    return low, float(optimize.brentq(excess, best, beyond, xtol=1e-12))
