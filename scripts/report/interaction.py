"""Does a score do better in one group of children than in another? Tests between independent groups.

Conventions as in `stats.roc`. `groups` is level -> (N,) bool, which children are in it; a child is in one level or in none
(its value is not known). A level that a test cannot use is left out of it and named; the rest stay right.

Sources: DeLong ER et al., Biometrics 1988;44:837 (variances); Cochran WG, Biometrics 1954;10:101 (heterogeneity of
independent estimates); Freeman GH, Halton JH, Biometrika 1951;38:141 (Fisher's exact test of more than two levels); Cox DR,
Biometrika 1958;45:562 (calibration slope).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats
from statsmodels.discrete.discrete_model import Logit

from scripts.outcome import OUTCOMES
from scripts.report.group_tests import fisher
from scripts.stats.calibration import RESOLUTION, calibration
from scripts.stats.roc import Interval, auc, delong_variance

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
Groups = Mapping[str, NDArray[np.bool_]]

FEWEST = 5  # children a class in a level for a slope: of samples of 3 and 5 a quarter is separated and has none


@dataclass(frozen=True)
class Interaction:
    """One test of whether levels differ.

    Attributes:
        method: what was tested and how.
        statistic, df: z has no df; Fisher's exact test has neither.
        p: two-sided; None where nothing could be tested.
        tested: the levels in the test.
        left_out: level -> why it is not in the test.
    """

    method: str
    statistic: float | None
    df: int | None
    p: float | None
    tested: tuple[str, ...]
    left_out: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "tested": list(self.tested), "left_out": dict(self.left_out)}


def missing_class(labels: Labels) -> str | None:
    """Why there is no AUC of these children: which class is missing. None where both are there."""
    if labels.size == 0:
        return "no child"
    missing = [name for label, name in enumerate(OUTCOMES) if not (labels == label).any()]
    return f"no {missing[0]} child" if missing else None


def auc_interaction(labels: Labels, scores: Floats, groups: Groups) -> Interaction:
    """Do the AUCs of independent groups differ? Cochran's Q of their logits with DeLong's variances; for two levels its root z.

    On the logit scale, as `roc.auc_interval`: with groups of the sizes met here (4 to 50 a class) equal AUCs were called
    different in 2 to 7 % of 20,000 simulated cohorts at p < 0.05, on the plain scale in 1 to 11 %. A level is left out
    where a class is missing or has one child, and where DeLong's variance is 0 (perfect separation, or equal scores).
    """
    estimates, left_out = [], {}
    for level, members in groups.items():
        y, s = labels[members], scores[members]
        reason = missing_class(y)
        if reason is None:
            area, variance = auc(y, s), delong_variance(y, s)
            if math.isnan(variance):
                reason = f"one {OUTCOMES[int(y.sum() == 1)]} child gives no variance"
            elif variance == 0 or not 0 < area < 1:
                reason = "all scores are equal" if np.ptp(s) == 0 else "the classes are separated: no variance"
        if reason is not None:
            left_out[level] = reason
            continue
        estimates.append((level, math.log(area / (1 - area)), (area * (1 - area)) ** 2 / variance))
    tested = tuple(level for level, _, _ in estimates)
    method = "difference of logit AUCs, DeLong's variances"
    if len(tested) < 2:
        return Interaction(method, None, None, None, tested, left_out)
    centre, weight = (np.array([row[column] for row in estimates]) for column in (1, 2))
    q = float(weight @ (centre - weight @ centre / weight.sum()) ** 2)
    p = float(stats.chi2.sf(q, len(tested) - 1))
    if len(tested) == 2:
        return Interaction(
            f"{method}: z", math.copysign(math.sqrt(q), centre[0] - centre[1]), None, p, tested, left_out
        )
    return Interaction(f"{method}: chi-square", q, len(tested) - 1, p, tested, left_out)


def rate_interaction(labels: Labels, decisions: Labels, groups: Groups, *, of: int) -> Interaction:
    """Does the share called controlled differ between the levels among the children with label `of`? Fisher's exact test.

    With `of` 1 this compares sensitivities, with 0 specificities. p is 1 where all or none of them are called controlled.
    """
    members = {level: mask & (labels == of) for level, mask in groups.items()}
    left_out = {level: f"no {OUTCOMES[of]} child" for level, mask in members.items() if not mask.any()}
    tested = tuple(level for level in members if level not in left_out)
    method = "Fisher's exact test of the decisions"
    if len(tested) < 2:
        return Interaction(method, None, None, None, tested, left_out)
    called = [int(decisions[members[level]].sum()) for level in tested]
    size = [int(members[level].sum()) for level in tested]
    if sum(called) in (0, sum(size)):
        return Interaction(method, None, None, 1.0, tested, left_out)
    test = fisher([called, [n - k for n, k in zip(size, called, strict=True)]])
    return Interaction(f"{test.name} test of the decisions", None, None, test.p, tested, left_out)


def slope_interaction(labels: Labels, scores: Floats, groups: Groups) -> Interaction:
    """Does the calibration slope differ between the levels? Likelihood ratio of score x level in a logistic regression.

    With an intercept a level in both models, on the logit of the score: common slope against one slope a level. Levels
    that `no_slope` names are left out. In small groups it rejects somewhat too often: equal slopes in 5 to 9 % of 600
    simulated cohorts at p < 0.05 (5 to 46 a class). Checked against the likelihoods of the levels by themselves.
    """
    left_out = {}
    for level, mask in groups.items():
        reason = no_slope(labels[mask], scores[mask])
        if reason is not None:
            left_out[level] = reason
    tested = tuple(level for level in groups if level not in left_out)
    method = "likelihood ratio of score x level, logistic regression"
    if len(tested) < 2:
        return Interaction(method, None, None, None, tested, left_out)
    inside = np.logical_or.reduce([groups[level] for level in tested])
    y, x = labels[inside], special.logit(scores[inside].clip(RESOLUTION, 1 - RESOLUTION))
    intercepts = np.stack([groups[level][inside] for level in tested], axis=1).astype(np.float64)  # (n, levels)
    common, own = _fit(y, np.c_[intercepts, x]), _fit(y, np.c_[intercepts, intercepts * x[:, None]])
    if common is None or own is None:
        left_out |= dict.fromkeys(tested, "the regression does not converge")
        return Interaction(method, None, None, None, (), left_out)
    ratio, df = max(0.0, 2 * (own.llf - common.llf)), len(tested) - 1
    return Interaction(f"{method}: chi-square", ratio, df, float(stats.chi2.sf(ratio, df)), tested, left_out)


def calibration_slope(labels: Labels, scores: Floats, *, level: float = 0.95) -> tuple[float, Interval] | str:
    """`stats.calibration`'s slope and interval of a group's children, or the reason why there is none, as of `no_slope`."""
    reason = no_slope(labels, scores)
    if reason is not None:
        return reason
    found = calibration(labels, scores, level=level)
    if found.slope is None or found.slope_interval is None:
        return str(found.reason)
    return found.slope, found.slope_interval


def no_slope(labels: Labels, scores: Floats) -> str | None:
    """Why a logistic regression on these children's scores has no slope, or one that says nothing; None where it has."""
    reason = missing_class(labels)
    if reason is not None:
        return reason
    fewest = min(int(labels.sum()), int((1 - labels).sum()))
    if fewest < FEWEST:
        return f"{fewest} in a class, under {FEWEST}"
    positive, negative = scores[labels == 1], scores[labels == 0]
    if np.ptp(scores) == 0:
        return "all scores are equal"
    # Separated, or touching in one value alone: the slope is infinite.
    if positive.min() >= negative.max() or positive.max() <= negative.min():
        return "the classes are separated"
    return None


def _fit(labels: Labels, design: Floats) -> Any:
    """statsmodels' maximum of the likelihood; None where it does not converge.

    Rows are sorted before: sums, and so the last digits, then do not depend on the order of the children.
    """
    order = np.lexsort([labels, *design.T])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what they say is seen in the result
        try:
            fit = Logit(labels[order], design[order]).fit(disp=0, maxiter=100)
        except np.linalg.LinAlgError:
            return None
    return fit if fit.mle_retvals["converged"] and np.isfinite(fit.llf) else None
