"""The runs behind Table 2: which there are, what is finished, what is refused, what a failure leaves."""

from __future__ import annotations

import csv
import fcntl
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import InputError
from scripts.experiments.child import run_logged
from scripts.experiments.model_plan import plan_models
from scripts.experiments.model_run import ModelRun
from scripts.experiments.models import run_models
from scripts.files import sha256, write_csv
from scripts.report.study import read_model
from tests.cohorts import add_cohort
from tests.conftest import BUNDLE, ROOT
from tests.processes import run_module

TABLE2 = [
    "flair-resnet18",
    "flair-efficientnet3d-b0",
    "t2w-resnet18",
    "t2w-efficientnet3d-b0",
    "both-resnet18",
    "both-efficientnet3d-b0",
]
TINY: dict[str, Any] = {
    "epochs": 1,
    "spatial_size": (32, 32, 32),
    "fractions": (0.6, 0.2, 0.2),
    "device": "cpu",
    "brain_extraction": "none",
}

# Stands for the bundle: writes what a run writes; the score is 0.1 more than a case's place in the datalist's part says.
STAND_IN = """
import csv, hashlib, json, pathlib, sys
step, folder, datalist, weights, epochs, broken = sys.argv[1:]
folder = pathlib.Path(folder)
if broken and broken in str(folder):
    print("before"); sys.exit("error: it broke")
if step == "training":
    folder.joinpath("model.pt").write_text("weights of " + str(folder))
    digest = hashlib.sha256(folder.joinpath("model.pt").read_bytes()).hexdigest()
    folder.joinpath("model.json").write_text(json.dumps({"sha256": digest, "epochs": int(epochs)}))
    folder.joinpath("training.csv").write_text("epoch\\n" + "1\\n" * int(epochs))
    sys.exit()
out = folder / step
out.mkdir(exist_ok=True)
version = "0.1.0+" + hashlib.sha256(pathlib.Path(weights).read_bytes()).hexdigest()[:8]
threshold = 0.3 if "fold-1" in str(folder) else 0.6
rows = []
for number, case in enumerate(json.loads(pathlib.Path(datalist).read_text())[step]):
    score = round(0.1 * number + 0.1, 6)
    decision = "controlled" if score >= threshold else "uncontrolled"
    rows.append([case["case"], case["label"], score, decision, threshold, version])
with open(out / "predictions.csv", "w", newline="") as file:
    csv.writer(file).writerows([["case", "label", "score", "decision", "threshold", "model_version"], *rows])
out.joinpath("failures.csv").write_text("case,reason\\n")
out.joinpath("metrics.json").write_text(json.dumps({"split": step, "model_version": version, "fused": {"auc": 0.5}}))
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The bundle's commands are replaced; "steps" lists those that ran, "broken" names folders whose runs fail."""
    seen: dict[str, Any] = {"steps": [], "broken": ""}

    def command(run: ModelRun, step: str, settings: Any, place: Any) -> list[str]:
        seen["steps"].append((run.name, run.fold, step))
        arguments = [step, run.folder, run.datalist, run.weights, settings.epochs, seen["broken"]]
        return [sys.executable, "-c", STAND_IN, *map(str, arguments)]

    monkeypatch.setattr(ModelRun, "command", command)
    return seen


def test_the_paper_has_six_models_and_etsc_net_is_the_one_to_compare_with() -> None:
    models = plan_models(("flair", "t2w"), ("resnet18", "efficientnet"), (), bundle_root=BUNDLE)
    assert [model.name for model in models] == TABLE2
    assert [model.backbone for model in models] == ["resnet18", ""] * 3
    assert [model.modalities for model in models[::2]] == [("flair",), ("t2w",), ("flair", "t2w")]
    assert [model.name for model in models if model.is_reference] == ["both-efficientnet3d-b0"]


def test_every_shipped_overlay_of_a_backbone_has_a_name() -> None:
    names = ("densenet121", "swin", "resnet18")
    assert len(plan_models(("flair",), names, (), bundle_root=BUNDLE)) == 3


@pytest.mark.parametrize("name", ["resnet", "train", "multi_gpu_train", "metadata"])
def test_a_backbone_that_there_is_not_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(InputError, match=f"backbone '{name}'; expected efficientnet, densenet121, resnet18, swin"):
        plan_models(("flair",), (name,), (), bundle_root=BUNDLE)


