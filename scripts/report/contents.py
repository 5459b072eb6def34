"""The report from its first section to its last: what each one is made of, and in which order they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from scripts.report.checklists import checklist
from scripts.report.clinical_section import ClinicalEvidence, clinical_evidence, clinical_section
from scripts.report.cohort_flow import cohort_flow
from scripts.report.contradictions import contradictions, paper_table2
from scripts.report.document import Block, Section, Table, Text
from scripts.report.learning import learning_curves
from scripts.report.limitations import limitations, warnings
from scripts.report.localization import localization_section
from scripts.report.paper import table1_against_paper
from scripts.report.participants import present
from scripts.report.provenance import provenance
from scripts.report.quality_section import quality
from scripts.report.roc_figures import branch_curves, model_curves, weight_curves
from scripts.report.score_figures import calibration_picture, calibration_table, decision_picture, histogram_picture
from scripts.report.small_sample import small_sample_section
from scripts.report.sources import Run
from scripts.report.study import Model
from scripts.report.subgroups_section import subgroup_section
from scripts.report.table1 import table1
from scripts.report.table2 import comparisons, table2
from scripts.report.table3 import resources_section
from scripts.report.wrong_decisions import wrong_decisions
from scripts.split import PARTS
from scripts.stats.comparison import delong_test, holm
from scripts.stats.roc import auc, auc_interval

SUBGROUP_MODELS = 3  # more tables than that are read by nobody
WRONG_SHOWN = ("sex", "age_mri_months", "infantile_spasms", "gene", "tubers")  # beside each wrong decision


@dataclass(frozen=True)
class Material:
    """Everything that a report is made from, read and checked.

    Attributes:
        description: dataset_description.json of the cohort; empty where there is none.
        outcomes: participant_id -> label of participants.tsv, None where not known.
        participants: its clinical variables (`participants.read_participants`).
        runs: the models, on the same children; the first is the one that the report is about.
        datalist: the split, its parts by name; None where it was not given.
        resources, localization: table3.json and localization.json; None where they were not given.
        inputs: every further file that was read.
        settings: of this report: seed, resamples.
    """

    description: Mapping[str, Any]
    outcomes: Mapping[str, int | None]
    participants: pd.DataFrame
    runs: tuple[Run, ...]
    datalist: Mapping[str, Any] | None
    resources: Path | None
    localization: Path | None
    inputs: tuple[Path, ...]
    settings: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of everything random in the report."""
        return int(self.settings["seed"])


def contents(material: Material) -> list[Section]:
    """All sections in order. One that lacks its files is left out, and the checklists say so."""
    models = [run.model for run in material.runs]
    parts = None if material.datalist is None else _subjects(material.datalist)
    made: dict[str, Section] = {
        "cohort": Section("Children", cohort_flow(material.outcomes, material.runs, material.datalist)),
        "table1": Section("Clinical variables", _table1(material)),
        "performance": Section("Performance", _performance(material, models)),
    }
    if len(models) > 1:
        compared = comparisons(models)
        made["comparison"] = Section("Comparison of models", [model_curves(models), *([compared] if compared else [])])
    # Of all it takes longest: what is refused above is refused before it.
    clinical = clinical_evidence(material.runs[0], material.participants, parts, seed=material.seed)
    if clinical is not None:
        made["clinical"] = clinical_section(material.runs[0], clinical, seed=material.seed)
    scores: list[Block] = [
        calibration_table(models),
        calibration_picture(models),
        decision_picture(models),
        histogram_picture(models),
    ]
    made["calibration"] = Section("Scores as probabilities", scores)
    made["subgroups"] = subgroup_section(models[:SUBGROUP_MODELS], material.participants)
    made["small"] = small_sample_section(models, seed=material.seed)
    made["errors"] = Section("Wrong decisions", [_wrong(material, models)])
    made |= _optional(material)
    made["limitations"] = Section("Limitations and intended use", limitations(material.runs))
    made["paper"] = Section("The paper against itself", [paper_table2(), contradictions(), table1_against_paper()])
    made["provenance"] = Section(
        "Files, versions, seeds", provenance(material.inputs, material.runs, settings=material.settings)
    )
    titles = {key: section.title for key, section in made.items()}
    checklists = Section("Checklists", [checklist("TRIPOD+AI", titles), checklist("CLAIM 2024", titles)])
    return [Section("Summary", _summary(material, clinical)), *made.values(), checklists]


