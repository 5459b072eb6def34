"""Beside a case's score: its calibrated probability, and whether it looks like the training cohort, by the weights' `model.json`.

A case that does not is scored all the same, and a warning says so. Weights whose sidecar says nothing: the result says that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.checkpoint import provenance
from scripts.errors import InputError
from scripts.likeness.cohort_reference import study_statistics
from scripts.likeness.feature_reference import distance_sentences
from scripts.likeness.features import BranchFeatures
from scripts.likeness.quality import Image
from scripts.likeness.reference import NONE_WRITTEN, reference_of, sentences
from scripts.network import ETSCNet
from scripts.stats.temperature import calibrated, temperature_of


class Likeness:
    """Compares cases with the training cohort, as they go through the network. Close it afterwards.

    Args:
        network: that scores them.
        checkpoint: the file that its weights came from; `model.json` beside it is read.
        cases: their dictionaries, for the paths of their images.

    Raises:
        InputError: the sidecar's reference or temperature is damaged.
    """

    def __init__(self, network: ETSCNet, checkpoint: str | Path, cases: Sequence[Mapping[str, Any]]) -> None:
        said = provenance(checkpoint)
        self.modalities = network.modalities
        self.temperature, self.no_temperature = temperature_of(said)
        self.reference = reference_of(said)
        if self.reference is not None and set(self.reference.statistics) != set(self.modalities):
            raise InputError(
                f"a reference of {sorted(self.reference.statistics)}",
                expected=f"of {list(self.modalities)}",
                remedy="Write it again: python -m scripts reference.",
                file=Path(checkpoint).with_suffix(".json"),
            )
        self._cases = {str(case["case"]): case for case in cases}
        self._features = BranchFeatures(network)

    def close(self) -> None:
        """Listen to the network no longer."""
        self._features.close()

    def judge(self, case: str, score: float, image: Image, *, index: int) -> tuple[dict[str, Any], list[str]]:
        """What the result says beside the score, and the warnings.

        Args:
            case: its name.
            score: fused.
            image: (M, x, y, z), the prepared one.
            index: of the case in the network's latest batch.

        Raises:
            InputError: a channel without a brain, or features that are not finite.
        """
        probability, calibration = None, {"temperature": self.temperature, "reason": self.no_temperature}
        if self.temperature is not None:
            probability, calibration = (
                round(float(calibrated(score, self.temperature)), 6),
                {"temperature": self.temperature},
            )
        judged = {"calibrated_probability": probability, "calibration": calibration}
        if self.reference is None:
            nothing = {"flagged": None, "reason": NONE_WRITTEN}
            return {**judged, "quality": nothing, "out_of_distribution": nothing}, []
        quality = self.reference.judge_quality(study_statistics(image, self._cases[case], self.modalities))
        distance = self.reference.features.judge(self._features.of_case(index))
        warnings = [*sentences(quality, self.reference), *distance_sentences(distance)]
        return {**judged, "quality": quality, "out_of_distribution": distance}, warnings
