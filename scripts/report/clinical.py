"""The clinical baseline: what Table 1's variables say of the outcome without any image.

Two ways. `clinical_split` learns from the training part of a datalist and scores the testing part: beside an image model on
the same children. `clinical_nested` scores every child by models that did not know the child: more children, and what the
variables are worth in this cohort. Neither uses what is known only after treatment has begun unless it is asked to.

Sources: Varma S, Simon R, BMC Bioinformatics 2006;7:91 (nested cross-validation); le Cessie S, van Houwelingen JC, Appl Stat
1992;41:191 (ridge); Airola A et al., Comput Stat Data Anal 2011;55:1828 (pooled AUCs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray

from scripts.datalist import read_datalist
from scripts.errors import InputError
from scripts.fusion import search_threshold
from scripts.report.clinical_model import Design, Fitted, design_of, fit
from scripts.report.participants import present
from scripts.report.study import Model
from scripts.report.variables import CLINICAL, Variable
from scripts.split import PARTS
from scripts.stats.draws import stratified_folds
from scripts.stats.roc import auc

BEFORE_TREATMENT = tuple(variable for variable in CLINICAL if variable.before_treatment)
BASELINES: Mapping[str, tuple[Variable, ...]] = {
    "clinical": BEFORE_TREATMENT,
    "clinical + medications": CLINICAL,
    "age at MRI": tuple(variable for variable in CLINICAL if variable.name == "age_mri_months"),
    "age at onset": tuple(variable for variable in CLINICAL if variable.name == "age_onset_months"),
}


@dataclass(frozen=True)
class SplitBaseline:
    """A baseline that learned from the training part.

    Attributes:
        validation, testing: its scores and decisions; the threshold is from the validation part alone.
        penalty: that was chosen within the training part.
        coefficients: by column, of one standard deviation.
    """

    validation: Model
    testing: Model
    penalty: float
    coefficients: Mapping[str, float]


@dataclass(frozen=True)
class NestedBaseline:
    """A baseline in repeated nested cross-validation.

    Attributes:
        model: every child's score and threshold, means over the repeats.
        repeats: (R, N) scores by repeat.
        aucs: (R,) of all children's scores in each repeat.
        penalties: that were chosen, one a fit.
        coefficients: by column, of one standard deviation, means over the fits.
    """

    model: Model
    repeats: NDArray[np.float64]
    aucs: tuple[float, ...]
    penalties: tuple[float, ...]
    coefficients: Mapping[str, float]


def read_parts(datalist: str | Path) -> dict[str, tuple[str, ...]]:
    """The subjects of each part of a datalist, sorted; nothing is read but the datalist."""
    parts = read_datalist(datalist)
    return {name: tuple(sorted({str(case["subject"]) for case in parts[name]})) for name in PARTS}


def clinical_split(
    participants: pd.DataFrame,
    parts: Mapping[str, Sequence[str]],
    *,
    variables: Sequence[Variable] = BEFORE_TREATMENT,
    name: str = "clinical",
    seed: int = 0,
) -> SplitBaseline:
    """Fit on the training part, find the threshold on the validation part, score the testing part.

    Args:
        participants: of `scripts.report.participants.read_participants`.
        parts: of `read_parts`.
        variables: those that the cohort has a column of are used.
        name: of the model.
        seed: of the inner folds that choose the penalty within the training part.

    Raises:
        InputError: a part's child is not in participants.tsv, has no outcome there, or is in two parts; a part is empty;
            an outcome is missing where it is needed.
    """
    design = design_of(participants, present(participants, variables))
    designs = {part: _of_part(design, part, parts) for part in PARTS}
    fitted = fit(designs["training"], seed=seed)
    scores = {part: fitted.score(designs[part]) for part in ("validation", "testing")}
    threshold = search_threshold(scores["validation"], designs["validation"].labels).threshold
    validation, testing = (
        clinical_model(name, designs[part], scores[part], np.full(scores[part].size, threshold)) for part in scores
    )
    return SplitBaseline(validation, testing, fitted.penalty, fitted.coefficients())


def clinical_nested(
    participants: pd.DataFrame,
    *,
    variables: Sequence[Variable] = BEFORE_TREATMENT,
    name: str = "clinical",
    folds: int = 5,
    repeats: int = 5,
    seed: int = 0,
) -> NestedBaseline:
    """Score every child with an outcome by models that did not know the child.

    In each repeat and fold: the penalty is chosen, and the threshold found, on inner out-of-fold scores of the other folds;
    then the fold is scored. A child is called controlled where the mean score reaches the mean threshold. Scores of several
    models are pooled in the AUC, which makes it a little too low (Airola et al. 2011) rather than too high; a mean over
    repeats is steadier than one fit, so that its AUC lies a little above the mean of `aucs`, which is that of one fit.

    Args:
        participants, variables, name: as of `clinical_split`.
        folds, repeats: outer ones, stratified.
        seed: of all folds. The order of the rows does not matter.

    Raises:
        InputError: an outcome has fewer children than folds, or fewer than two outside of one.
    """
    design = design_of(participants, present(participants, variables))
    controlled, n = int(design.labels.sum()), design.labels.size
    fewest = min(controlled, n - controlled)
    if folds < 2 or repeats < 1 or fewest < folds or fewest - -(-fewest // folds) < 2:
        raise InputError(
            f"{controlled} controlled and {n - controlled} uncontrolled children, {folds} folds, {repeats} repeats",
            expected="2 folds or more, each with a child of both outcomes, two of both outside of it; 1 repeat or more",
            remedy="Give fewer folds, or add children.",
        )
    assigned = stratified_folds(design.labels, folds=folds, repeats=repeats, seed=seed)  # (R, N)
    scores, thresholds, fits = np.empty(assigned.shape), np.empty(assigned.shape), []
    for repeat, fold in enumerate(assigned):
        for number in range(folds):
            held_out = fold == number
            known = design.of(~held_out)
            fitted = fit(known, seed=_seed(seed, repeat, number))
            scores[repeat, held_out] = fitted.score(design.of(held_out))
            thresholds[repeat, held_out] = search_threshold(fitted.inner, known.labels).threshold
            fits.append(fitted)
    return NestedBaseline(
        model=clinical_model(name, design, scores.mean(axis=0), thresholds.mean(axis=0)),
        repeats=scores,
        aucs=tuple(auc(design.labels, row) for row in scores),
        penalties=tuple(fitted.penalty for fitted in fits),
        coefficients=_mean_coefficients(fits),
    )


def possible_baselines(participants: pd.DataFrame) -> dict[str, tuple[Variable, ...]]:
    """Those of `BASELINES` that the cohort has the columns of, each with the variables that are there.

    The variant with the medications is one only where that column has values.
    """
    known = participants.loc[participants["label"].notna()].notna().any()
    made: dict[str, tuple[Variable, ...]] = {}
    for name, variables in BASELINES.items():
        there = tuple(variable for variable in variables if known.get(variable.name, False))
        if there and there not in made.values():
            made[name] = there
    return made


def clinical_model(name: str, design: Design, scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> Model:
    """A baseline's scores (N,) and thresholds (N,), one a child, in the form that the tables take: no file, and no branch."""
    return Model(
        name=name,
        file=None,
        sha256=None,
        versions=(f"logistic regression, scikit-learn {sklearn.__version__}",),
        subjects=design.subjects,
        labels=design.labels,
        scores=scores,
        branches={},
        decisions=(scores >= thresholds).astype(np.int64),
        thresholds=thresholds,
    )


