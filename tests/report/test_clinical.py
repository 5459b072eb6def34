"""The clinical baseline: against scikit-learn's own search, blind to whom it scores, and without what comes after treatment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from scripts.datalist import write_datalist
from scripts.errors import InputError
from scripts.fusion import search_threshold
from scripts.report.clinical import (
    BASELINES,
    BEFORE_TREATMENT,
    clinical_nested,
    clinical_split,
    possible_baselines,
    read_parts,
)
from scripts.report.clinical_model import PENALTIES, design_of, fit
from scripts.report.participants import read_participants
from scripts.stats.draws import stratified_folds
from scripts.stats.roc import auc
from tests.cohorts import add_cohort
from tests.report.children import random_children, write_children

AGE = BASELINES["age at onset"]


def children(folder: Path, n: int = 100, **options: Any) -> pd.DataFrame:
    return read_participants(write_children(folder, random_children(n, **options)))


def parts_of(participants: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Every fifth pair to testing, every fifth to validation, the rest to training: all have both outcomes."""
    names = {"training": (0, 1, 2), "validation": (3,), "testing": (4,)}
    index = list(participants.index)
    return {part: tuple(s for i, s in enumerate(index) if i // 5 % 5 in which) for part, which in names.items()}


@pytest.fixture
def cohort(tmp_path: Path) -> pd.DataFrame:
    return children(tmp_path, missing=0.1)


def test_the_penalty_and_the_fit_are_those_of_scikit_learns_search(cohort: pd.DataFrame) -> None:
    design = design_of(cohort, BEFORE_TREATMENT)
    (fold,) = stratified_folds(design.labels, folds=5, repeats=1, seed=3)  # 20 children each: means of means are means
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True),
        StandardScaler(),
        LogisticRegression(max_iter=10_000, tol=1e-9),
    )
    search = GridSearchCV(
        pipeline,
        {"logisticregression__C": list(PENALTIES)},
        scoring="neg_log_loss",
        cv=PredefinedSplit(fold),
    ).fit(design.values, design.labels)

    fitted = fit(design, seed=3)

    assert fitted.penalty == search.best_params_["logisticregression__C"]
    np.testing.assert_allclose(
        fitted.score(design), search.predict_proba(design.values)[:, 1], atol=1e-5
    )  # two solvers


def test_inner_scores_are_of_models_that_did_not_know_the_child(cohort: pd.DataFrame) -> None:
    design = design_of(cohort, BEFORE_TREATMENT)
    (fold,) = stratified_folds(design.labels, folds=5, repeats=1, seed=0)
    fitted = fit(design, seed=0)
    for number in range(5):
        known = design.of(fold != number)
        pipeline = fitted.pipeline.set_params(regress__C=fitted.penalty).fit(known.values, known.labels)
        expected = pipeline.predict_proba(design.values[fold == number])[:, 1]
        np.testing.assert_allclose(fitted.inner[fold == number], expected, atol=1e-12)


def test_levels_become_columns_and_what_is_not_known_stays_so(tmp_path: Path) -> None:
    rows = random_children(5)
    for row, gene in zip(rows, ("negative", "TSC1", "TSC2", "n/a", "TSC2"), strict=True):
        row["gene"], row["sex"] = gene, "M" if gene == "TSC1" else "n/a"
    rows[4]["outcome"] = "n/a"
    genes = tuple(variable for variable in BEFORE_TREATMENT if variable.name in ("gene", "sex"))
    design = design_of(read_participants(write_children(tmp_path, rows)), genes)
    assert design.names == ("sex", "gene: negative", "gene: TSC1", "gene: TSC2", "gene: not known")
    assert design.labels.tolist() == [1, 1, 0, 0]
    nan = np.nan
    expected = [[nan, 1, 0, 0, 0], [1, 0, 1, 0, 0], [nan, 0, 0, 1, 0], [nan, 0, 0, 0, 1]]
    np.testing.assert_array_equal(design.values, expected)