def _summary(material: Material, clinical: ClinicalEvidence | None) -> list[Block]:
    model = material.runs[0].model
    low, high = auc_interval(model.labels, model.scores)
    controlled = int(model.labels.sum())
    said = [
        f"{model.name} scored {model.labels.size} children, {controlled} with seizures controlled after one year of "
        f"medication and {model.labels.size - controlled} without. Its AUC is {auc(model.labels, model.scores):.3f} "
        f"(95 % interval {low:.3f} to {high:.3f})" + (": chance is not excluded." if low <= 0.5 else "."),
        clinical.verdict
        if clinical is not None
        else "The cohort has no clinical variable: whether images add anything to them is not known.",
    ]
    if len(material.runs) > 1:
        said.append(_best(material))
    return [*warnings(material.description, material.runs), *(Text(sentence) for sentence in said)]


def _best(material: Material) -> str:
    tests = [
        (run.model, delong_test(run.model.labels, run.model.scores, material.runs[0].model.scores))
        for run in material.runs[1:]
    ]
    corrected = holm([test.p for _, test in tests])
    better = [
        m.name
        for (m, test), p in zip(tests, corrected, strict=True)
        if p is not None and p < 0.05 and test.difference > 0
    ]
    worse = [
        m.name
        for (m, test), p in zip(tests, corrected, strict=True)
        if p is not None and p < 0.05 and test.difference < 0
    ]
    said = f"Of {len(tests)} other models, by DeLong's paired test with Holm's correction at 0.05, "
    found = [
        f"{', '.join(names)} {verb} a {word} AUC"
        for names, verb, word in (
            (better, "has" if len(better) == 1 else "have", "higher"),
            (worse, "has" if len(worse) == 1 else "have", "lower"),
        )
        if names
    ]
    return said + (" and ".join(found) + "." if found else "none is told apart from it.")


def _table1(material: Material) -> list[Block]:
    if not present(material.participants):
        return [Text("participants.tsv has no clinical variable: Table 1 cannot be made.", warning=True)]
    return [table1(material.participants)]


def _performance(material: Material, models: Sequence[Model]) -> list[Block]:
    run = material.runs[0]
    weights = run.origin.get("fusion", {}).get("weights")
    in_order = tuple(run.origin.get("modalities", ())) == tuple(run.model.branches)
    curves = weight_curves(run.model, chosen=weights if in_order else None, validation=run.validation)
    table = table2(models, resamples=int(material.settings["resamples"]), seed=material.seed)
    return [table, *([curves] if curves is not None else []), branch_curves(run.model)]


def _wrong(material: Material, models: Sequence[Model]) -> Table:
    shown = present(material.participants)
    known = {
        variable.title: {
            str(subject): "-" if pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)
            for subject, value in material.participants[variable.name].items()
        }
        for variable in shown
        if variable.name in WRONG_SHOWN
    }
    return wrong_decisions(models[0], models[1:], known)


def _optional(material: Material) -> dict[str, Section]:
    made: dict[str, Section] = {}
    curves = learning_curves(material.runs)
    if curves is not None:
        made["training"] = Section("Training", [curves])
    if material.resources is not None:
        made["resources"] = resources_section(material.resources)
    if material.localization is not None:
        made["explanation"] = localization_section(material.localization)
    blocks = quality(material.runs)
    if blocks:
        made["quality"] = Section("Quality and drift", blocks)
    return made


def _subjects(datalist: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    return {part: tuple(sorted({str(case["subject"]) for case in datalist[part]})) for part in PARTS}
