"""What a run writes: tables, one JSON and one picture a study, failures, metrics."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, Transform
from torch import Tensor, nn

from scripts.checkpoint import UNKNOWN_ORIGIN, save
from scripts.dataset import StudyDataset, TolerantLoader
from scripts.errors import InputError
from scripts.evaluation_writer import EvaluationWriter
from scripts.files import sha256, write_csv
from scripts.network import ETSCNet, LogitsInferer
from scripts.prediction_writer import PredictionWriter
from scripts.transforms import FuseScoresd


class Constant(Transform):
    """An image whose value the case gives; None is a fault."""

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if data["value"] is None:
            raise InputError("no value", expected="one", remedy="Give one.", case=data["case"])
        flair = torch.full((1, 8, 8, 8), float(data["value"]))
        return {**data, "image": torch.cat([flair, torch.zeros_like(flair)])}


class Mean(nn.Module):
    """A branch whose logit is the image's mean."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3, 4))


def case(name: str, value: float | None, label: int | None = None) -> dict[str, Any]:
    return {"case": name, "value": value} | ({} if label is None else {"label": label})


def infer(
    folder: Path, cases: list[dict[str, Any]], *, threshold: float = 0.5, pictures: bool = False, metrics: bool = False
) -> PredictionWriter:
    """Score the cases: the logit of FLAIR is the value, T2w's is 0, and FLAIR weighs 0.75."""
    network = ETSCNet(["flair", "t2w"], backbone=Mean).eval()
    network.fusion_weights.copy_(torch.tensor([0.75, 0.25]))
    network.threshold.copy_(torch.tensor(threshold))
    save(network.state_dict(), folder / "model.pt")
    loader = TolerantLoader(StudyDataset(cases, Compose([Constant()])))
    writer = PredictionWriter(
        network,
        loader,
        output_dir=folder / "output",
        checkpoint=folder / "model.pt",
        bundle_version="0.1.0",
        pictures=pictures,
    )
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader,
        network=network,
        inferer=LogitsInferer(),
        postprocessing=FuseScoresd(network),
        val_handlers=[writer, EvaluationWriter(writer, folder / "output")] if metrics else [writer],
    )
    evaluator.run()
    return writer


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_predictions_have_one_row_a_study_rounded_to_six_digits(tmp_path: Path) -> None:
    infer(tmp_path, [case("sub-01_ses-1", 1.2345, 1), case("sub-02", -3.0)])
    rows = table(tmp_path / "output" / "predictions.csv")
    columns = [
        "case",
        "label",
        "score",
        "score_flair",
        "score_t2w",
        "decision",
        "threshold",
        "calibrated_probability",
        "quality_p",
        "out_of_distribution_p",
        "unlike_training",
        "model_version",
        "seconds",
    ]
    assert list(rows[0]) == columns
    assert [row["case"] for row in rows] == ["sub-01_ses-1", "sub-02"]
    assert [row["label"] for row in rows] == ["1", ""]
    assert [row["decision"] for row in rows] == ["controlled", "uncontrolled"]
    for row, value in zip(rows, (1.2345, -3.0), strict=True):
        # 1e-6: half of the last digit written, and float32's own rounding
        assert float(row["score"]) == pytest.approx(0.75 * sigmoid(value) + 0.125, abs=1e-6)
        assert float(row["score_flair"]) == pytest.approx(sigmoid(value), abs=1e-6) and row["score_t2w"] == "0.5"
        assert len(row["score"].partition(".")[2]) <= 6
        assert row["model_version"] == f"0.1.0+{sha256(tmp_path / 'model.pt')[:8]}"


def test_without_any_label_there_is_no_such_column(tmp_path: Path) -> None:
    infer(tmp_path, [case("sub-01", 1.0)])
    assert "label" not in table(tmp_path / "output" / "predictions.csv")[0]


def test_a_studys_result_says_what_it_rests_on(tmp_path: Path) -> None:
    infer(tmp_path, [case("sub-01", 1.0)])
    result = json.loads((tmp_path / "output" / "sub-01.json").read_text())
    assert result["fusion_weights"] == {"flair": 0.75, "t2w": 0.25} and result["threshold"] == 0.5
    assert result["warnings"] == ["Research only, not for diagnosis.", UNKNOWN_ORIGIN]
    assert set(result["branch_scores"]) == {"flair", "t2w"} and result["device"] == "cpu"
    assert set(result["seconds"]) == {"load", "network"} or set(result["seconds"]) == {"load", "preprocess", "network"}