def test_what_is_known_after_treatment_only_is_not_used_unless_asked_for(cohort: pd.DataFrame) -> None:
    assert {v.name for v in BASELINES["clinical + medications"]} - {v.name for v in BEFORE_TREATMENT} == {
        "three_or_more_medications"
    }
    parts = parts_of(cohort)
    other = cohort.assign(three_or_more_medications=cohort["label"].astype(float))  # it would tell the outcome
    before, after = clinical_split(cohort, parts), clinical_split(other, parts)
    np.testing.assert_array_equal(before.testing.scores, after.testing.scores)
    told = clinical_split(other, parts, variables=BASELINES["clinical + medications"])
    assert auc(told.testing.labels, told.testing.scores) == 1.0


def test_the_testing_part_changes_nothing_but_its_own_scores(cohort: pd.DataFrame) -> None:
    parts = parts_of(cohort)
    changed = cohort.copy()
    rows = list(parts["testing"])
    changed.loc[rows, "label"] = 1 - changed.loc[rows, "label"]
    changed.loc[rows, "age_onset_months"] = 400.0
    one, other = clinical_split(cohort, parts), clinical_split(changed, parts)
    assert (one.penalty, one.coefficients) == (other.penalty, other.coefficients)
    np.testing.assert_array_equal(one.validation.scores, other.validation.scores)
    np.testing.assert_array_equal(one.testing.thresholds, other.testing.thresholds)
    assert not np.array_equal(one.testing.scores, other.testing.scores)


def test_the_validation_part_changes_the_threshold_alone(cohort: pd.DataFrame) -> None:
    parts = parts_of(cohort)
    changed = cohort.copy()
    rows = list(parts["validation"])
    changed.loc[rows, "label"] = 1 - changed.loc[rows, "label"]
    one, other = clinical_split(cohort, parts), clinical_split(changed, parts)
    assert one.coefficients == other.coefficients
    np.testing.assert_array_equal(one.testing.scores, other.testing.scores)
    assert one.testing.thresholds[0] == search_threshold(one.validation.scores, one.validation.labels).threshold
    assert one.testing.thresholds[0] != other.testing.thresholds[0]


def test_a_split_baseline_is_a_model_of_the_parts_children(cohort: pd.DataFrame) -> None:
    parts = parts_of(cohort)
    found = clinical_split(cohort, parts, name="ages").testing
    assert (found.name, found.file, found.subjects) == ("ages", None, tuple(sorted(parts["testing"])))
    assert found.labels.tolist() == cohort.loc[list(found.subjects), "label"].tolist()
    assert found.decisions.tolist() == (found.scores >= found.thresholds).astype(int).tolist()
    assert auc(found.labels, found.scores) > 0.6  # the cohort's effect on onset and spasms is a strong one


def test_nested_scores_are_of_models_that_did_not_know_the_child(cohort: pd.DataFrame) -> None:
    found = clinical_nested(cohort, variables=AGE, folds=4, repeats=2, seed=7)
    design = design_of(cohort, AGE)
    pipeline = fit(design).pipeline
    assigned = stratified_folds(design.labels, folds=4, repeats=2, seed=7)
    for repeat, fold in enumerate(assigned):
        for number in range(4):
            known, held_out = design.of(fold != number), design.of(fold == number)
            # Whatever penalty was chosen: among the four fits that do not know these children is the one that scored them.
            fits = [clone(pipeline).set_params(regress__C=c).fit(known.values, known.labels) for c in PENALTIES]
            candidates = [one.predict_proba(held_out.values)[:, 1] for one in fits]
            scores = found.repeats[repeat, fold == number]
            assert min(np.abs(scores - candidate).max() for candidate in candidates) < 1e-9
    np.testing.assert_allclose(found.model.scores, found.repeats.mean(axis=0), atol=1e-15)
    assert found.aucs == tuple(auc(design.labels, row) for row in found.repeats)
    assert len(found.penalties) == 8
    assert found.model.decisions.tolist() == (found.model.scores >= found.model.thresholds).astype(int).tolist()


def test_without_an_effect_the_nested_auc_is_near_a_half(tmp_path: Path) -> None:
    aucs = []
    for seed in range(4):
        cohort = children(tmp_path / str(seed), 80, seed=seed, effect=0.0)
        model = clinical_nested(cohort, repeats=1).model
        aucs.append(auc(model.labels, model.scores))
    # SD of one AUC of 32 and 48 children near 0.07, pooled folds a little below a half; four: 0.035.
    assert 0.36 < np.mean(aucs) < 0.6