def test_existing_weights_are_named_by_their_content_and_need_their_origin(tmp_path: Path) -> None:
    shipped = BUNDLE / "models" / "model.pt"
    (model,) = plan_models(("flair",), (), (str(shipped),), bundle_root=BUNDLE)
    assert model.name == f"weights-{sha256(shipped)[:8]}" and model.modalities == ("flair", "t2w")
    (tmp_path / "model.pt").write_bytes(b"others")
    (tmp_path / "model.json").write_text(json.dumps({"sha256": "0", "modalities": ["flair"]}))
    with pytest.raises(InputError, match="it speaks of another file"):
        plan_models(("flair",), (), (str(tmp_path / "model.pt"),), bundle_root=BUNDLE)
    with pytest.raises(InputError, match="twice"):
        plan_models(("flair",), (), (str(shipped), str(shipped)), bundle_root=BUNDLE)


def test_finished_runs_are_not_run_again(stand_in: dict[str, Any], tmp_path: Path) -> None:
    cohort, output = add_cohort(tmp_path / "cohort", 10, 10), tmp_path / "output"
    said = run_models(str(cohort), str(output), **TINY).text
    steps = [(name, 0, step) for name in TABLE2 for step in ("training", "validation", "testing")]
    assert stand_in["steps"] == steps
    predictions = said.splitlines()[-1].partition("--predictions ")[2].split()
    assert predictions[0] == str(output / "both-efficientnet3d-b0" / "testing" / "predictions.csv")
    assert len(predictions) == 6 and all(Path(file).is_file() for file in predictions)
    run_models(str(cohort), str(output), **TINY)
    assert len(stand_in["steps"]) == len(steps), "nothing ran"
    (output / "t2w-resnet18" / "testing" / "metrics.json").write_text("{")
    (output / "both-resnet18" / "model.pt").write_text("other weights")
    (output / "flair-resnet18" / "validation" / "failures.csv").write_text("case,reason\nsub-001,dark\n")
    run_models(str(cohort), str(output), **TINY)
    assert stand_in["steps"][len(steps) :] == [
        ("flair-resnet18", 0, "validation"),
        ("t2w-resnet18", 0, "testing"),
        ("both-resnet18", 0, "training"),
    ], "what is not whole, or not of these weights, is made again"


def test_all_models_have_one_split(stand_in: dict[str, Any], tmp_path: Path) -> None:
    cohort, output = add_cohort(tmp_path / "cohort", 10, 10), tmp_path / "output"
    run_models(str(cohort), str(output), **TINY)
    cases = {}
    for name in TABLE2:
        with (output / name / "testing" / "predictions.csv").open() as file:
            cases[name] = [row["case"] for row in csv.DictReader(file)]
    assert len(cases["both-resnet18"]) == 4 and len(set(map(tuple, cases.values()))) == 1
    assert json.loads((output / "datalist_t2w.json").read_text())["modalities"] == ["t2w"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"epochs": 2}, "begun with epochs 1; expected epochs 2"),
        ({"spatial_size": (64, 32, 32)}, "spatial_size"),
        ({"brain_extraction": "mask"}, "begun with brain_extraction 'none'; expected brain_extraction 'mask'"),
        ({"seed": 1}, "the split was made with {'seed': 0"),
        ({"fractions": (0.5, 0.3, 0.2)}, "the split was made with"),
    ],
)
def test_other_settings_are_refused_before_anything_runs(
    change: dict[str, Any], found: str, stand_in: dict[str, Any], tmp_path: Path
) -> None:
    cohort, output = add_cohort(tmp_path / "cohort", 10, 10), tmp_path / "output"
    options: dict[str, Any] = {**TINY, "modalities": "flair", "backbones": "resnet18"}
    run_models(str(cohort), str(output), **options)
    before = len(stand_in["steps"])
    with pytest.raises(InputError, match=found):
        run_models(str(cohort), str(output), **{**options, **change})
    assert len(stand_in["steps"]) == before


def test_a_run_that_fails_does_not_lose_the_others(stand_in: dict[str, Any], tmp_path: Path) -> None:
    cohort, output = add_cohort(tmp_path / "cohort", 10, 10), tmp_path / "output"
    stand_in["broken"] = "t2w-resnet18"
    ended = run_models(str(cohort), str(output), **TINY)
    said = ended.text
    assert ended.failed and len(ended.data["predictions"]) == 5
    assert "5 models are trained and scored" in said
    assert "1 of 6 runs failed" in said and "t2w-resnet18: training: exit status 1, see" in said
    assert "    before\n    error: it broke" in said
    stand_in["broken"], done = "", len(stand_in["steps"])
    assert "6 models are trained and scored" in run_models(str(cohort), str(output), **TINY).text
    assert {name for name, _, _ in stand_in["steps"][done:]} == {"t2w-resnet18"}


