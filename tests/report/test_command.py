"""The report as a whole: from files to files, the same from the same, everything in it and nothing made up."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from pypdf import PdfReader
from sklearn.metrics import roc_auc_score

from scripts.errors import InputError
from scripts.report.command import write_report
from tests.report.on_paper import write_cohort, write_datalist, write_predictions

SECTIONS = (
    "Summary",
    "Children",
    "Clinical variables",
    "Performance",
    "Comparison of models",
    "Clinical variables and images",
    "Scores as probabilities",
    "Groups of children",
    "What a small sample is worth",
    "Wrong decisions",
    "Training",
    "Limitations and intended use",
    "The paper against itself",
    "Files, versions, seeds",
    "Checklists",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of 80, its split, and two models' runs of it."""
    folder = tmp_path_factory.mktemp("report")
    labels = write_cohort(folder / "cohort", 80, controlled=34)
    parts = write_datalist(folder / "cohort" / "datalist.json", labels, testing=30, validation=14)
    for name, strength in (("both", (1.0, 1.5)), ("resnet", (0.3, 0.5))):
        for seed, part in enumerate(("testing", "validation")):
            some = {subject: labels[subject] for subject in parts[part]}
            write_predictions(folder / name / part / "predictions.csv", some, strength=strength, seed=seed)
        (folder / name / "training.csv").write_text(
            "epoch,train_loss,auc_flair,loss_flair\n1,1.4,0.5,0.7\n2,1.3,0.7,0.6\n"
        )
        (folder / name / "model.json").write_text(
            json.dumps(
                {
                    "sha256": "0123abcd" * 8,
                    "modalities": ["flair", "t2w"],
                    "data": {"name": "On paper", "synthetic": True, "cases": {"training": 36}},
                    "fusion": {"weights": [0.4, 0.6]},
                    "threshold": {"threshold": 0.5},
                    "settings": {"seed": 7, "batch_size": 4},
                    "best_epochs": {"flair": 2},
                }
            )
        )
    return folder


@pytest.fixture(scope="module")
def report(folder: Path) -> Path:
    write_report(
        folder / "cohort",
        [folder / name / "testing" / "predictions.csv" for name in ("both", "resnet")],
        folder / "report",
        datalist=folder / "cohort" / "datalist.json",
        resamples=200,
    )
    return folder / "report"


@pytest.fixture(scope="module")
def page(report: Path) -> str:
    return (report / "report.html").read_text()


def keep_outcomes_alone(cohort: Path, labels: Mapping[str, int]) -> None:
    """A participants.tsv without clinical variables."""
    lines = [f"{name}\t{'controlled' if label else 'uncontrolled'}" for name, label in labels.items()]
    (cohort / "participants.tsv").write_text("\n".join(["participant_id\toutcome", *lines]) + "\n")


def keep_ages_alone(cohort: Path) -> None:
    """A participants.tsv with one clinical variable: one baseline is fitted instead of four."""
    rows = [line.split("\t") for line in (cohort / "participants.tsv").read_text().splitlines()]
    kept = [rows[0].index(name) for name in ("participant_id", "outcome", "age_mri_months")]
    (cohort / "participants.tsv").write_text("".join("\t".join(row[i] for i in kept) + "\n" for row in rows))


