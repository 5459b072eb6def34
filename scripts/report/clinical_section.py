"""Do the images add anything to what the clinic knows without them? The clinical baselines beside the first model, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from scripts.errors import InputError
from scripts.report.added_value import added_value, fuse_across_folds, fuse_on_validation
from scripts.report.cells import estimate, number
from scripts.report.clinical import (
    BASELINES,
    NestedBaseline,
    SplitBaseline,
    clinical_nested,
    clinical_split,
    possible_baselines,
)
from scripts.report.document import Block, Section, Table, Text
from scripts.report.sources import Run
from scripts.report.study import Model
from scripts.report.table2 import comparisons, table2
from scripts.report.variables import Variable
from scripts.stats.roc import auc, auc_interval

MAIN = next(iter(BASELINES))  # the variables known before treatment


@dataclass(frozen=True)
class ClinicalEvidence:
    """What the section is made of.

    Attributes:
        baselines: on the children of the first model.
        combined: its images with the main baseline; None where the two can't be combined.
        nested: every baseline over the whole cohort, each child scored by models that did not know the child.
        how: the baselines learned, in words.
        verdict: whether images add anything, in words.
    """

    baselines: tuple[Model, ...]
    combined: Model | None
    nested: Mapping[str, NestedBaseline]
    how: str
    verdict: str


def clinical_evidence(
    run: Run, participants: pd.DataFrame, parts: Mapping[str, Sequence[str]] | None, *, seed: int = 0
) -> ClinicalEvidence | None:
    """Fit the baselines and fuse the main one with the images.

    Where the model was tested on the testing part of the split, they learn from its training part. Everywhere else each child
    is scored by models that did not know the child (nested cross-validation).

    Returns:
        None where the cohort has no clinical variable, or too few children to learn from.
    """
    possible = possible_baselines(participants)
    if MAIN not in possible:
        return None
    subjects, nested, split = run.model.subjects, _nested(participants, possible, seed), None
    if parts is not None and set(subjects) <= set(parts["testing"]):
        split = _split(participants, parts, possible, seed)
    if split:
        baselines = tuple(found.testing.of(subjects) for found in split.values())
        how = "learned from the training part, thresholds from the validation part, tested on the same children as the images"
    elif nested:
        baselines = tuple(found.model.of(subjects) for found in nested.values())
        how = "each child scored by models that did not know the child (nested cross-validation over the whole cohort)"
    else:
        return None
    combined = _combined(run, baselines[0], split[MAIN] if split else None)
    verdict = (
        "There are too few children to combine images and clinical variables: whether images add anything is not known."
    )
    if combined is not None:
        verdict = added_value(baselines[0], combined).text
    return ClinicalEvidence(baselines, combined, nested, how, verdict)


def clinical_section(run: Run, evidence: ClinicalEvidence, *, seed: int = 0) -> Section:
    """The verdict, the rows beside the images', and what the baselines learned from."""
    models = [run.model, *evidence.baselines, *([evidence.combined] if evidence.combined is not None else [])]
    named = table2(models, seed=seed)
    against = [evidence.baselines[0], *(model for model in models if model is not evidence.baselines[0])]
    compared = comparisons(against)
    blocks: list[Block] = [
        Text(evidence.verdict),
        Text(f"The clinical baselines are logistic regressions (ridge), {evidence.how}. No image is in them."),
        Table("clinical", "Images, clinical variables, and both", named.columns, named.rows, named.notes),
    ]
    if compared is not None:
        blocks.append(Table("clinical_comparisons", compared.title, compared.columns, compared.rows, compared.notes))
    return Section(
        "Clinical variables and images", [*blocks, *([_nested_table(evidence.nested)] if evidence.nested else [])]
    )


def _nested_table(nested: Mapping[str, NestedBaseline]) -> Table:
    rows = []
    for name, found in nested.items():
        labels, scores = found.model.labels, found.model.scores
        strongest = sorted(found.coefficients.items(), key=lambda item: (-abs(item[1]), item[0]))[:5]
        rows.append(
            (
                name,
                str(labels.size),
                estimate(auc(labels, scores), auc_interval(labels, scores)),
                f"{number(min(found.aucs))} to {number(max(found.aucs))}",
                ", ".join(f"{column} {weight:+.2f}" for column, weight in strongest),
            )
        )
    return Table(
        name="clinical_nested",
        title="The clinical baselines over the whole cohort",
        columns=(
            "variables",
            "children",
            "AUC (95 %)",
            "AUC, by repeat",
            "largest weights (per SD, towards controlled)",
        ),
        rows=tuple(rows),
        notes=(
            "Nested cross-validation, repeated; penalty and threshold chosen inside. The interval is DeLong's of the mean score.",
        ),
    )


def _nested(
    participants: pd.DataFrame, possible: Mapping[str, Sequence[Variable]], seed: int
) -> dict[str, NestedBaseline]:
    """Every baseline; none where the folds would be too small."""
    try:
        return {name: clinical_nested(participants, variables=v, name=name, seed=seed) for name, v in possible.items()}
    except InputError:
        return {}


def _split(
    participants: pd.DataFrame,
    parts: Mapping[str, Sequence[str]],
    possible: Mapping[str, Sequence[Variable]],
    seed: int,
) -> dict[str, SplitBaseline]:
    """Every baseline; none where a part is empty, as of an external test cohort."""
    if not all(parts.values()):
        return {}
    return {
        name: clinical_split(participants, parts, variables=v, name=name, seed=seed) for name, v in possible.items()
    }


def _combined(run: Run, clinical: Model, split: SplitBaseline | None) -> Model | None:
    """By weights from the validation part where its predictions are there, else from the other folds of these children."""
    if split is not None and run.validation is not None:
        return fuse_on_validation(run.validation, run.model, split).model
    fewest = int(min(run.model.labels.sum(), (1 - run.model.labels).sum()))
    return fuse_across_folds(run.model, clinical, folds=min(5, fewest // 2)).model if fewest >= 4 else None
