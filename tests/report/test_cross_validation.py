"""Cross-validated models: AUC by fold and of all, and folds that have none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.files import write_csv
from scripts.report.cross_validation import cross_validation_table, fold_aucs
from scripts.report.study import Model, read_model
from scripts.stats.roc import auc, auc_interval
from tests.report.on_paper import COLUMNS, write_cohort, write_predictions


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, int]:
    return write_cohort(tmp_path / "cohort", 40, controlled=16)


@pytest.fixture
def model(tmp_path: Path, labels: dict[str, int]) -> Model:
    rows = write_predictions(tmp_path / "a.csv", labels)
    folded = [{**row, "fold": 1 + number % 4} for number, row in enumerate(rows)]
    write_csv(tmp_path / "cv.csv", folded, columns=[*COLUMNS, "fold"])
    return read_model(tmp_path / "cv.csv", dict(labels), name="cv")


def test_the_column_fold_is_read_and_goes_with_its_children(
    tmp_path: Path, labels: dict[str, int], model: Model
) -> None:
    assert model.folds is not None and model.folds.dtype == np.int64 and model.folds[:5].tolist() == [1, 2, 3, 4, 1]
    part = model.of(model.subjects[3:1:-1])
    assert part.folds is not None and part.folds.tolist() == [4, 3]
    assert read_model(tmp_path / "a.csv", dict(labels), name="single").folds is None


@pytest.mark.parametrize("wrong", ["", "1.5", "-1", "one", "²"])
def test_a_fold_that_is_no_whole_number_is_refused(tmp_path: Path, labels: dict[str, int], wrong: str) -> None:
    rows = write_predictions(tmp_path / "a.csv", labels)
    folded = [{**row, "fold": wrong if number == 4 else 1} for number, row in enumerate(rows)]
    write_csv(tmp_path / "cv.csv", folded, columns=[*COLUMNS, "fold"])
    with pytest.raises(InputError, match=f"sub-005.*fold is '{wrong}'; expected a whole number"):
        read_model(tmp_path / "cv.csv", dict(labels), name="cv")


def test_each_folds_auc_and_their_mean(model: Model) -> None:
    found = fold_aucs(model)
    expected = {}
    for fold in (1, 2, 3, 4):
        at = model.folds == fold
        expected[fold] = auc(model.labels[at], model.scores[at])
    assert found.folds == expected and found.mean == pytest.approx(np.mean(list(expected.values())), abs=1e-12)
    assert found.interval is not None and found.mean is not None
    assert found.interval[0] < found.mean < found.interval[1]


def test_one_fold_has_delongs_interval(model: Model) -> None:
    found = fold_aucs(replace(model, folds=np.ones(40, dtype=np.int64)))
    assert found.mean == auc(model.labels, model.scores)
    assert found.interval == pytest.approx(auc_interval(model.labels, model.scores), abs=1e-12)


def test_interval_of_the_mean_covers_the_truth_about_as_often_as_it_says() -> None:
    generator, covered = np.random.default_rng(0), 0
    labels, folds = np.tile(np.r_[np.ones(8, int), np.zeros(11, int)], 5), np.repeat(np.arange(5), 19)
    blank = Model("cv", None, None, ("1",), tuple(map(str, range(95))), labels, labels * 1.0, {}, labels, labels * 1.0)
    for _ in range(300):
        # Each network has a scale of its own, which pooled scores would mix.
        scores = generator.normal(1.366 * labels) * (1 + folds) - folds
        found = fold_aucs(replace(blank, scores=scores, folds=folds)).interval
        covered += found is not None and found[0] <= 0.833 <= found[1]
    assert covered / 300 == pytest.approx(0.95, abs=0.045)  # a standard error of 0.013


def test_a_fold_with_one_class_is_named_and_the_others_stay(model: Model) -> None:
    folds = np.array(model.folds)
    folds[np.flatnonzero(model.labels == 1)[:3]] = 9
    broken = replace(model, folds=folds)
    found = fold_aucs(broken)
    assert found.left_out == {9: "no uncontrolled child"} and set(found.folds) == {1, 2, 3, 4}
    table = cross_validation_table([broken])
    assert table is not None and any("fold 9: no AUC, no uncontrolled child" in note for note in table.notes)


def test_separated_folds_and_folds_of_pairs_have_no_interval(model: Model) -> None:
    separated = fold_aucs(replace(model, scores=np.where(model.labels == 1, 0.9, 0.1)))
    assert separated.mean == 1.0 and separated.interval is None
    pairs = model.of(
        [model.subjects[int(np.flatnonzero(model.labels == label)[at])] for at in (0, 1) for label in (0, 1)]
    )
    alone = fold_aucs(replace(pairs, folds=np.array([1, 1, 2, 2])))
    assert alone.mean is not None and alone.interval is None
    json.dumps(alone.to_dict(), allow_nan=False)


def test_table_has_single_splits_beside_cross_validation(tmp_path: Path, labels: dict[str, int], model: Model) -> None:
    single = read_model(tmp_path / "a.csv", dict(labels), name="single")
    assert cross_validation_table([single]) is None
    table = cross_validation_table([single, model])
    assert table is not None and [row[:2] for row in table.rows] == [("single", "single split"), ("cv", "4 folds")]
    assert table.rows[0][4:6] == ("-", "-") and table.rows[0][3] == table.rows[1][3]