def test_without_a_sidecar_the_result_says_that_nothing_is_known_of_the_training_cohort(tmp_path: Path) -> None:
    infer(tmp_path, [case("sub-01", 1.0)])
    result = json.loads((tmp_path / "output" / "sub-01.json").read_text())
    assert result["calibrated_probability"] is None
    assert result["calibration"]["reason"].startswith("no temperature: model.json holds none")
    for block in ("quality", "out_of_distribution"):
        assert result[block]["flagged"] is None and result[block]["reason"].startswith("no reference: model.json")
    (row,) = table(tmp_path / "output" / "predictions.csv")
    assert row["calibrated_probability"] == row["quality_p"] == row["unlike_training"] == ""


@pytest.mark.parametrize(("steps", "decision"), [(0, "controlled"), (1, "uncontrolled")])
def test_a_score_at_the_threshold_is_controlled(tmp_path: Path, steps: int, decision: str) -> None:
    logits = torch.tensor([[1.2345, 0.0]])
    score = (torch.sigmoid(logits) * torch.tensor([0.75, 0.25])).sum()
    threshold = torch.nextafter(score, torch.tensor(1.0)) if steps else score  # one float32 step above the score
    infer(tmp_path, [case("sub-01", 1.2345)], threshold=float(threshold))
    assert json.loads((tmp_path / "output" / "sub-01.json").read_text())["decision"] == decision


def test_a_score_that_is_no_number_is_a_failure(tmp_path: Path) -> None:
    writer = infer(tmp_path, [case("sub-01", math.nan), case("sub-02", 1.0)])
    assert [row["case"] for row in table(tmp_path / "output" / "predictions.csv")] == ["sub-02"]
    (failure,) = table(tmp_path / "output" / "failures.csv")
    assert failure["case"] == "sub-01"
    assert failure["reason"].startswith("case sub-01: the network gave no finite score; expected")
    assert not (tmp_path / "output" / "sub-01.json").exists()
    with pytest.raises(SystemExit, match="1 of 2 studies failed"):
        writer.finish()


def test_failures_are_written_and_the_program_ends_with_their_reasons(tmp_path: Path) -> None:
    writer = infer(tmp_path, [case("sub-01", None), case("sub-02", 1.0)])
    assert table(tmp_path / "output" / "failures.csv") == [
        {"case": "sub-01", "reason": "case sub-01: no value; expected one. Give one."}
    ]
    with pytest.raises(SystemExit, match=r"1 of 2 studies failed, see .*failures\.csv:\n  case sub-01: no value"):
        writer.finish()


def test_a_run_in_which_every_study_fails_writes_its_tables_all_the_same(tmp_path: Path) -> None:
    writer = infer(tmp_path, [case("sub-01", None)])
    assert table(tmp_path / "output" / "predictions.csv") == []
    assert len(table(tmp_path / "output" / "failures.csv")) == 1
    with pytest.raises(SystemExit, match="1 of 1 studies failed"):
        writer.finish()


def test_without_failures_the_program_goes_on_and_the_table_is_empty(tmp_path: Path) -> None:
    infer(tmp_path, [case("sub-01", 1.0)]).finish()
    assert (tmp_path / "output" / "failures.csv").read_text() == "case,reason\n"


def test_outputs_bear_the_cases_name_as_it_is(tmp_path: Path) -> None:
    infer(tmp_path, [case("Kind 7 (vor OP)+1", 1.0)], pictures=True)
    names = {path.name for path in (tmp_path / "output").iterdir()}
    assert names == {"Kind 7 (vor OP)+1.json", "Kind 7 (vor OP)+1.png", "predictions.csv", "failures.csv"}


def test_a_table_quotes_what_would_break_it(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"case": "a", "reason": 'one, "two"\nthree', "more": 1}, {"case": "b"}]
    write_csv(tmp_path / "table.csv", rows, columns=["case", "reason"])
    assert table(tmp_path / "table.csv") == [{"case": "a", "reason": rows[0]["reason"]}, {"case": "b", "reason": ""}]


def test_an_evaluation_writes_metrics_of_fusion_and_branches(tmp_path: Path) -> None:
    infer(tmp_path, [case(f"sub-{n:02d}", n % 2 + n / 10 - 1, n % 2) for n in range(8)], metrics=True)
    metrics = json.loads((tmp_path / "output" / "metrics.json").read_text())
    assert metrics["split"] == "testing" and {"fused", "flair", "t2w"} <= set(metrics)
    # values 0.1 k - 1 of the odd (plus 1) and the even: all but the pairs that 1 + 0.1 (i - j) < 0 are in order
    assert metrics["fused"]["auc"] == 1.0 and metrics["t2w"]["auc"] == 0.5  # T2w's logit is 0 for all
    assert (tmp_path / "output" / "roc.png").stat().st_size > 1000


def test_an_evaluation_of_one_outcome_alone_is_refused_after_the_predictions_are_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected cases of both outcomes"):
        infer(tmp_path, [case("sub-01", 1.0, 1), case("sub-02", 1.0, 1)], metrics=True)
    assert len(table(tmp_path / "output" / "predictions.csv")) == 2