def test_with_an_effect_it_is_well_above(tmp_path: Path) -> None:
    model = clinical_nested(children(tmp_path, 100), repeats=1).model
    assert auc(model.labels, model.scores) > 0.7


def test_the_order_of_the_rows_does_not_matter_and_the_seed_does(cohort: pd.DataFrame) -> None:
    one, other = clinical_nested(cohort, repeats=1), clinical_nested(cohort.iloc[::-1], repeats=1)
    np.testing.assert_array_equal(one.repeats, other.repeats)
    assert one.model.subjects == other.model.subjects == tuple(cohort.index)
    assert not np.array_equal(one.repeats, clinical_nested(cohort, repeats=1, seed=1).repeats)


def test_what_the_training_part_never_had_does_no_harm(cohort: pd.DataFrame) -> None:
    parts, changed = parts_of(cohort), cohort.copy()
    training = list(parts["training"])
    changed.loc[training, "tubers"] = np.nan  # nothing to learn from
    changed.loc[training, "gene"] = "TSC2"  # other levels are met in the testing part first
    changed.loc[training, "age_mri_months"] = 30.0  # a constant
    found = clinical_split(changed, parts)
    assert np.isfinite(found.testing.scores).all()
    assert found.coefficients["tubers"] == found.coefficients["age_mri_months"] == 0


def test_children_without_an_outcome_are_not_among_the_scored(cohort: pd.DataFrame) -> None:
    changed = cohort.copy()
    changed.loc[["sub-0003", "sub-0007"], "label"] = pd.NA
    assert set(cohort.index) - set(clinical_nested(changed, variables=AGE, repeats=1).model.subjects) == {
        "sub-0003",
        "sub-0007",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"testing": ("sub-0000", "sub-0020")}, "of the training part are in another part too: sub-0000"),
        ({"testing": ("sub-9999",)}, "of the testing part are not in participants.tsv with an outcome: sub-9999"),
        ({"validation": ()}, "the validation part holds no child"),
        ({"validation": ("sub-0015", "sub-0016")}, "all 2 labels are 1"),
        ({"training": ("sub-0000", "sub-0002", "sub-0003")}, "of 3 children to learn from 1 are controlled"),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    cohort: pd.DataFrame, change: Mapping[str, tuple[str, ...]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        clinical_split(cohort, {**parts_of(cohort), **change})


@pytest.mark.parametrize(
    ("n", "folds", "message"),
    [(10, 5, "4 controlled and 6 uncontrolled children, 5 folds"), (5, 2, "2 controlled"), (10, 1, "1 folds")],
)
def test_too_few_children_for_the_folds_are_refused(tmp_path: Path, n: int, folds: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        clinical_nested(children(tmp_path, n), variables=AGE, folds=folds)


def test_a_variable_of_which_nothing_is_known_is_refused(cohort: pd.DataFrame) -> None:
    with pytest.raises(InputError, match="nothing is known of age_onset_months"):
        clinical_nested(cohort.assign(age_onset_months=np.nan), variables=AGE)
    with pytest.raises(InputError, match="no variable is given"):
        clinical_nested(cohort[["label"]], variables=AGE)


def test_baselines_are_those_that_the_cohort_has_the_columns_of(cohort: pd.DataFrame) -> None:
    assert list(possible_baselines(cohort)) == list(BASELINES)
    bare = cohort.drop(columns=["age_mri_months", "three_or_more_medications"]).assign(tubers=np.nan)
    made = possible_baselines(bare)
    assert list(made) == ["clinical", "age at onset"]
    assert not {"tubers", "age_mri_months"} & {variable.name for variable in made["clinical"]}


def test_the_parts_of_a_datalist_are_its_subjects(tmp_path: Path) -> None:
    cohort = add_cohort(tmp_path / "cohort", 10, 10)
    write_datalist(cohort, tmp_path / "datalist.json", fractions=(0.6, 0.2, 0.2))
    parts = read_parts(tmp_path / "datalist.json")
    assert {name: len(subjects) for name, subjects in parts.items()} == {"training": 12, "validation": 4, "testing": 4}
    assert len({subject for subjects in parts.values() for subject in subjects}) == 20
