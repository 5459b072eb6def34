"""A run over studies goes on where it was stopped: what is there is kept if this run would write the same, else made again."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose, Transform
from torch import Tensor, nn

from scripts.checkpoint import save
from scripts.dataset import StudyDataset, TolerantLoader
from scripts.errors import InputError, UnavailableError
from scripts.evaluation_writer import EvaluationWriter
from scripts.network import ETSCNet, LogitsInferer
from scripts.prediction_writer import PredictionWriter
from scripts.shards import merge
from scripts.transforms import FuseScoresd

NAMES = [f"sub-{number:02}" for number in range(5)]
PREPARED: list[str] = []  # the cases that were prepared


@pytest.fixture(autouse=True)
def _nothing_prepared() -> None:
    PREPARED.clear()


class Read(Transform):
    """An image whose value stands in the case's file; "bad" is a fault, "gone" one of all cases."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def __call__(self, data: Mapping[str, Any]) -> dict[str, Any]:
        text = Path(data["flair"]).read_text()
        if text == "gone":
            raise UnavailableError("no package", expected="it", remedy="Install it.")
        if text == "bad":
            raise InputError("bad", expected="good", remedy="Mend it.", case=data["case"])
        PREPARED.append(data["case"])
        return {**data, "image": torch.full((1, 8, 8, 8), self.factor * float(text))}


class Mean(nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3, 4))


def write_cases(folder: Path) -> None:
    for number, name in enumerate(NAMES):
        (folder / f"{name}.txt").write_text(str(number - 2))


def infer(
    folder: Path,
    *,
    factor: float = 1.0,
    threshold: float = 0.5,
    share: tuple[int, int] = (0, 1),
    resume: bool = True,
    pictures: bool = False,
    label: int = 0,
) -> PredictionWriter:
    """A run over the cases, of which the first has the label."""
    network = ETSCNet(["flair"], backbone=Mean).eval()
    network.threshold.fill_(threshold)
    save(network.state_dict(), folder / "model.pt")
    cases = [
        {"case": name, "flair": str(folder / f"{name}.txt"), "label": number % 2 if number else label}
        for number, name in enumerate(NAMES)
    ]
    loader = TolerantLoader(
        StudyDataset(cases, Compose([Read(factor)])), rank=share[0], world_size=share[1], resume=resume
    )
    writer = PredictionWriter(
        network,
        loader,
        output_dir=folder / "out",
        checkpoint=folder / "model.pt",
        bundle_version="0.1.0",
        pictures=pictures,
    )
    SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loader,
        network=network,
        inferer=LogitsInferer(),
        postprocessing=FuseScoresd(network),
        val_handlers=[writer, EvaluationWriter(writer, folder / "out")],
    ).run()
    return writer


def prepared() -> list[str]:
    """What was prepared since the last look."""
    found = list(PREPARED)
    PREPARED.clear()
    return found


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "out" / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """A folder with a finished run."""
    write_cases(tmp_path)
    infer(tmp_path)
    assert prepared() == NAMES
    return tmp_path


def test_the_same_command_again_scores_nothing_and_writes_the_same_tables(done: Path) -> None:
    before = {path.name: path.read_bytes() for path in (done / "out").iterdir() if path.suffix != ".png"}
    infer(done).finish()
    assert prepared() == []
    assert {path.name: path.read_bytes() for path in (done / "out").iterdir() if path.suffix != ".png"} == before


def test_without_resume_all_is_scored_again(done: Path) -> None:
    infer(done, resume=False)
    assert prepared() == NAMES


def test_a_run_that_was_stopped_goes_on_in_the_cohorts_order(done: Path) -> None:
    expected = [(row["case"], row["score"]) for row in rows(done)]
    for name in ("sub-03", "sub-01"):
        (done / "out" / f"{name}.json").unlink()
    infer(done)
    assert prepared() == ["sub-01", "sub-03"]
    assert [(row["case"], row["score"]) for row in rows(done)] == expected


