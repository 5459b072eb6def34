"""Table 2: every figure is that of the statistics' own functions, every model is on the same children, no cell is made up."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from scripts.bids import read_outcomes
from scripts.errors import InputError
from scripts.report.sources import read_runs
from scripts.report.study import Model
from scripts.report.table2 import comparisons, table2, write_table2
from tests.report.on_paper import write_cohort, write_predictions


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    labels = write_cohort(tmp_path / "cohort")
    for name, strength in (("both", (1.0, 1.5)), ("resnet", (0.2, 0.4))):
        write_predictions(tmp_path / name / "predictions.csv", labels, strength=strength, seed=3)
    files = [tmp_path / name / "predictions.csv" for name in ("both", "resnet")]
    return [run.model for run in read_runs(files, read_outcomes(tmp_path / "cohort" / "participants.tsv"))]


def single(model: Model, scores: np.ndarray) -> Model:
    decisions = (scores >= 0.5).astype(np.int64)
    return replace(model, scores=scores, decisions=decisions, branches={}, thresholds=np.full(scores.size, 0.5))


def test_a_row_holds_what_the_counts_say(models: list[Model]) -> None:
    row = dict(zip(table2(models).columns, table2(models).rows[0], strict=True))
    y, s, called = models[0].labels, models[0].scores, models[0].decisions

    assert row["model"] == "both" and row["AUC (DeLong)"].startswith(f"{roc_auc_score(y, s):.3f} (")
    sensitivity, wilson = (
        called[y == 1].mean(),
        stats.binomtest(int(called[y == 1].sum()), 39).proportion_ci(method="wilson"),
    )
    assert row["SEN"] == f"{sensitivity:.3f} ({wilson.low:.3f} to {wilson.high:.3f})"
    assert row["Brier"].startswith(f"{np.mean((s - y) ** 2):.3f} (")
    low, high = map(float, row["AUC, BCa"].split(" to "))
    assert low < roc_auc_score(y, s) < high


def test_a_branch_has_an_auc_and_no_decision(models: list[Model]) -> None:
    table = table2(models[:1])
    flair = next(row for row in table.rows if "FLAIR" in row[0])

    assert flair[1].startswith(f"{roc_auc_score(models[0].labels, models[0].branches['flair']):.3f}")
    assert flair[3:9] == ("-",) * 6 and len(table.rows) == 3


def test_a_model_of_one_branch_is_one_row(models: list[Model]) -> None:
    assert len(table2([single(models[0], models[0].branches["flair"])]).rows) == 1


def test_the_table_does_not_depend_on_the_order_of_the_children(models: list[Model]) -> None:
    shuffled = [model.of(sorted(model.subjects, key=lambda name: name[::-1])) for model in models]

    assert table2(shuffled).rows == table2(models).rows and comparisons(shuffled) == comparisons(models)


def test_others_are_compared_with_the_first_and_p_is_corrected(models: list[Model]) -> None:
    third = single(replace(models[1], name="third"), models[0].branches["flair"])
    table = comparisons([*models, third])
    assert table is not None and [row[0] for row in table.rows] == ["resnet", "third"]

    difference = roc_auc_score(models[1].labels, models[1].scores) - roc_auc_score(models[0].labels, models[0].scores)
    assert table.rows[0][1].startswith(f"{difference:+.3f} (")
    raw, corrected = ([row[column] for row in table.rows] for column in (3, 4))
    assert all(b == "< 0.001" or float(b) >= float(a) for a, b in zip(raw, corrected, strict=True) if a != "< 0.001")
    mine = int(((models[1].decisions == models[1].labels) & (models[0].decisions != models[0].labels)).sum())
    other = int(((models[1].decisions != models[1].labels) & (models[0].decisions == models[0].labels)).sum())
    assert table.rows[0][5] == f"{mine} / {other}"
    assert comparisons(models[:1]) is None


def test_the_same_scores_twice_differ_by_nothing(models: list[Model]) -> None:
    table = comparisons([models[0], replace(models[0], name="twin")])

    assert table is not None and table.rows[0][1:5] == ("+0.000", "0.00", "1.000", "1.000")
    assert "no interval" in table.notes[-1]


def test_equal_scores_and_perfect_ones_get_no_false_interval(models: list[Model]) -> None:
    equal = table2([single(models[0], np.full(95, 0.5))])
    perfect = table2([single(models[0], np.where(models[0].labels == 1, 0.9, 0.1))])

    assert equal.rows[0][1].startswith("0.500 (") and equal.rows[0][2] == "-" and "no BCa interval" in equal.notes[-1]
    assert re.match(r"1\.000 \(0\.9\d\d to 1\.000\)", perfect.rows[0][1]) and perfect.rows[0][2] == "-"


def test_one_outcome_alone_is_refused(models: list[Model]) -> None:
    controlled = [subject for subject, label in zip(models[0].subjects, models[0].labels, strict=True) if label]

    with pytest.raises(InputError, match="both classes"):
        table2([models[0].of(controlled)])


def test_the_verb_writes_both_tables(tmp_path: Path, models: list[Model]) -> None:
    files = [str(model.file) for model in models]

    said = write_table2(tmp_path / "cohort", files, tmp_path / "out", names=["eTSC-Net", "ResNet3D"]).text

    assert "Table 2. 95 children, 39 controlled, 56 uncontrolled" in said and "Every model against eTSC-Net" in said
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "comparisons.csv",
        "comparisons.md",
        "table2.csv",
        "table2.md",
    ]
    assert (tmp_path / "out" / "table2.csv").read_text().startswith("model,AUC (DeLong)")
