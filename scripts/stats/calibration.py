"""Do the scores mean what they say as probabilities? Intercept and slope, a binned curve, Brier and its scaled form.

Conventions as in `roc`: label 1 = controlled, the score is the probability of it. Recalibration is logistic:
logit P(controlled) = intercept + slope · logit(score). Perfect: intercept 0, slope 1. A slope below 1: the scores are
too extreme; an intercept in the large (slope held at 1) below 0: they are too high.

Sources: Cox DR, Biometrika 1958;45:562 (intercept and slope); Van Calster B et al, BMC Med 2019;17:230 (levels of
calibration); Steyerberg EW et al, Epidemiology 2010;21:128 (scaled Brier score); Spiegelhalter DJ, Stat Med 1986;5:421;
Albert A, Anderson JA, Biometrika 1984;71:1 (where the estimates do not exist).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from scripts.errors import InputError
from scripts.stats.decisions import wilson
from scripts.stats.metrics import brier, check_probabilities
from scripts.stats.roc import Interval, check_scores, normal_quantile

Floats = NDArray[np.float64]
RESOLUTION = 5e-7  # predictions.csv has six digits: a score written as 0 or 1 is known to this


@dataclass(frozen=True)
class Calibration:
    """How N scores are calibrated.

    Attributes:
        intercept: in the large, with the slope held at 1; 0 is perfect.
        slope: 1 is perfect; None where the scores separate the outcomes or are all equal.
        slope_intercept: the intercept that goes with the slope, for the recalibrated curve; None with it.
        intercept_interval, slope_interval: by profile likelihood, at `level`.
        brier, scaled_brier: mean squared error, and 1 - it / that of the prevalence for everyone (1 perfect, 0 useless).
        spiegelhalter_z, spiegelhalter_p: of the hypothesis that all scores are true probabilities; None where all are 1/2.
        clipped: scores nearer to 0 or 1 than 5e-7, moved there for their logit to be finite. To be shown if not 0.
        reason: why the slope is None; None where it is not.
    """

    n: int
    positives: int
    mean_score: float
    intercept: float
    intercept_interval: Interval
    slope: float | None
    slope_intercept: float | None
    slope_interval: Interval | None
    brier: float
    scaled_brier: float
    spiegelhalter_z: float | None
    spiegelhalter_p: float | None
    clipped: int
    level: float
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the intervals as [low, high]."""
        pair = None if self.slope_interval is None else list(self.slope_interval)
        return {**asdict(self), "intercept_interval": list(self.intercept_interval), "slope_interval": pair}


