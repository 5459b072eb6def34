"""How far a case's features lie from the training cohort's, by layer. Part of the reference in `model.json`. No torch.

A branch is listened to at two layers (`features`): its first convolution, which sees how the image was made, and its last
features, which the logit is made of. With one output to learn, the last ones may vary along little more than one line, and tell
nothing of a scanner: see benchmarks/records/DRIFT.md.

A layer's score of a case: Mahalanobis' distance (`mahalanobis`) by the median distance of the validation cases, the
largest of its branches'. Its p-value: the rank among the validation cases (`rank`), for a network's features of its own
training cases are no example of new ones. Over the layers: Bonferroni.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.likeness.mahalanobis import Subspace, fit_subspace
from scripts.likeness.rank import Rank

LAYERS = {"first": "first convolution", "last": "last linear layer"}
Features = Mapping[str, Mapping[str, NDArray[np.float32]]]  # layer -> modality -> (F,) of one case
NOT_GIVEN = "not computed: the network here gives no features, as an exported file in its place."


@dataclass(frozen=True)
class Layer:
    """One layer of every branch.

    Attributes:
        subspaces: modality -> that of the training cases.
        unit: modality -> the median distance of the validation cases.
        rank: the largest distance of each validation case.
    """

    subspaces: Mapping[str, Subspace]
    unit: Mapping[str, float]
    rank: Rank

    def judge(self, features: Mapping[str, NDArray[np.float32]]) -> dict[str, Any]:
        """modality -> (F,) -> {"flagged", "p", "limit", "distance": {modality: by the unit}}.

        Raises:
            InputError: a branch is missing, or features of another network.
        """
        if set(features) != set(self.subspaces):
            found = f"features of {sorted(features)}"
            raise InputError(found, expected=f"of {sorted(self.subspaces)}", remedy="Take the weights' own network.")
        distance = {
            name: float(subspace.distance(features[name][None])[0]) / self.unit[name]
            for name, subspace in self.subspaces.items()
        }
        score = max(distance.values())
        return {
            "flagged": self.rank.flags(score),
            "p": round(self.rank.p(score), 6),
            "limit": round(self.rank.limit, 6),
            "distance": {name: round(value, 6) for name, value in distance.items()},
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "branches": {name: {**one.to_dict(), "unit": self.unit[name]} for name, one in self.subspaces.items()},
            "calibration": list(self.rank.scores),
            "limit": self.rank.limit,
            "expected_rate": self.rank.rate,
        }


@dataclass(frozen=True)
class FeatureReference:
    """All layers.

    Attributes:
        layers: those that could be described.
        reasons: layer -> why it could not.
    """

    layers: Mapping[str, Layer]
    reasons: Mapping[str, str]

    def judge(self, features: Features) -> dict[str, Any]:
        """One case -> {"flagged", "p", "layers": {layer: ...}}; "flagged" is None where no layer can be judged.

        Raises:
            InputError: as `Layer.judge`.
        """
        layers: dict[str, dict[str, Any]] = {}
        for name in LAYERS:
            if name in self.reasons:
                layers[name] = {"flagged": None, "reason": self.reasons[name]}
            elif not features.get(name):
                layers[name] = {"flagged": None, "reason": NOT_GIVEN}
            else:
                layers[name] = self.layers[name].judge(features[name])
        judged = [one for one in layers.values() if one["flagged"] is not None]
        if not judged:
            return {"flagged": None, "reason": " ".join(dict.fromkeys(one["reason"] for one in layers.values()))}
        p = min(1.0, len(judged) * min(one["p"] for one in judged))
        return {"flagged": any(one["flagged"] for one in judged), "p": round(p, 6), "layers": layers}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        layers = {name: layer.to_dict() for name, layer in self.layers.items()}
        return {"layers": layers, "reasons": dict(self.reasons)}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> FeatureReference:
        """What `to_dict` gave.

        Raises:
            InputError: a damaged subspace.
            LookupError, TypeError, ValueError, AttributeError: another damage.
        """
        layers = {}
        for name, layer in said["layers"].items():
            unit = {modality: float(branch["unit"]) for modality, branch in layer["branches"].items()}
            if not unit or min(unit.values()) <= 0:
                raise ValueError("a unit that is not above 0")
            subspaces = {modality: Subspace.from_dict(branch) for modality, branch in layer["branches"].items()}
            layers[name] = Layer(subspaces, unit, Rank.from_list(layer["calibration"]))
        reasons = {str(name): str(reason) for name, reason in said["reasons"].items()}
        if {*layers, *reasons} != set(LAYERS):
            raise ValueError(f"the layers {sorted({*layers, *reasons})}")
        return cls(layers, reasons)


def fit_features(
    training: Sequence[Features], validation: Sequence[Features], *, modalities: Sequence[str]
) -> FeatureReference:
    """The reference of the training cases' features, calibrated on the validation cases'."""
    layers, reasons = {}, {}
    for name, called in LAYERS.items():
        missing = [modality for modality in modalities if any(modality not in case.get(name, {}) for case in training)]
        if missing:
            reasons[name] = f"no features at the {called} of the branches {', '.join(missing)}."
            continue
        try:
            subspaces = {modality: fit_subspace(_stacked(training, name, modality)) for modality in modalities}
        except InputError as error:
            reasons[name] = f"no features at the {called}: {error}"
            continue
        distances = {one: subspaces[one].distance(_stacked(validation, name, one)) for one in modalities}
        unit = {modality: float(f"{np.median(values):.8g}") for modality, values in distances.items()}
        scores = np.max([values / unit[modality] for modality, values in distances.items()], axis=0)  # (N,)
        layers[name] = Layer(subspaces, unit, Rank.of(scores))
    return FeatureReference(layers, reasons)


def distance_sentences(judged: Mapping[str, Any]) -> list[str]:
    """What must be said of a case by `judge`: a sentence a flagged layer."""
    return [
        f"Unlike the training cohort (p = {one['p']:.2g}): the features at the {LAYERS[name]} lie "
        + ", ".join(f"{distance:.3g} ({modality})" for modality, distance in one["distance"].items())
        + f" times as far from it as those of a usual validation case; limit {one['limit']:.3g}."
        for name, one in judged.get("layers", {}).items()
        if one["flagged"]
    ]


def _stacked(cases: Sequence[Features], layer: str, modality: str) -> NDArray[np.float32]:
    return np.stack([case[layer][modality] for case in cases])  # (N, F)
