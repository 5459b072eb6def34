"""Decision curve: whether to act on a model's risk is worth more than to act on everyone or on no one.

The event that one acts on is, by default, *uncontrolled*: it is the child whose seizures the first drugs will not control
that would be given another treatment. Its risk is 1 - score, and a child is treated if the risk >= the threshold
probability t, at which one is willing to treat 1 / t children to reach one who needs it.

Net benefit = TP / N - FP / N · t / (1 - t), in true positives a child (Vickers AJ, Elkin EB, Med Decis Making
2006;26:565). It takes the scores as probabilities: look at their calibration first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from scripts.errors import InputError
from scripts.stats.metrics import check_probabilities
from scripts.stats.roc import check_scores

THRESHOLDS = tuple(round(0.01 * step, 2) for step in range(1, 100))


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit at each threshold probability of acting by the model, on all, and on none (0)."""

    event: str  # controlled or uncontrolled
    prevalence: float  # of the event
    thresholds: tuple[float, ...]
    model: tuple[float, ...]
    treat_all: tuple[float, ...]
    treat_none: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def decision_curve(
    labels: ArrayLike, scores: ArrayLike, *, event: str = "uncontrolled", thresholds: Sequence[float] = THRESHOLDS
) -> DecisionCurve:
    """Net benefit of the model, of treating all and of treating none.

    Args:
        labels: (N,), 1 = controlled, 0 = uncontrolled.
        scores: (N,), probabilities that seizures will be controlled.
        event: what one acts on: "uncontrolled" (risk 1 - score) or "controlled" (risk = score).
        thresholds: probabilities between 0 and 1 at which one would act.

    Raises:
        InputError: as of `roc.check_scores`; a score outside [0, 1]; another event; a threshold that is not between 0 and 1.
    """
    y, s = check_scores(labels, scores)
    check_probabilities(s)
    if event not in ("uncontrolled", "controlled"):
        raise InputError(f"event is {event!r}", expected="uncontrolled or controlled", remedy="Give one of these.")
    t = np.asarray(thresholds, dtype=np.float64)
    if t.ndim != 1 or t.size == 0 or not ((t > 0) & (t < 1)).all():
        raise InputError(
            f"thresholds are {t.tolist()}",
            expected="probabilities between 0 and 1, neither of them",
            remedy="At 1 the odds are infinite. Give 0.01 to 0.99, for instance.",
        )
    happened, risk = (y == 1, s) if event == "controlled" else (y == 0, 1 - s)
    # 1 - 0.9 is not 0.1 in binary: a risk at the threshold is told from one below it to 12 digits.
    risk, edge = np.round(risk, 12), np.round(t, 12)
    treated = y.size - np.searchsorted(np.sort(risk), edge)  # risk >= threshold, at each threshold
    true = happened.sum() - np.searchsorted(np.sort(risk[happened]), edge)
    odds, prevalence = t / (1 - t), float(happened.mean())
    return DecisionCurve(
        event=event,
        prevalence=prevalence,
        thresholds=tuple(t.tolist()),
        model=tuple((true / y.size - (treated - true) / y.size * odds).tolist()),
        treat_all=tuple((prevalence - (1 - prevalence) * odds).tolist()),
        treat_none=(0.0,) * t.size,
    )
