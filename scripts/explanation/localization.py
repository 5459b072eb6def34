"""The verb `localize`: how much of the maps of `explain` lies on tubers, where the tubers are known.

    python -m scripts localize --dataset_dir DIR --maps_dir results/explain --output_dir results/localization

What is read: `lesion_maps`. What is measured: `overlap`. Every child counts once. Means over children come with
BCa bootstrap intervals (scipy.stats.bootstrap), shares of children with Wilson's. A child without tubers, or whose map is 0
everywhere, is left out and named. No torch.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from tqdm import tqdm

from scripts.answer import Answer
from scripts.bids import SUFFIXES, find_cases
from scripts.errors import InputError
from scripts.explanation.lesion_maps import TUBERS, Found, LesionReader
from scripts.explanation.maps import map_path
from scripts.explanation.overlap import exchange_test, exchanged_distance, exchanged_energy
from scripts.files import write_atomically, write_csv
from scripts.report.localization import localization_section, localization_text
from scripts.stats.decisions import wilson
from scripts.stats.roc import Interval

logger = logging.getLogger(__name__)
SAME = ("Layer", "FeatureGrid", "NetworkGrid", "Model", "ModelSHA256", "Weights")  # in the sidecars of one run
COLUMNS = [
    "case",
    "modality",
    "outcome",
    "energy",
    "tuber_share",
    "peak_distance_mm",
    "near_share",
    "random_energy",
    "left_out",
]


@dataclass(frozen=True)
class Estimate:
    """A mean over children with its interval; None where all children have one value."""

    value: float
    interval: Interval | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the interval as [low, high]."""
        return {**asdict(self), "interval": None if self.interval is None else list(self.interval)}


def localize(
    dataset_dir: str | Path,
    maps_dir: str | Path,
    *,
    output_dir: str | Path = "results/localization",
    random_dir: str | Path | None = None,
    tolerance_mm: float = 5.0,
    method: Literal["gradcam", "gradcam++"] = "gradcam",
    seed: int = 0,
    resamples: int = 9999,
) -> Answer:
    """Measure how much of the maps of `explain` lies on tubers, where the tubers are known.

    Written: localization.json, localization.csv (one row a map), localization.md and failures.csv.

    Args:
        dataset_dir: BIDS folder with the lesion labels in a derivative.
        maps_dir: the output_dir of `explain` on that folder.
        output_dir: folder of the results.
        random_dir: the output_dir of `explain --random_seed` on that folder: maps of weights that learnt nothing.
        tolerance_mm: of the pointing game: how far from a tuber a map's maximum may lie.
        method: of the maps: gradcam or gradcam++.
        seed: of the bootstrap and of the permutations.
        resamples: of both.

    Example:
        python -m scripts localize --dataset_dir data/cohort --maps_dir results/explain \\
            --random_dir results/explain-random --output_dir results/localization

    Returns:
        The table, and localization.json.

    Raises:
        InputError: no maps, maps of several runs mixed, several sessions of one child, or no two children to compare.
    """
    folder, cases = Path(str(output_dir)), find_cases(dataset_dir)
    modalities = [
        name
        for name in SUFFIXES
        if any((Path(maps_dir) / map_path(c["case"], name, method=method)).is_file() for c in cases)
    ]
    if not modalities:
        raise InputError(
            f"no {method} map of this data set",
            expected="the output of `python -m scripts explain`",
            remedy="Give that run's --output_dir as --maps_dir.",
            file=maps_dir,
        )
    failures: list[dict[str, str]] = []
    rows: list[dict[str, Any]] = []
    content: dict[str, Any] = {
        "tolerance_mm": tolerance_mm,
        "method": method,
        "seed": seed,
        "resamples": resamples,
        "level": 0.95,
        "lesions": list(TUBERS),
        "modalities": {},
    }
    read = LesionReader(
        Path(dataset_dir), Path(maps_dir), None if random_dir is None else Path(random_dir), tolerance_mm, method
    )
    for name in modalities:
        found: list[Found] = []
        for case in tqdm(cases, desc=f"comparing {SUFFIXES[name]}", disable=None):
            try:
                found.append(read(case, name))
            except Exception as error:  # one child's failure; the others go on
                reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                logger.error("%s", reason)
                failures.append({"case": f"{case['case']} {name}", "reason": reason})
        content["modalities"][name] = summarise(found, tolerance_mm=tolerance_mm, seed=seed, resamples=resamples)
        rows += [_row(one, name) for one in found]
        content["warnings"] = sorted({w for one in found for w in one.sidecar["Warnings"]})
    content["failures"] = len(failures)
    write_atomically(folder / "localization.json", json.dumps(content, indent=1) + "\n")
    write_csv(folder / "localization.csv", rows, columns=COLUMNS)
    write_csv(folder / "failures.csv", failures, columns=["case", "reason"])
    text = localization_text(localization_section(folder / "localization.json"))
    write_atomically(folder / "localization.md", text + "\n")
    if failures:
        text = f"{text}\n\n{len(failures)} maps failed, see {folder / 'failures.csv'}"
    return Answer(text, {**content, "failures": failures}, failed=bool(failures))