def test_folds_are_pooled_with_each_folds_own_decisions(stand_in: dict[str, Any], tmp_path: Path) -> None:
    cohort, output = add_cohort(tmp_path / "cohort", 10, 10), tmp_path / "output"
    options: dict[str, Any] = {**TINY, "modalities": "flair", "backbones": "efficientnet"}
    run_models(str(cohort), str(output), folds=2, **{**options, "fractions": (0.7, 0.2, 0.1)})
    file = output / "flair-efficientnet3d-b0" / "predictions.csv"
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["case"] for row in rows] == [f"sub-{number:03}" for number in range(20)], "every child once"
    assert {(row["fold"], row["threshold"]) for row in rows} == {("1", "0.3"), ("2", "0.6")}
    assert all((row["decision"] == "controlled") == (float(row["score"]) >= float(row["threshold"])) for row in rows)
    for fold in (1, 2):
        said = json.loads((output / f"folds_fold-{fold}.json").read_text())
        assert {case["case"] for case in said["testing"]} == {row["case"] for row in rows if row["fold"] == str(fold)}
    outcomes: dict[str, int | None] = {f"sub-{number:03}": int(number < 10) for number in range(20)}
    model = read_model(file, outcomes, name="pooled")
    assert len(model.versions) == 2 and set(model.thresholds) == {0.3, 0.6}


def test_a_fold_that_lacks_a_case_is_not_pooled(stand_in: dict[str, Any], tmp_path: Path) -> None:
    cohort, output = add_cohort(tmp_path / "cohort", 10, 10), tmp_path / "output"
    options: dict[str, Any] = {**TINY, "modalities": "flair", "backbones": "efficientnet", "folds": 2}
    run_models(str(cohort), str(output), **options)
    file = output / "flair-efficientnet3d-b0" / "fold-2" / "testing" / "predictions.csv"
    with file.open() as stream:
        rows = list(csv.DictReader(stream))
    write_csv(file, rows[1:], columns=list(rows[0]))
    with pytest.raises(InputError, match=f"{rows[0]['case']}: not once; expected the testing part of fold 2"):
        run_models(str(cohort), str(output), **options)


def test_two_commands_do_not_work_in_one_folder(stand_in: dict[str, Any], tmp_path: Path) -> None:
    cohort, output = add_cohort(tmp_path / "cohort", 10, 10), tmp_path / "output"
    output.mkdir()
    with (output / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another command is at work"):
            run_models(str(cohort), str(output), **TINY)
    assert not stand_in["steps"]


def forked(command: Sequence[str], log: Path, **_: object) -> int:
    """As `run_logged`, but without the start of an interpreter."""
    assert command[:3] == [sys.executable, "-m", "monai.bundle"]
    done = run_module("monai.bundle", command[3:], cwd=ROOT)
    log.write_text(done.stdout + done.stderr)
    return done.returncode


def test_the_bundle_trains_and_scores_one_modality_alone(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The last command alone starts an interpreter.
    monkeypatch.setattr(
        "scripts.experiments.model_run.run_logged",
        lambda command, log, **options: (run_logged if "testing" in command else forked)(command, log, **options),
    )
    said = run_models(str(cohort), str(tmp_path), modalities="t2w", backbones="efficientnet", **TINY).text
    folder = tmp_path / "t2w-efficientnet3d-b0"
    assert said.startswith("1 models are trained and scored")
    for part in ("validation", "testing"):
        metrics = json.loads((folder / part / "metrics.json").read_text())
        assert metrics["split"] == part and metrics["t2w"] == metrics["fused"] and "flair" not in metrics
        with (folder / part / "predictions.csv").open() as file:
            rows = list(csv.DictReader(file))
        expected = json.loads((tmp_path / "datalist.json").read_text())[part]
        assert [row["case"] for row in rows] == [case["case"] for case in expected]
        assert all(row["score"] == row["score_t2w"] for row in rows), "one modality: its score is the score"
    assert json.loads((folder / "model.json").read_text())["epochs"] == 1
