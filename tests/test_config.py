"""A misspelt option is refused, every shipped config reads all of its ids, and faults are said without a traceback."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.config import check_ids, start
from scripts.errors import CohortError, InputError, say_plainly
from tests.conftest import BUNDLE

CONFIGS = {path.stem: path for path in (BUNDLE / "configs").rglob("*.json") if path.stem != "metadata"}
COMPLETE = {"train": "training", "inference": "inference"}
# What an overlay is laid over, where it is not train.json.
BASES = {"inference_onnx": "inference", "inference_trt": "inference", "multi_gpu_inference": "inference"}


def parser(name: str, **overrides: Any) -> ConfigParser:
    """As MONAI's `run` reads it: metadata, the config (an overlay behind what it is laid over), overrides."""
    made = ConfigParser()
    made.read_meta(BUNDLE / "configs" / "metadata.json")
    files = [CONFIGS[name]] if name in COMPLETE else [CONFIGS[BASES.get(name, "train")], CONFIGS[name]]
    made.read_config([str(file) for file in files])
    made.update(overrides)
    return made


def test_the_number_of_configs() -> None:
    """One more config, one more name here: then the tests below run over it."""
    assert sorted(CONFIGS) == [
        "densenet121",
        "evaluate",
        "inference",
        "inference_onnx",
        "inference_trt",
        "multi_gpu_evaluate",
        "multi_gpu_inference",
        "multi_gpu_train",
        "resnet18",
        "swin",
        "train",
    ]


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_id_of_a_shipped_config_is_read(name: str) -> None:
    check_ids(parser(name))


@pytest.mark.parametrize(("name", "twin"), [*COMPLETE.items(), ("evaluate", "evaluating")])
def test_a_run_goes_by_two_names(name: str, twin: str) -> None:
    """Apps run "run", the command line the twin."""
    made = parser(name)
    made.resolve_macro_and_relative_ids()  # type: ignore[no-untyped-call]
    assert made["run"] and made[twin] == made["run"]


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("train", "epoch", "epochs"),
        ("train", "modality", "modalities"),
        ("train", "Seed", "seed"),
        ("inference", "brain_extract", "brain_extraction"),
        ("evaluate", "check_point", "checkpoint"),
    ],
)
def test_an_id_that_nothing_reads_is_refused_with_the_one_that_was_meant(name: str, wrong: str, right: str) -> None:
    with pytest.raises(InputError, match=rf"reads the id '{wrong}'.*such as '{right}'\. Correct or remove --{wrong}\."):
        check_ids(parser(name, **{wrong: 1}))


def test_a_nested_id_that_nothing_reads_is_refused() -> None:
    with pytest.raises(InputError, match=r"'validate::dataloder'.*'validate::dataloader'.*--validate#dataloder\."):
        check_ids(parser("train", **{"validate#dataloder": 1}))


def test_right_overrides_pass() -> None:
    overrides = {"epochs": 1, "train#dataloader#num_workers": 2, "device": "cpu", "spatial_size": [64, 64, 32]}
    check_ids(parser("train", **overrides))


def test_the_check_belongs_into_a_bundles_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # it is set anew; put back afterwards
    with pytest.raises(RuntimeError, match="first step of a bundle's 'run'"):
        start()


FAULT = InputError("no cases", expected="one", remedy="Give one.")


def wrapped(error: Exception) -> Exception:
    """As MONAI's configuration machinery hands it on."""
    outer = RuntimeError("Failed to evaluate")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize("error", [FAULT, wrapped(FAULT), wrapped(wrapped(CohortError([FAULT])))], ids=repr)
def test_a_fault_in_the_input_is_said_in_plain_words(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    say_plainly(type(error), error, None)
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "no cases; expected one. Give one." in said
    assert "Traceback" not in said and "RuntimeError" not in said


def test_any_other_error_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        raise KeyError("a fault of ours")
    except KeyError as error:
        say_plainly(type(error), error, error.__traceback__)
    assert "Traceback" in capsys.readouterr().err


def test_the_command_refuses_a_misspelt_option(
    tmp_path: Path, run_bundle: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = run_bundle("training", "train.json", check=False, epoch=1, output_dir=tmp_path / "output")
    assert done.returncode == 1
    assert (
        "error: nothing in the configuration reads the id 'epoch'; expected an id of the configuration, such as "
        in (done.stderr)
    )
    assert "'epochs'" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "output").exists()
