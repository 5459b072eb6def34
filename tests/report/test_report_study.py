"""Predictions against outcomes: one row a child, and everything that does not fit is refused with the file and the child."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.bids import read_outcomes
from scripts.errors import InputError
from scripts.files import write_csv
from scripts.report.sources import read_runs
from scripts.report.study import read_model
from tests.report.on_paper import COLUMNS, write_cohort, write_predictions

Rows = list[dict[str, Any]]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return tmp_path / "cohort"


@pytest.fixture
def labels(cohort: Path) -> dict[str, int]:
    return write_cohort(cohort, 20, controlled=8)


def outcomes(cohort: Path) -> dict[str, int | None]:
    return read_outcomes(cohort / "participants.tsv")


def test_a_model_is_read_in_the_order_of_its_subjects_whatever_the_order_of_the_rows(
    tmp_path: Path, cohort: Path, labels: dict[str, int]
) -> None:
    rows = write_predictions(tmp_path / "a.csv", labels)
    write_csv(tmp_path / "b.csv", rows[::-1], columns=COLUMNS)

    one, other = (read_model(tmp_path / name, outcomes(cohort), name="net") for name in ("a.csv", "b.csv"))

    assert one.subjects == other.subjects == tuple(sorted(labels))
    assert one.labels.tolist() == [labels[subject] for subject in one.subjects]
    np.testing.assert_array_equal(one.scores, other.scores)
    np.testing.assert_allclose(one.scores, 0.4 * one.branches["flair"] + 0.6 * one.branches["t2w"], atol=1e-6)
    assert one.decisions.tolist() == (one.scores >= 0.5).astype(int).tolist() and one.versions == ("0.1.0+0123abcd",)


def test_a_child_without_an_outcome_is_not_among_the_rows(tmp_path: Path, cohort: Path, labels: dict[str, int]) -> None:
    write_predictions(tmp_path / "a.csv", labels)
    known: dict[str, int | None] = {**labels, "sub-003": None}
    rows = (tmp_path / "a.csv").read_text()
    (tmp_path / "a.csv").write_text(rows.replace(f"sub-003,{labels['sub-003']},", "sub-003,,"))

    model = read_model(tmp_path / "a.csv", known, name="net")

    assert "sub-003" not in model.subjects and len(model.subjects) == 19 and model.unlabelled == ("sub-003",)


def change(**values: object) -> Callable[[Rows], Rows]:
    return lambda rows: [{**rows[0], **values}, *rows[1:]]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change(score="nan"), "sub-001.*score is 'nan'.*0 to 1"),
        (change(score=1.2), "sub-001.*score is '1.2'"),
        (change(score_t2w=""), "sub-001.*score_t2w is ''"),
        (change(case="sub-999"), "sub-999.*this cohort"),
        (change(case="sub-002"), "sub-002: several rows for one child"),
        (change(decision="yes"), "decision is 'yes'.*controlled"),
        (change(threshold=0.0, decision="uncontrolled", score=0.7), "called uncontrolled"),
        (change(label=2), "label is 2"),
        (lambda rows: [], "holds no row"),
        (lambda rows: [{k: v for k, v in row.items() if k != "decision"} for row in rows], "it lacks decision"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, cohort: Path, labels: dict[str, int], damage: Callable[[Rows], Rows], said: str
) -> None:
    rows = damage(write_predictions(tmp_path / "a.csv", labels))
    write_csv(tmp_path / "a.csv", rows, columns=[column for column in COLUMNS if not rows or column in rows[0]])

    with pytest.raises(InputError, match=said) as caught:
        read_model(tmp_path / "a.csv", outcomes(cohort), name="net")
    assert caught.value.file == str(tmp_path / "a.csv")


def test_a_label_that_contradicts_the_outcome_is_refused(tmp_path: Path, cohort: Path, labels: dict[str, int]) -> None:
    write_predictions(tmp_path / "a.csv", {**labels, "sub-002": 1 - labels["sub-002"]})

    with pytest.raises(InputError, match=r"sub-002.*participants.tsv says"):
        read_model(tmp_path / "a.csv", outcomes(cohort), name="net")


@pytest.mark.parametrize("content", ["", "\x00\xff", "case,score\nsub-001,0.5,0.7\n"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, cohort: Path, labels: dict[str, int], content: str) -> None:
    (tmp_path / "a.csv").write_bytes(content.encode("latin-1"))

    with pytest.raises(InputError, match=r"predictions.csv"):
        read_model(tmp_path / "a.csv", outcomes(cohort), name="net")


class TestRuns:
    """Several files: the same children, names that differ, and what lies beside them."""

    def test_the_folder_names_the_model_and_gives_what_the_run_left(
        self, tmp_path: Path, cohort: Path, labels: dict[str, int]
    ) -> None:
        folder = tmp_path / "both-resnet18"
        write_predictions(folder / "testing" / "predictions.csv", labels)
        write_predictions(folder / "validation" / "predictions.csv", labels, seed=1)
        (folder / "testing" / "failures.csv").write_text("case,reason\nsub-777,no brain\n")
        (folder / "training.csv").write_text("epoch,train_loss,auc_flair\n1,1.4,\n2,1.3,0.7\n")
        (folder / "model.json").write_text('{"sha256": "0123abcdffff", "epochs": 2}')

        (run,) = read_runs(folder / "testing" / "predictions.csv", outcomes(cohort))

        assert run.model.name == "both-resnet18" and run.validation is not None
        assert run.history == [{"epoch": 1, "train_loss": 1.4}, {"epoch": 2, "train_loss": 1.3, "auc_flair": 0.7}]
        assert run.failures == {"sub-777": "no brain"} and run.origin["epochs"] == 2

    def test_a_model_json_of_other_weights_is_not_taken(
        self, tmp_path: Path, cohort: Path, labels: dict[str, int]
    ) -> None:
        write_predictions(tmp_path / "net" / "predictions.csv", labels)
        (tmp_path / "net" / "model.json").write_text('{"sha256": "ffff", "epochs": 2}')

        (run,) = read_runs(tmp_path / "net" / "predictions.csv", outcomes(cohort))

        assert run.origin == {}

    def test_other_children_are_refused_or_left_out_on_demand(
        self, tmp_path: Path, cohort: Path, labels: dict[str, int]
    ) -> None:
        files = [tmp_path / name / "predictions.csv" for name in ("a", "b")]
        write_predictions(files[0], labels)
        write_predictions(files[1], {case: label for case, label in labels.items() if case != "sub-005"})

        with pytest.raises(InputError, match=r"b lacks sub-005 \(1\).*--common"):
            read_runs(files, outcomes(cohort))
        one, other = read_runs(files, outcomes(cohort), common=True)
        assert one.model.subjects == other.model.subjects and len(one.model.subjects) == 19
        assert one.model.labels.tolist() == [labels[subject] for subject in one.model.subjects]

    def test_one_name_is_a_name_and_not_its_letters(self, tmp_path: Path, cohort: Path, labels: dict[str, int]) -> None:
        write_predictions(tmp_path / "a.csv", labels)

        assert read_runs(tmp_path / "a.csv", outcomes(cohort), names="eTSC-Net")[0].model.name == "eTSC-Net"

    def test_two_models_of_one_name_are_refused(self, tmp_path: Path, cohort: Path, labels: dict[str, int]) -> None:
        for name in ("a.csv", "b.csv"):
            write_predictions(tmp_path / name, labels)

        with pytest.raises(InputError, match="--names"):
            read_runs([tmp_path / "a.csv", tmp_path / "b.csv"], outcomes(cohort))
        assert (
            read_runs([tmp_path / "a.csv", tmp_path / "b.csv"], outcomes(cohort), names=["a", "b"])[1].model.name == "b"
        )
