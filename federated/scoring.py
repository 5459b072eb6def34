"""A network's scores of one part of a site's children, and the table of them, which stays at the site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from scripts.dataset import StudyDataset
from scripts.files import write_csv
from scripts.fusion import fuse
from scripts.network import ETSCNet
from scripts.outcome import decide

BATCH = 8


@dataclass(frozen=True)
class Scored:
    """The children of one part.

    Attributes:
        cases: their names.
        labels: (N,) 1 controlled, 0 uncontrolled.
        scores: (N, M) probabilities of the branches.
    """

    cases: tuple[str, ...]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]

    @property
    def children(self) -> tuple[int, int]:
        """(uncontrolled, controlled)."""
        return int((self.labels == 0).sum()), int((self.labels == 1).sum())


def score(network: ETSCNet, dataset: StudyDataset) -> Scored:
    """Scores of every case of a data set, each labelled, in evaluation mode; the network's mode is put back."""
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    cases: list[str] = []
    labels: list[int] = []
    logits = []
    with torch.no_grad():
        for start in range(0, len(dataset), BATCH):  # no more images in memory than a batch
            samples = [dataset[index] for index in range(start, min(start + BATCH, len(dataset)))]
            cases += [str(sample["case"]) for sample in samples]
            labels += [int(sample["label"]) for sample in samples]
            image = torch.stack([sample["image"] for sample in samples])
            logits.append(network(image.to(device), return_logits=True).double().cpu())
    network.train(training)
    return Scored(tuple(cases), np.array(labels, dtype=np.int64), torch.sigmoid(torch.cat(logits)).numpy())


def fused(scored: Scored, network: ETSCNet) -> NDArray[np.float64]:
    """The fused score of each child, (N,)."""
    weights = network.fusion_weights.double().cpu().numpy()
    return fuse(scored.scores, weights / weights.sum())


def write_predictions(
    path: str | Path, scored: Scored, network: ETSCNet, *, modalities: Sequence[str], model_version: str
) -> None:
    """predictions.csv with the columns that the reports read."""
    threshold = float(network.threshold)
    rows = [
        {
            "case": case,
            "label": int(label),
            "score": round(float(value), 6),
            **{f"score_{name}": round(float(one), 6) for name, one in zip(modalities, branches, strict=True)},
            "decision": decide(float(value), threshold),
            "threshold": round(threshold, 6),
            "model_version": model_version,
        }
        for case, label, value, branches in zip(
            scored.cases, scored.labels, fused(scored, network), scored.scores, strict=True
        )
    ]
    write_csv(path, rows, columns=list(rows[0]))
