"""What the training cohort looked like, and how unlike it one case is. Stored in `model.json` under "reference". No torch.

Two questions, each answered once a case, with one p-value (`rank`):

- quality: the statistics of `quality`, each as z = (value - median) / scale. The scale is that of the side on which the
  value lies, the larger of (q95 - median) / 1.645 and (q99 - median) / 2.326 of the training cases (a long tail is part of the
  cohort), but at least `FLOOR` of the median: a protocol that never varied would otherwise flag a rounding. A case's score is
  its largest |z|, ranked among the training and validation cases (the quantiles are the training's own, which makes the limit a
  little low).
- out of distribution: the distance of the network's features (`feature_reference`), ranked among validation cases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.likeness.feature_reference import FeatureReference
from scripts.likeness.mahalanobis import REMEDY
from scripts.likeness.quality import Statistics
from scripts.likeness.rank import Rank

FLOOR = 0.02  # of the median
SMALLEST = 1e-4  # of a scale, in intensities or mm: where the median is 0, rounding
SUMMARY = ("mean", "sd", "min", "max", "q05", "q25", "q50", "q75", "q95", "below", "above")
NONE_WRITTEN = (
    "no reference: model.json does not say what the training cohort looked like. Write it: python -m scripts reference."
)
Measured = Mapping[str, Statistics]  # modality -> its statistics


@dataclass(frozen=True)
class Reference:
    """The training cohort.

    Attributes:
        statistics: modality -> statistic -> what `SUMMARY` names.
        quality: largest |z| of the calibration cases.
        features: of the network.
        cases: training, validation.
    """

    statistics: Mapping[str, Mapping[str, Mapping[str, float]]]
    quality: Rank
    features: FeatureReference
    cases: Mapping[str, int]

    def z(self, measured: Measured) -> dict[str, dict[str, float]]:
        """modality -> statistic -> z.

        Raises:
            InputError: a modality or a statistic is missing.
        """
        try:
            return {
                modality: {name: _z(measured[modality][name], summary) for name, summary in summaries.items()}
                for modality, summaries in self.statistics.items()
            }
        except KeyError as error:
            raise InputError(f"no {error} measured", expected="what the reference holds", remedy=REMEDY) from error

    def judge_quality(self, measured: Measured) -> dict[str, Any]:
        """{"flagged", "p", "limit", "statistics": {modality: {statistic: {"value", "z", "flagged"}}}}, for JSON."""
        z = self.z(measured)
        score = largest(z)
        return {
            "flagged": self.quality.flags(score),
            "p": round(self.quality.p(score), 6),
            "limit": round(self.quality.limit, 6),
            "statistics": {
                modality: {
                    name: {
                        "value": round(measured[modality][name], 6),
                        "z": round(value, 6),
                        "flagged": self.quality.flags(abs(value)),
                    }
                    for name, value in values.items()
                }
                for modality, values in z.items()
            },
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "cases": dict(self.cases),
            "statistics": {
                modality: {name: dict(summary) for name, summary in summaries.items()}
                for modality, summaries in self.statistics.items()
            },
            "calibration": list(self.quality.scores),
            "limit": self.quality.limit,
            "expected_rate": self.quality.rate,
            "features": self.features.to_dict(),
        }


def reference_of(said: Mapping[str, Any]) -> Reference | None:
    """The reference that `model.json` holds, None where it holds none.

    Raises:
        InputError: it is damaged.
    """
    if not isinstance(entry := said.get("reference"), Mapping):
        return None
    try:
        statistics = {
            modality: {name: {key: float(summary[key]) for key in SUMMARY} for name, summary in summaries.items()}
            for modality, summaries in entry["statistics"].items()
        }
        scales = [s[side] for one in statistics.values() for s in one.values() for side in ("below", "above")]
        if not (scales and min(scales) > 0):
            raise ValueError("a scale that is not above 0")
        quality, features = Rank.from_list(entry["calibration"]), FeatureReference.from_dict(entry["features"])
        cases = {name: int(count) for name, count in entry["cases"].items()}
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        found = f"a damaged reference ({type(error).__name__}: {error})"
        raise InputError(found, expected="what a training writes", remedy=REMEDY) from error
    return Reference(statistics, quality, features, cases)


def summarise(values: Sequence[float]) -> dict[str, float]:
    """What `SUMMARY` names of one statistic's values (N,), N 1 or more."""
    x = np.sort(np.asarray(values, dtype=np.float64))  # sums must not depend on the order of the cases
    q01, q05, q25, q50, q75, q95, q99 = (float(q) for q in np.quantile(x, (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)))
    floor = max(FLOOR * abs(q50), SMALLEST)
    summary = {
        "mean": float(x.mean()),
        "sd": float(x.std(ddof=1)) if x.size > 1 else 0.0,
        "min": float(x[0]),
        "max": float(x[-1]),
        "q05": q05,
        "q25": q25,
        "q50": q50,
        "q75": q75,
        "q95": q95,
        "below": max((q50 - q05) / 1.645, (q50 - q01) / 2.326, floor),
        "above": max((q95 - q50) / 1.645, (q99 - q50) / 2.326, floor),
    }
    return {name: float(f"{value:.8g}") for name, value in summary.items()}


def largest(z: Mapping[str, Mapping[str, float]]) -> float:
    """The largest |z| of a case."""
    return max(abs(value) for values in z.values() for value in values.values())


def sentences(quality: Mapping[str, Any], reference: Reference) -> list[str]:
    """What must be said of a case by `judge_quality`: nothing, or one sentence with the three statistics furthest off."""
    if not quality["flagged"]:
        return []
    flagged = [
        (abs(one["z"]), f"{modality} {name} {one['value']:.4g} (training {_range(reference, modality, name)})")
        for modality, statistics in quality["statistics"].items()
        for name, one in statistics.items()
        if one["flagged"]
    ]
    furthest = [text for _, text in sorted(flagged, key=lambda pair: (-pair[0], pair[1]))]
    more = f" and {len(furthest) - 3} more" if len(furthest) > 3 else ""
    return [f"Unlike the training cohort (p = {quality['p']:.2g}): {', '.join(furthest[:3])}{more}."]


def _range(reference: Reference, modality: str, name: str) -> str:
    summary = reference.statistics[modality][name]
    return f"{summary['min']:.4g} to {summary['max']:.4g}"


def _z(value: float, summary: Mapping[str, float]) -> float:
    away = value - summary["q50"]
    return away / summary["above" if away > 0 else "below"]
