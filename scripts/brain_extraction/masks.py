"""Images -> brain masks by a method that needs nothing but the image: "hd-bet" or "bet"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.brain_extraction import bet, hd_bet
from scripts.brain_extraction.carry import Affine, Mask

COMPUTED = ("hd-bet", "bet")


@dataclass(frozen=True)
class Extractor:
    """How a mask is made.

    Attributes:
        method: one of `COMPUTED`.
        weights: HD-BET's model folder; None: its own.
        device: "cpu" or "cuda", of HD-BET.
        mirroring: HD-BET's test-time augmentation.
    """

    method: str
    weights: str | None = None
    device: str = "cpu"
    mirroring: bool = False

    def mask(self, values: NDArray[np.floating], affine: Affine) -> Mask:
        """(x, y, z) with its affine (voxel -> RAS+ mm) -> the brain, (x, y, z).

        Raises:
            UnavailableError: the method's package or weights are not there.
        """
        if self.method == "bet":
            return bet.bet_mask(values, affine)
        return hd_bet.hd_bet_mask(values, affine, weights=self.weights, device=self.device, mirroring=self.mirroring)

    def describe(self) -> dict[str, Any]:
        """Method, version, and what decides over the result: for a sidecar.

        Raises:
            UnavailableError: the method's package or weights are not there.
        """
        if self.method == "bet":
            parameters = {"fractional_threshold": bet.FRACTION, "voxel_mm": bet.VOXEL_MM, "iterations": bet.ITERATIONS}
            return {"method": "bet", "software": f"brainextractor {bet.bet_version()}", **parameters}
        return {
            "method": "hd-bet",
            "software": f"hd-bet {hd_bet.hd_bet_version()}",
            "weights_sha256": hd_bet.check_weights(self.weights),
            "test_time_augmentation": self.mirroring,
            "device": self.device,
        }
