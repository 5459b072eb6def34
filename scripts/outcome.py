"""What is predicted, in words. No torch."""

from __future__ import annotations

OUTCOMES = ("uncontrolled", "controlled")  # by label: 1 = controlled, of which the score is the probability
RESEARCH_ONLY = "Research only, not for diagnosis."


def decide(score: float, threshold: float) -> str:
    """The outcome that a score is taken for: controlled at the threshold or above it."""
    return OUTCOMES[int(score >= threshold)]