def headings(page: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", page)


def test_every_section_is_there_in_order_in_both_files(report: Path, page: str) -> None:
    assert headings(page) == list(SECTIONS)
    text = "\n".join(p.extract_text() for p in PdfReader(io.BytesIO((report / "report.pdf").read_bytes())).pages)
    assert all(title in text for title in SECTIONS)


def test_the_page_stands_alone(page: str) -> None:
    assert "<script" not in page and not re.search(r'(src|href)="(?!data:|#)', page)
    assert page.count("<img") == page.count("data:image/svg+xml") > 9


def test_it_says_what_it_is_not_for_and_what_it_is_of(page: str) -> None:
    assert page.count("Research only, not for diagnosis.") >= 2
    assert "The cohort is synthetic" in page and "Trained on synthetic images alone: both, resnet." in page


def test_the_figures_are_those_of_the_predictions(folder: Path, report: Path) -> None:
    rows = [line.split(",") for line in (folder / "both" / "testing" / "predictions.csv").read_text().splitlines()[1:]]
    area = roc_auc_score([int(row[1]) for row in rows], [float(row[2]) for row in rows])

    assert (report / "tables" / "table2.csv").read_text().splitlines()[1].startswith(f"both,{area:.3f} (")
    assert f"Its AUC is {area:.3f}" in (report / "report.html").read_text()


def test_the_clinical_baselines_learn_from_the_training_part_and_the_verdict_is_in_words(
    report: Path, page: str
) -> None:
    table = (report / "tables" / "clinical.csv").read_text()

    assert {"both", "clinical", "age at MRI", "images + clinical"} <= {
        line.split(",")[0] for line in table.splitlines()
    }
    assert "learned from the training part" in page
    assert re.search(r"On 30 children, adding the images to the clinical variables .*the AUC", page)


def test_every_table_and_figure_has_its_files(report: Path, page: str) -> None:
    tables, figures = ({path.stem for path in (report / kind).iterdir()} for kind in ("tables", "figures"))

    assert {"table1", "table2", "comparisons", "calibration", "subgroups", "contradictions", "weights"} <= tables
    assert {
        "flow",
        "figure3",
        "figure4",
        "roc",
        "calibration",
        "decision_curve",
        "histograms",
        "learning",
        "forest",
    } <= figures
    assert all((report / "figures" / f"{name}.{kind}").stat().st_size for name in figures for kind in ("svg", "png"))
    assert len(tables) + len(figures) == page.count("<h3>")


def test_it_names_files_and_weights_by_their_hashes(folder: Path, report: Path) -> None:
    files = (report / "tables" / "files.csv").read_text()

    for name in (
        "participants.tsv",
        "datalist.json",
        "both/testing/predictions.csv",
        "resnet/validation/predictions.csv",
    ):
        assert re.search(rf"{re.escape(name)},[0-9a-f]{{64}}", files), name
    assert "0123abcd" * 8 in (report / "tables" / "weights.csv").read_text()
    assert "seed,7,7" in (report / "tables" / "settings.csv").read_text()


def test_the_same_files_give_the_same_tables(folder: Path, report: Path, tmp_path: Path) -> None:
    write_report(
        folder / "cohort",
        [folder / name / "testing" / "predictions.csv" for name in ("both", "resnet")],
        tmp_path,
        datalist=folder / "cohort" / "datalist.json",
        resamples=200,
    )

    for path in (report / "tables").iterdir():
        assert (tmp_path / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
    for path in (report / "figures").glob("*.svg"):
        assert (tmp_path / "figures" / path.name).read_bytes() == path.read_bytes(), path.name


class TestLess:
    """Fewer files, fewer children, other cohorts."""

    @pytest.fixture
    def labels(self, tmp_path: Path) -> Mapping[str, int]:
        return write_cohort(tmp_path / "cohort", 19, controlled=8)

    def test_one_model_of_nineteen_children_without_a_split(self, tmp_path: Path, labels: Mapping[str, int]) -> None:
        keep_ages_alone(tmp_path / "cohort")
        write_predictions(tmp_path / "net" / "predictions.csv", labels)

        said = write_report(
            tmp_path / "cohort", tmp_path / "net" / "predictions.csv", tmp_path / "out", resamples=100
        ).text

        found = headings((tmp_path / "out" / "report.html").read_text())
        assert (
            "Comparison of models" not in found and "Training" not in found and "What a small sample is worth" in found
        )
        assert "Clinical variables and images" in found
        assert "8 with seizures controlled" in said and "The origin of the weights is not known here" in said
        assert "not met" in (tmp_path / "out" / "tables" / "checklist_claim.csv").read_text()

    def test_a_cohort_without_clinical_variables(self, tmp_path: Path, labels: Mapping[str, int]) -> None:
        keep_outcomes_alone(tmp_path / "cohort", labels)
        write_predictions(tmp_path / "net" / "predictions.csv", labels)

        said = write_report(
            tmp_path / "cohort", tmp_path / "net" / "predictions.csv", tmp_path / "out", resamples=100
        ).text

        assert "The cohort has no clinical variable" in said
        assert "Clinical variables and images" not in headings((tmp_path / "out" / "report.html").read_text())

    def test_children_that_a_model_was_trained_on_are_told(self, tmp_path: Path, labels: Mapping[str, int]) -> None:
        keep_outcomes_alone(tmp_path / "cohort", labels)  # the baselines take longest, and are not the point here
        write_datalist(tmp_path / "datalist.json", labels, testing=6, validation=5)
        write_predictions(tmp_path / "net" / "predictions.csv", labels)

        write_report(
            tmp_path / "cohort",
            tmp_path / "net" / "predictions.csv",
            tmp_path / "out",
            datalist=tmp_path / "datalist.json",
            resamples=100,
        )

        page = (tmp_path / "out" / "report.html").read_text()
        assert "8 of these 19 children are in the training part of the split: they were trained on." in page

    @pytest.mark.parametrize("fault", ["one outcome", "missing child", "no file", "bad description"])
    def test_a_fault_is_told_and_nothing_is_written(
        self, tmp_path: Path, labels: Mapping[str, int], fault: str
    ) -> None:
        some = {case: label for case, label in labels.items() if fault != "one outcome" or label}
        files = [tmp_path / name / "predictions.csv" for name in ("a", "b")]
        write_predictions(files[0], some)
        write_predictions(files[1], dict(list(some.items())[fault == "missing child" :]))
        if fault == "no file":
            files[1].unlink()
        if fault == "bad description":
            (tmp_path / "cohort" / "dataset_description.json").write_text("{")

        with pytest.raises(InputError):
            write_report(tmp_path / "cohort", files, tmp_path / "out")
        assert not (tmp_path / "out").exists()