@dataclass(frozen=True)
class CalibrationBin:
    """Cases of neighbouring scores: what they were given, and what came of them, with Wilson's interval."""

    n: int
    positives: int
    lowest: float
    highest: float
    mean_score: float
    observed: float
    interval: Interval

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the interval as [low, high]."""
        return {**asdict(self), "interval": list(self.interval)}


def calibration(labels: ArrayLike, scores: ArrayLike, *, level: float = 0.95) -> Calibration:
    """Intercept and slope of the logistic recalibration with profile likelihood intervals, Brier, scaled Brier.

    Where one score separates the outcomes (all controlled have this score or more and all uncontrolled this or less, or
    the other way round) the likelihood has its maximum at an infinite slope, and where all scores are equal any slope
    fits: then there is none, and `reason` says so. The intercept in the large exists always.

    Checked against statsmodels' GLM (estimates) and its likelihood (ends of the intervals).

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), probabilities in [0, 1].
        level: of the intervals.

    Raises:
        InputError: as of `roc.check_scores`; a score outside [0, 1].
    """
    drop = normal_quantile(level) ** 2 / 2  # of the log-likelihood at the ends: half the quantile of chi-square(1)
    y, s = check_scores(labels, scores)
    check_probabilities(s)
    order = np.lexsort((s, y))  # sums do not depend on the order of the cases
    y, s = y[order], s[order]
    kept = s.clip(RESOLUTION, 1 - RESOLUTION)
    x = special.logit(kept)

    def large(intercept: float) -> float:
        return _log_likelihood(y, intercept + x)

    intercept = _intercept(y, x)
    intercept_interval = _profile(large, intercept, drop)
    slope = slope_intercept = slope_interval = None
    reason = _no_slope(y, x)
    if reason is None:
        slope_intercept, slope = _fit(y, x)
        slope_interval = _profile(lambda b: _log_likelihood(y, _intercept(y, b * x) + b * x), slope, drop)
    error, prevalence = brier(y, s), float(y.mean())
    z = _spiegelhalter(y, kept)
    return Calibration(
        n=int(y.size),
        positives=int(y.sum()),
        mean_score=math.fsum(s) / y.size,
        intercept=intercept,
        intercept_interval=intercept_interval,
        slope=slope,
        slope_intercept=slope_intercept,
        slope_interval=slope_interval,
        brier=error,
        scaled_brier=1 - error / (prevalence * (1 - prevalence)),
        spiegelhalter_z=z,
        spiegelhalter_p=None if z is None else float(2 * stats.norm.sf(abs(z))),
        clipped=int((kept != s).sum()),
        level=level,
        reason=reason,
    )


def calibration_curve(
    labels: ArrayLike, scores: ArrayLike, *, bins: int = 10, level: float = 0.95
) -> tuple[CalibrationBin, ...]:
    """Mean score and observed share of controlled in bins of about N / bins cases, from low to high scores.

    Cases of one score are never parted, so there may be fewer bins than asked for.

    Args:
        labels: (N,), 0 or 1.
        scores: (N,), probabilities in [0, 1].
        bins: at most so many.
        level: of Wilson's intervals.

    Raises:
        InputError: as of `roc.check_scores`; a score outside [0, 1]; fewer than 1 bin.
    """
    y, s = check_scores(labels, scores)
    check_probabilities(s)
    if bins < 1:
        raise InputError(f"bins is {bins}", expected="1 or more", remedy="Give 10, for instance.")
    # The bin of a score is that of the middle of its cases' ranks.
    where = np.minimum(((stats.rankdata(s) - 0.5) * bins / y.size).astype(np.int64), bins - 1)
    made = []
    for index in np.unique(where):
        label, score = y[where == index], s[where == index]
        positives = int(label.sum())
        made.append(
            CalibrationBin(
                n=int(label.size),
                positives=positives,
                lowest=float(score.min()),
                highest=float(score.max()),
                mean_score=math.fsum(score) / label.size,
                observed=positives / label.size,
                interval=wilson(positives, int(label.size), level=level),
            )
        )
    return tuple(made)


def _log_likelihood(y: NDArray[np.int64], linear: Floats) -> float:
    return float((y * linear - np.logaddexp(0, linear)).sum())


def _intercept(y: NDArray[np.int64], offset: Floats) -> float:
    """The intercept under which the expected number of controlled is the observed one: unique, with both classes."""
    reach = float(np.abs(offset).max()) + math.log(y.size) + 1  # all would be called one way there
    return float(optimize.brentq(lambda a: float(special.expit(a + offset).sum() - y.sum()), -reach, reach, xtol=1e-13))


def _fit(y: NDArray[np.int64], x: Floats) -> tuple[float, float]:
    """Intercept and slope of greatest likelihood, where they exist: the root of the score of the slope, which falls."""

    def score(slope: float) -> float:
        return float((x * (y - special.expit(_intercept(y, slope * x) + slope * x))).sum())

    slope = _root(score, 0.0, 1.0 if score(0.0) > 0 else -1.0)
    return _intercept(y, slope * x), slope


def _profile(log_likelihood: Callable[[float], float], best: float, drop: float) -> Interval:
    """Where the concave log-likelihood has fallen by `drop` from its maximum, on either side."""
    floor = log_likelihood(best) - drop

    def above(value: float) -> float:
        return log_likelihood(value) - floor

    return _root(above, best, -1.0), _root(above, best, 1.0)


def _root(function: Callable[[float], float], start: float, step: float) -> float:
    """Where the function changes its sign, in the direction of the step, which is doubled until it has."""
    sign, near, far = math.copysign(1.0, function(start)), start, start + step
    while function(far) * sign > 0:
        near, step = far, 2 * step
        far = start + step
        if not math.isfinite(far):  # cannot happen with overlapping outcomes
            raise ArithmeticError("the likelihood does not fall")
    return float(optimize.brentq(function, near, far, xtol=1e-12))


def _no_slope(y: NDArray[np.int64], x: Floats) -> str | None:
    """Why the slope of greatest likelihood is not finite; None where it is (Albert and Anderson 1984)."""
    controlled, uncontrolled = x[y == 1], x[y == 0]
    if x.min() == x.max():
        return "all scores are equal: any slope fits"
    if uncontrolled.max() <= controlled.min() or controlled.max() <= uncontrolled.min():
        return "the scores separate the outcomes: the slope of greatest likelihood is infinite"
    return None


def _spiegelhalter(y: NDArray[np.int64], p: Floats) -> float | None:
    """z = Σ (y - p) (1 - 2 p) / sqrt(Σ (1 - 2 p)² p (1 - p)); None where all p are 1/2."""
    weight = 1 - 2 * p
    variance = float((weight**2 * p * (1 - p)).sum())
    return float(((y - p) * weight).sum()) / math.sqrt(variance) if variance > 0 else None
