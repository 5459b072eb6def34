"""What is said of one case: its scores and the decision, as they stand in CASE.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from scripts.errors import InputError
from scripts.network import ETSCNet
from scripts.outcome import decide

DIGITS = 6  # of what is written; float32 has seven


def scored(case: str, score: float, branch_scores: Sequence[float], *, network: ETSCNet) -> dict[str, Any]:
    """A case's scores.

    Args:
        case: its name.
        score: fused, in [0, 1].
        branch_scores: one a modality, in the network's order, in [0, 1].
        network: gives the modalities and the threshold.

    Returns:
        "case", "score", "branch_scores" (by modality), "decision".

    Raises:
        InputError: a score is not finite.
    """
    if not all(map(math.isfinite, (score, *branch_scores))):
        remedy = "Look at the images; if they are sound, the weights are not."
        raise InputError("the network gave no finite score", expected="a number", remedy=remedy, case=case)
    return {
        "case": case,
        "score": round(score, DIGITS),
        "branch_scores": by_modality(branch_scores, network),
        "decision": decide(score, float(network.threshold)),
    }


def fusion(network: ETSCNet) -> dict[str, Any]:
    """What made one score and a decision of the branches' scores: "fusion_weights" (by modality), "threshold"."""
    return {
        "fusion_weights": by_modality(network.fusion_weights.tolist(), network),
        "threshold": round(float(network.threshold), DIGITS),
    }


def by_modality(values: Sequence[float], network: ETSCNet) -> dict[str, float]:
    """Values (M,) of the network's modalities by their names, rounded."""
    return dict(zip(network.modalities, (round(float(value), DIGITS) for value in values), strict=True))
