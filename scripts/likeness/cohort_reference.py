"""From a trained network and its cohort to what `model.json` says of it: reference (`reference`) and temperature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from scripts.dataset import StudyDataset
from scripts.errors import InputError
from scripts.likeness.feature_reference import Features, fit_features
from scripts.likeness.features import BranchFeatures
from scripts.likeness.quality import Image, Statistics, case_statistics, ras_grid
from scripts.likeness.rank import Rank
from scripts.likeness.reference import Reference, largest, summarise
from scripts.network import ETSCNet
from scripts.stats.temperature import fit_temperature


@dataclass(frozen=True)
class Measurement:
    """One case.

    Attributes:
        case: its name.
        label: 0 or 1.
        score: fused.
        statistics: modality -> its statistics.
        features: layer -> modality -> (F,) float32; without what the network does not give.
    """

    case: str
    label: int
    score: float
    statistics: dict[str, Statistics]
    features: Features


def describe_cohort(training: Sequence[Measurement], validation: Sequence[Measurement]) -> dict[str, Any]:
    """{"temperature", "reference"} for `model.json`, of the two parts of the split as `measure` found them."""
    temperature = fit_temperature([one.label for one in validation], [one.score for one in validation])
    return {"temperature": temperature.to_dict(), "reference": build_reference(training, validation).to_dict()}


def measure(network: ETSCNet, dataset: StudyDataset) -> list[Measurement]:
    """Every case of a part, scored and measured without augmentation, on the network's device.

    Raises:
        InputError: a case at fault.
    """
    plain = StudyDataset(dataset.data, dataset.transform, cache_dir=dataset.cache_dir)
    device = next(network.parameters()).device
    measured = []
    training = network.training
    network.eval()
    with BranchFeatures(network) as features, torch.inference_mode():
        for index in tqdm(range(len(plain)), desc="reference", disable=None):
            sample = plain[index]
            score = float(network(sample["image"][None].to(device)))
            found = features.of_case(0)
            image = sample["image"].numpy()
            statistics = study_statistics(image, plain.data[index], network.modalities)
            measured.append(Measurement(sample["case"], int(sample["label"]), score, statistics, found))
    network.train(training)
    return measured


def study_statistics(image: Image, case: Mapping[str, Any], modalities: Sequence[str]) -> dict[str, Statistics]:
    """image (M, x, y, z), the prepared one, and the case's files -> modality -> its statistics.

    Raises:
        InputError: a channel without a brain.
    """
    statistics = {}
    for channel, modality in zip(image, modalities, strict=True):
        try:
            statistics[modality] = case_statistics(channel, *ras_grid(case[modality]))
        except InputError as error:
            found = f"{modality}: {error.found}"
            raise InputError(
                found, expected=error.expected, remedy=error.remedy, case=str(case["case"]), file=case[modality]
            ) from error
    return statistics


def build_reference(training: Sequence[Measurement], validation: Sequence[Measurement]) -> Reference:
    """The reference of a cohort: statistics of the training cases, calibrated on training and validation cases; features of the
    training cases, calibrated on validation cases."""
    names = {modality: list(found) for modality, found in training[0].statistics.items()}
    statistics = {
        modality: {name: summarise([one.statistics[modality][name] for one in training]) for name in found}
        for modality, found in names.items()
    }
    cases = {"training": len(training), "validation": len(validation)}
    features = fit_features(
        [one.features for one in training], [one.features for one in validation], modalities=list(names)
    )
    bare = Reference(statistics, Rank((0.0,)), features, cases)
    quality = Rank.of(largest(bare.z(one.statistics)) for one in [*training, *validation])
    return Reference(statistics, quality, features, cases)
