"""What must be held against the figures of a report: said of every cohort, and of this one where its figures ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.outcome import RESEARCH_ONLY
from scripts.report.document import Text
from scripts.report.sources import Run

SYNTHETIC = "The cohort is synthetic: nothing in this report says anything about a real child."
FEW = 50  # of the rarer class: below, a 95 % interval of the AUC is some 0.2 wide


def warnings(description: Mapping[str, Any], runs: Sequence[Run]) -> list[Text]:
    """What stands at the head of the report.

    Args:
        description: dataset_description.json of the cohort.
        runs: models and the origin of their weights.
    """
    said = [RESEARCH_ONLY]
    if description.get("Synthetic"):
        said.append(SYNTHETIC)
    synthetic = [run.model.name for run in runs if run.origin.get("data", {}).get("synthetic")]
    if synthetic:
        said.append(f"Trained on synthetic images alone: {', '.join(synthetic)}.")
    unknown = [run.model.name for run in runs if not run.origin]
    if unknown:
        said.append(f"The origin of the weights is not known here (no model.json of theirs): {', '.join(unknown)}.")
    return [Text(sentence, warning=True) for sentence in said]


def limitations(runs: Sequence[Run]) -> list[Text]:
    """What the figures cannot bear."""
    model = runs[0].model
    rarer = int(min(model.labels.sum(), (1 - model.labels).sum()))
    said = [
        "The outcome is that of one year of medication as it was given. The scores say nothing about the effect of giving, "
        "changing or stopping a medication.",
        "The intervals speak of children like these: same hospital, scanner, protocol and way of selection. Another hospital "
        "may differ by more than any interval here.",
        "The intervals and tests take the weights as they are. What another training of the same network would give "
        "is not in them.",
    ]
    if rarer < FEW:
        said.append(
            f"The rarer outcome has {rarer} children. Every difference between models must be read with its interval; the "
            "section on small samples shows what a test set of this size is worth."
        )
    if len(model.versions) > 1:
        said.append(
            f"The scores of {model.name} come from {len(model.versions)} sets of weights (folds). Their scores are pooled as if "
            "they were on one scale."
        )
    if len(runs) > 1:
        said.append(
            f"{len(runs)} models were compared on the same children: the best of them looks better here than it is."
        )
    return [Text(sentence) for sentence in said]