def _of_part(design: Design, part: str, parts: Mapping[str, Sequence[str]]) -> Design:
    wanted = set(parts[part])
    others = {subject for name in PARTS if name != part for subject in parts[name]}
    for found, subjects, remedy in (
        ("in another part too", wanted & others, "Make the datalist again."),
        ("not in participants.tsv with an outcome", wanted - set(design.subjects), "Give this cohort's datalist."),
    ):
        if subjects:
            raise InputError(
                f"of the {part} part are {found}: {', '.join(sorted(subjects)[:10])}",
                expected="every child in one part, its outcome known",
                remedy=remedy,
            )
    chosen = design.of(np.array([subject in wanted for subject in design.subjects]))
    if not chosen.subjects:
        raise InputError(
            f"the {part} part holds no child",
            expected="children in all three parts: to learn from, to find the threshold on, to test on",
            remedy="Make a datalist with other fractions, or use the nested cross-validation.",
        )
    return chosen


def _seed(*path: int) -> int:
    return int(np.random.SeedSequence(path).generate_state(1)[0])


def _mean_coefficients(fits: Sequence[Fitted]) -> dict[str, float]:
    every = [fitted.coefficients() for fitted in fits]
    # A column that says what is not known is there only where someone of the training folds has none: else its weight is 0.
    names = dict.fromkeys(name for coefficients in every for name in coefficients)
    return {name: float(np.mean([coefficients.get(name, 0.0) for coefficients in every])) for name in names}
