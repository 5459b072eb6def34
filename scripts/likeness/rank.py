"""A score's rank among calibration cases as a p-value, and the limit above which it is flagged. No torch.

p = (1 + calibration cases with a score as large or larger) / (n + 1): conformal, valid for a case that is exchangeable with the
calibration's however the scores are distributed (Vovk V, Gammerman A, Shafer G, Algorithmic Learning in a Random World, 2005). A
case is flagged for p <= max(`ALPHA`, 1 / (n + 1)): with fewer than 99 calibration cases, if it lies beyond all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

ALPHA = 0.01


@dataclass(frozen=True)
class Rank:
    """Scores of calibration cases.

    Attributes:
        scores: rising.
    """

    scores: tuple[float, ...]

    @classmethod
    def of(cls, scores: Iterable[float]) -> Rank:
        """Scores in any order, kept with eight digits."""
        return cls(tuple(sorted(float(f"{score:.8g}") for score in scores)))

    @classmethod
    def from_list(cls, said: Any) -> Rank:
        """Scores as a file holds them.

        Raises:
            ValueError, TypeError: none, not finite or not rising.
        """
        values = [float(score) for score in said]
        if not values or not np.isfinite(values).all() or values != sorted(values):
            raise ValueError("calibration scores that are none, not finite or not rising")
        return cls(tuple(values))

    @property
    def rate(self) -> float:
        """The share of cases like the calibration's that is flagged, at most: `ALPHA`, or what n cases can tell."""
        return max(ALPHA, 1 / (len(self.scores) + 1))

    @property
    def limit(self) -> float:
        """A score above it is flagged."""
        return self.scores[
            -int(self.rate * (len(self.scores) + 1) + 1e-9)
        ]  # 1e-9: 0.01 * 100 is a little above 1 or below

    def p(self, score: float) -> float:
        """(1 + calibration cases with a score as large or larger) / (n + 1)."""
        larger = len(self.scores) - int(np.searchsorted(self.scores, score, side="left"))
        return (1 + larger) / (len(self.scores) + 1)

    def flags(self, score: float) -> bool:
        """Whether p <= rate."""
        return score > self.limit
