"""Every model on every site's testing part: predictions, kept and not made twice, and the table of AUCs."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.bundle import ConfigParser
from numpy.typing import NDArray

from federated.datalists import Parts
from federated.scoring import score, write_predictions
from federated.site_file import SiteFile
from scripts.checkpoint import load_model
from scripts.dataset import StudyDataset
from scripts.files import sha256
from scripts.network import ETSCNet
from scripts.stats.comparison import delong_test
from scripts.stats.roc import auc, auc_interval, delong_variance, normal_quantile

LEVEL = 0.95


@dataclass(frozen=True)
class Predicted:
    """One model on one site's testing part: labels and fused scores (N,), in the order of the site's split."""

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Cell:
    """An AUC with its 95 % interval; `children` (controlled, uncontrolled)."""

    model: str
    site: str
    auc: float
    low: float
    high: float
    children: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON and a table's row."""
        return {**asdict(self), "children": list(self.children)}


@dataclass(frozen=True)
class Difference:
    """AUC of one model minus another's on the same children; over several sites the mean of the sites' differences.

    `p` is two-sided, of DeLong's test; None where no variance can be had.
    """

    first: str
    second: str
    site: str
    difference: float
    low: float | None
    high: float | None
    p: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON and a table's row."""
        return asdict(self)


Predictions = Mapping[str, Mapping[str, Predicted]]  # model -> site -> predictions


def predict(
    models: Mapping[str, Mapping[str, Path]],
    sites: Sequence[SiteFile],
    splits: Mapping[str, Parts],
    *,
    output: Path,
    modalities: Sequence[str],
    spatial_size: Sequence[int],
) -> dict[str, dict[str, Predicted]]:
    """Score every site's testing part by every model that has weights for it.

    Args:
        models: model -> site -> weights.
        sites: where their data are.
        splits: of `read_splits`.
        output: MODEL/SITE.csv go there; those of the same weights are kept.
        modalities, spatial_size: of all models.
    """
    result: dict[str, dict[str, Predicted]] = {}
    for model, files in models.items():
        for site in sites:
            if site.name not in files:
                continue
            weights, table = files[site.name], output / model / f"{site.name}.csv"
            version = sha256(weights)[:16]
            cases = splits[site.name]["testing"]
            if not _there(table, version, [str(case["case"]) for case in cases]):
                network, dataset = _prepared(site, cases, modalities, spatial_size)
                load_model(network, weights, spatial_size=spatial_size, device="cpu")
                write_predictions(table, score(network, dataset), network, modalities=modalities, model_version=version)
            rows = _rows(table)
            labels = np.array([int(row["label"]) for row in rows], dtype=np.int64)
            scores = np.array([float(row["score"]) for row in rows])
            result.setdefault(model, {})[site.name] = Predicted(labels, scores)
    return result


def cells(predictions: Predictions) -> list[Cell]:
    """The AUC of every model at every site with DeLong's interval, and the mean over sites where a model has all of them."""
    found = []
    sites = sorted({site for by_site in predictions.values() for site in by_site})
    for model, by_site in predictions.items():
        for site, one in by_site.items():
            low, high = auc_interval(one.labels, one.scores, level=LEVEL)
            positives = int(one.labels.sum())
            found.append(
                Cell(model, site, auc(one.labels, one.scores), low, high, (positives, one.labels.size - positives))
            )
        if set(by_site) == set(sites):
            areas = [auc(one.labels, one.scores) for one in by_site.values()]
            variances = [_variance(one) for one in by_site.values()]
            mean, half = float(np.mean(areas)), normal_quantile(LEVEL) * math.sqrt(sum(variances)) / len(areas)
            positives = sum(int(one.labels.sum()) for one in by_site.values())
            total = sum(one.labels.size for one in by_site.values())
            found.append(
                Cell(model, "mean", mean, max(0.0, mean - half), min(1.0, mean + half), (positives, total - positives))
            )
    return found


def _variance(one: Predicted) -> float:
    """DeLong's; where that is 0 or cannot be had (perfect separation, equal scores), the one that the interval stands for."""
    variance = delong_variance(one.labels, one.scores)
    if variance > 0:
        return variance
    low, high = auc_interval(one.labels, one.scores, level=LEVEL)
    return ((high - low) / 2 / normal_quantile(LEVEL)) ** 2


def differences(predictions: Predictions, pairs: Sequence[tuple[str, str]]) -> list[Difference]:
    """Paired differences at every site, and their mean: sites are independent, so the variances of K differences add up to K²
    times the mean's.

    Args:
        predictions: of both models of every pair.
        pairs: (first, second).
    """
    found = []
    for first, second in pairs:
        ones = []
        for site, one in predictions[first].items():
            other = predictions[second][site]
            test = delong_test(one.labels, one.scores, other.scores, level=LEVEL)
            low, high = test.interval or (None, None)
            ones.append(test)
            found.append(Difference(first, second, site, test.difference, low, high, test.p))
        mean = float(np.mean([test.difference for test in ones]))
        errors = [test.standard_error for test in ones if test.standard_error is not None]
        if len(errors) < len(ones) or not any(errors):
            found.append(Difference(first, second, "mean", mean, None, None, None))
            continue
        error = math.sqrt(sum(value**2 for value in errors)) / len(ones)
        half = normal_quantile(LEVEL) * error
        p = math.erfc(abs(mean) / error / math.sqrt(2))
        found.append(Difference(first, second, "mean", mean, mean - half, mean + half, p))
    return found


def _prepared(
    site: SiteFile, cases: Sequence[Mapping[str, Any]], modalities: Sequence[str], spatial_size: Sequence[int]
) -> tuple[ETSCNet, StudyDataset]:
    parser = ConfigParser()
    parser.read_config(str(site.bundle_root / "configs" / "train.json"))
    for name, value in {
        "bundle_root": str(site.bundle_root),
        "modalities": list(modalities),
        "spatial_size": list(spatial_size),
        "brain_extraction": site.brain_extraction,
    }.items():
        parser[name] = value
    transform = parser.get_parsed_content("preprocessing")
    dataset = StudyDataset(cases, transform, cache_dir=site.cache_dir)
    network: ETSCNet = parser.get_parsed_content("network_def")
    return network, dataset


def _there(table: Path, version: str, cases: Sequence[str]) -> bool:
    rows = _rows(table) if table.is_file() else []
    return [row["case"] for row in rows] == list(cases) and all(row["model_version"] == version for row in rows)


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