def summarise(found: Sequence[Found], *, tolerance_mm: float, seed: int, resamples: int) -> dict[str, Any]:
    """One modality's figures, ready for JSON. The order of the children does not matter.

    Raises:
        InputError: maps of several runs, several of one child, or fewer than two children to compare.
    """
    found = sorted(found, key=lambda one: one.case)
    settings = _settings(found)
    children = [(one, one.measured) for one in found if one.measured is not None]
    if len(children) < 2:
        raise InputError(
            f"{len(children)} children with tubers and a map",
            expected="two or more",
            remedy="Give a cohort with lesion labels.",
        )
    measured = [one for _, one in children]

    def mean(values: Sequence[float] | NDArray[np.float64]) -> dict[str, Any]:
        return mean_estimate(np.asarray(values), seed=seed, resamples=resamples).to_dict()

    energy = np.array([one.energy for one in measured])
    share = np.array([one.lesion_share for one in measured])
    distance = np.array([one.distance_mm for one in measured])
    boxed = [one.boxed for one in measured]
    outcomes = [str(one.sidecar["Outcome"]) for one, _ in children]
    traded = exchange_test(exchanged_energy(boxed), outcomes, permutations=resamples, seed=seed)
    hits = (exchanged_distance(boxed) <= tolerance_mm).astype(float)
    near = exchange_test(hits, outcomes, permutations=resamples, seed=seed)
    summary: dict[str, Any] = {
        **settings,
        "children": len(measured),
        "left_out": {one.case: one.left_out for one in found if one.left_out},
        "resolution_mm": np.median([one.sidecar["ResolutionMillimeters"] for one, _ in children], axis=0).tolist(),
        "by_outcome": {},
        "energy": mean(energy),
        "tuber_share": mean(share),
        "energy_minus_share": mean(energy - share),
        "on_tuber": _proportion(distance == 0),
        "near_tuber": _proportion(distance <= tolerance_mm),
        "near_share": mean([one.near_share for one in measured]),
        "exchange": {
            "permutations": resamples,
            "children": len(traded.gain),
            "energy": {"own": traded.own, "others": traded.others, "gain": mean(traded.gain), "p": traded.p},
            "near_tuber": {"own": near.own, "others": near.others, "gain": mean(near.gain), "p": near.p},
        },
    }
    for outcome in sorted(set(outcomes)):
        chosen = np.array([one == outcome for one in outcomes])
        summary["by_outcome"][outcome] = {
            "children": int(chosen.sum()),
            "energy": mean(energy[chosen]),
            "tuber_share": mean(share[chosen]),
            "energy_minus_share": mean((energy - share)[chosen]),
        }
    paired = [(one.energy, found.random.energy) for found, one in children if found.random is not None]
    if paired:
        trained, random = np.array(paired).T
        summary["random_weights"] = {
            "energy": mean(random),
            "trained_minus_random": mean(trained - random),
            "rank_correlation": mean([_rank_correlation(f) for f, _ in children if f.random is not None]),
        }
    return summary


def mean_estimate(values: NDArray[np.float64], *, seed: int, resamples: int = 9999, level: float = 0.95) -> Estimate:
    """Mean over children with its BCa interval, of their values (N,); no interval of fewer than three or of equal ones."""
    value = math.fsum(values) / len(values)
    if len(values) < 3 or np.ptp(values) < 1e-12:
        return Estimate(value, None, len(values))
    drawn = stats.bootstrap(
        (np.sort(values),), np.mean, n_resamples=resamples, confidence_level=level, method="BCa", rng=seed, batch=1000
    )
    low, high = map(float, drawn.confidence_interval)
    return Estimate(value, (low, high) if math.isfinite(low + high) else None, len(values))


def _settings(found: Sequence[Found]) -> dict[str, Any]:
    """What all maps share, and one map a child."""
    if not found:
        raise InputError("no map could be read", expected="maps of this data set", remedy="See failures.csv.")
    for key in SAME:
        values = {json.dumps(one.sidecar.get(key)) for one in found}
        if len(values) > 1:
            raise InputError(
                f"the maps differ in {key}: {', '.join(sorted(values)[:3])}",
                expected="maps of one run",
                remedy="Make them again in a new folder.",
            )
    subjects = [one.case.split("_")[0] for one in found]
    twice = sorted({name for name in subjects if subjects.count(name) > 1})
    if twice:
        raise InputError(
            f"several sessions of {', '.join(twice[:5])}",
            expected="one a child: the intervals take the maps as independent",
            remedy="Leave one session of each child in the data set.",
        )
    return {key[0].lower() + key[1:]: found[0].sidecar.get(key) for key in SAME}


def _proportion(hits: NDArray[np.bool_]) -> dict[str, Any]:
    count = int(hits.sum())
    return Estimate(count / len(hits), wilson(count, len(hits)), len(hits)).to_dict()


def _rank_correlation(found: Found) -> float:
    """Spearman's, of the two maps over the points in the brain; 0 where one is the same everywhere there."""
    if found.measured is None or found.random is None:
        return math.nan
    inside = found.measured.boxed.brain > 0.5
    one, other = found.measured.boxed.map[inside], found.random.boxed.map[inside]
    return 0.0 if np.ptp(one) == 0 or np.ptp(other) == 0 else float(stats.spearmanr(one, other).statistic)


def _row(one: Found, modality: str) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": one.case,
        "modality": modality,
        "outcome": one.sidecar["Outcome"],
        "left_out": one.left_out,
    }
    if one.measured is not None:
        row |= {
            "energy": round(one.measured.energy, 6),
            "tuber_share": round(one.measured.lesion_share, 6),
            "peak_distance_mm": round(one.measured.distance_mm, 2),
            "near_share": round(one.measured.near_share, 6),
        }
    if one.random is not None:
        row["random_energy"] = round(one.random.energy, 6)
    return row
