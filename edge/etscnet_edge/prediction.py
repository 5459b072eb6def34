"""What is said of one study: the score, and everything that a reader of it must know."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Prediction:
    """One study's result.

    Attributes:
        score: fused, 0 to 1, that seizures will be controlled.
        branch_scores: modality -> its own.
        decision: the label from the threshold on.
        threshold: of the decision.
        calibrated_probability: of the same event, sigmoid(logit(score) / temperature); None without a temperature.
        calibration: the temperature, or the reason why there is none.
        quality: how like the training cohort the study's images are; see quality.judge.
        out_of_distribution: {"flagged": None, "reason"}: the distance of the network's features is not computed here.
        brain_extraction: the method, of a mask its millilitres, of the network its SHA-256 and what it found; see Study.
        files: what was scored: modality -> its name and SHA-256; masks as "<modality>_mask".
        model: version, form, file, SHA-256, runtime, precision, preprocessing, threads, this package's version.
        milliseconds: by stage: "load" of the model, "read" with all checks, "brain_extraction", "preprocess", "network".
        peak_memory_mb: the most resident memory that the process has had, 10^6 bytes; None where the system doesn't tell.
        warnings: the intended use, what the manifest says of the weights, and where this study is unlike the training cohort.
        image: (1, M, x, y, z) float32, as the network saw it; not in the JSON.
    """

    score: float
    branch_scores: dict[str, float]
    decision: str
    threshold: float
    calibrated_probability: float | None
    calibration: dict[str, Any]
    quality: dict[str, Any]
    out_of_distribution: dict[str, Any]
    brain_extraction: dict[str, Any]
    files: dict[str, dict[str, str]]
    model: dict[str, Any]
    milliseconds: dict[str, float]
    peak_memory_mb: float | None
    warnings: list[str]
    image: NDArray[np.float32] = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "image"}