@pytest.mark.parametrize("change", [{"threshold": 0.6}, {"factor": 2.0}])
def test_other_weights_or_settings_are_scored_again_and_it_is_said(
    done: Path, change: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    old = rows(done)
    with caplog.at_level("INFO"):
        infer(done, **change)  # type: ignore[arg-type]
    assert prepared() == NAMES
    assert "5 studies have a result of other weights, settings or files: scored again" in caplog.text
    assert [row["score"] + row["model_version"] for row in rows(done)] != [
        row["score"] + row["model_version"] for row in old
    ]


def test_a_changed_file_or_label_is_scored_again_and_no_other(done: Path) -> None:
    (done / "sub-02.txt").write_text("7.5")
    infer(done)
    assert prepared() == ["sub-02"]
    assert float(rows(done)[2]["score"]) == pytest.approx(0.999447, abs=1e-6)  # sigmoid(7.5)
    infer(done, label=1)
    assert prepared() == ["sub-00"] and rows(done)[0]["label"] == "1"


@pytest.mark.parametrize("content", ['{"case": "sub-01", "sco', "", '{"case": "sub-01"}', "[1]", '{"notes": "mine"}'])
def test_half_a_result_is_none(done: Path, content: str) -> None:
    (done / "out" / "sub-01.json").write_text(content)
    infer(done)
    assert prepared() == ["sub-01"]


def test_a_result_whose_picture_is_missing_is_made_again_where_pictures_are_wanted(done: Path) -> None:
    infer(done, pictures=True)
    assert prepared() == NAMES
    (done / "out" / "sub-04.png").unlink()
    infer(done, pictures=True)
    assert prepared() == ["sub-04"] and (done / "out" / "sub-04.png").is_file()
    infer(done)
    assert prepared() == []


def test_a_case_that_fails_now_loses_its_older_result(done: Path) -> None:
    (done / "out" / "sub-01.png").write_bytes(b"an older picture")
    (done / "sub-01.txt").write_text("bad")
    with pytest.raises(SystemExit, match="1 of 5 studies failed"):
        infer(done).finish()
    assert prepared() == [] and not list((done / "out").glob("sub-01*"))
    assert [row["case"] for row in rows(done)] == [name for name in NAMES if name != "sub-01"]
    (done / "sub-01.txt").write_text("3")
    infer(done).finish()  # mended: tried again
    assert prepared() == ["sub-01"] and len(rows(done)) == 5


def test_no_table_outlives_the_results_that_it_is_of(done: Path) -> None:
    (done / "sub-03.txt").write_text("gone")  # ends the run in its midst
    for _ in range(2):
        with pytest.raises(UnavailableError):
            infer(done, threshold=0.6)
        prepared()
    left = {path.name for path in (done / "out").iterdir()}
    assert left == {f"{name}.json" for name in NAMES}
    thresholds = {name: json.loads((done / "out" / f"{name}.json").read_text())["threshold"] for name in NAMES}
    assert thresholds == dict(zip(NAMES, (0.6, 0.6, 0.6, 0.5, 0.5), strict=True)), "each says what it was made with"


def test_a_run_that_ends_before_its_first_result_leaves_the_old_tables(done: Path) -> None:
    before = (done / "out" / "predictions.csv").read_bytes()
    (done / "sub-00.txt").write_text("gone")
    with pytest.raises(UnavailableError):
        infer(done, threshold=0.6)
    assert (done / "out" / "predictions.csv").read_bytes() == before


def test_the_jobs_of_an_array_need_not_know_each_other(
    tmp_path: Path, done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = [{**row, "seconds": ""} for row in rows(done)]
    (done / "sub-01.txt").write_text("bad")
    for path in (done / "out").iterdir():
        path.unlink()
    first = infer(done, share=(0, 2))
    first.finish()
    assert prepared() == ["sub-00", "sub-02", "sub-04"]
    assert "0 of 2 is done; when all are: python -m scripts merge --output_dir" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"the ranks \[1\] are missing"):
        merge(str(done / "out"))
    second = infer(done, share=(1, 2))
    with pytest.raises(SystemExit, match=r"1 of 2 studies failed, see .*shards"):
        second.finish()
    names = {path.name for path in (done / "out").iterdir()}
    assert names == {*(f"{name}.json" for name in NAMES if name != "sub-01"), "shards"}, "no metrics of a share"
    for _ in range(2):  # merging again changes nothing
        assert "4 scored, 1 failed" in merge(str(done / "out")).text
        assert [{**row, "seconds": ""} for row in rows(done)] == [row for row in expected if row["case"] != "sub-01"]
    prepared()
    infer(done, share=(1, 3))  # another number of them keeps what those have scored
    assert prepared() == []
    with pytest.raises(InputError, match=r"of world_size 3 the ranks \[0, 2\] are missing"):
        merge(str(done / "out"))
    infer(done)  # one process alone needs none of that
    assert not (done / "out" / "shards").exists()


def test_a_job_of_other_weights_is_not_merged(done: Path) -> None:
    infer(done, share=(0, 2))
    infer(done, share=(1, 2), threshold=0.6)
    with pytest.raises(InputError, match="different weights, settings or cohorts"):
        merge(str(done / "out"))
    assert not (done / "out" / "predictions.csv").exists()
