"""The edge's command line: what is typed wrong is one line, before anything is read or loaded."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from etscnet_edge import __main__ as command
from etscnet_edge import options
from etscnet_edge.__main__ import main
from etscnet_edge.brain_extraction.checks import GATES
from etscnet_edge.classifier import BRAIN_EXTRACTION
from etscnet_edge.preprocess import PREPROCESSING
from etscnet_edge.runtimes import RUNTIMES
from etscnet_edge.verbs import VERBS, overview

from tests.conftest import ROOT

PAIR = ["--flair", "a.nii", "--t2w", "b.nii"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["predcit"], "no verb predcit; did you mean predict?"),
        (["predict", *PAIR, "--mask_qualty", "warn"], "no option --mask_qualty; did you mean --mask_quality?"),
        (["predict", "--flaiir", "a.nii", "--t2w", "b.nii"], "no option --flaiir; did you mean --flair?"),
        (["predict", *PAIR, "--thread", "2"], "no option --thread; did you mean --threads?"),
        (["predict", "--flair", "a.nii"], "--t2w is missing"),
        (["predict", *PAIR, "c.nii"], "'c.nii' belongs to no option"),
        (["predict", *PAIR, "--t2w", "c.nii"], "--t2w is given more than once"),
        (["predict", *PAIR, "--threads", "0"], "--threads 0; expected a whole number from 1 to 1024"),
        (["predict", *PAIR, "--threads", "2.0"], "--threads 2.0; expected a whole number from 1 to 1024"),
        (["predict", *PAIR, "--memory_mb", "all"], "--memory_mb all; expected a number from 1 on"),
        (["predict", *PAIR, "--memory_mb", "nan"], "--memory_mb nan; expected a number from 1 on"),
        (["predict", *PAIR, "--runtime", "gpu"], "--runtime gpu; expected one of cpu, cuda, ort-tensorrt, tensorrt"),
        (["serve", "--port", "99999"], "--port 99999; expected a whole number from 0 to 65535"),
        (["serve", "--queue", "-1"], "--queue -1; expected a whole number from 0 to 1000"),
        (["serve", "--body_mb", "0"], "--body_mb 0; expected a number from 0.001 on"),
        (["serve", "--body_timeout_s", "inf"], "--body_timeout_s inf; expected a number from 0.1 on"),
        (["serve", "--brain_extraction", "hd-bet"], "--brain_extraction hd-bet; expected one of none, network, mask"),
        (["build", "--memory_mb", "-5"], "--memory_mb -5; expected a whole number from 1 on"),
        (["build", "--timing_cache", "maybe"], "--timing_cache maybe; expected True or False"),
        (["benchmark", "--runs", "many"], "--runs many; expected a whole number from 1 on"),
        (["benchmark", "--output"], "--output expected one argument"),
    ],
)
def test_what_is_typed_wrong_is_one_line_and_runs_nothing(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "HANDLERS", {})
    with pytest.raises(SystemExit) as left:
        main(words)
    told = capsys.readouterr()
    assert (left.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert told.err.startswith("error: etscnet-edge") and said in told.err


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["predict", "--flair", "007", "--t2w", "b"], "flair", "007"),
        (["predict", "--flair=a=b", "--t2w", "b"], "flair", "a=b"),
        (["predict", *PAIR], "threads", 2),
        (["predict", *PAIR, "--memory_mb", "900"], "memory_mb", 900.0),
        (["predict", *PAIR], "memory_mb", None),
        (["serve"], "memory_mb", 2000),
        (["serve", "--port", "0"], "port", 0),
        (["build", "--timing_cache", "False"], "timing_cache", False),
        (["build", "--timing_cache"], "timing_cache", True),
        (["benchmark", "--json"], "json", True),
    ],
)
def test_a_value_is_of_its_options_type(
    words: list[str], name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[argparse.Namespace] = []
    monkeypatch.setattr(command, "HANDLERS", dict.fromkeys(VERBS, seen.append))
    main(words)
    found = getattr(seen[0], name)
    assert (type(found), found) == (type(value), value)


def test_stopped_it_leaves_with_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(_: argparse.Namespace) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "HANDLERS", {"serve": stop})
    with pytest.raises(SystemExit, match="130"):
        main(["serve"])
    assert capsys.readouterr().err == ""


def test_with_json_the_benchmark_prints_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    figures: dict[str, Any] = {"warm": {"runs": 3}}
    monkeypatch.setattr("etscnet_edge.benchmark.measure", lambda settings, runs, cold_runs: figures)
    main(["benchmark", "--json", "--output", str(tmp_path / "benchmark.json")])
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "benchmark.json").read_text()) == figures


def test_the_words_are_the_classifiers() -> None:
    assert (*RUNTIMES, "tensorrt") == options.RUNTIMES
    assert set(options.PREPROCESSING) == set(PREPROCESSING)
    assert (options.BRAIN_EXTRACTION, options.MASK_QUALITY) == (BRAIN_EXTRACTION, GATES)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_tells_its_options_an_example_and_the_exit_statuses(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([verb, "--help"])
    text = capsys.readouterr().out
    assert text.startswith(f"usage: etscnet-edge {verb}") and VERBS[verb].summary in overview()
    assert all(f"  --{name}" in text for name in VERBS[verb].names)
    assert f"etscnet-edge {verb} {VERBS[verb].example}" in text and "130  stopped by Ctrl-C" in text
    VERBS[verb].read(shlex.split(VERBS[verb].example))


def test_the_verbs_are_listed_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert capsys.readouterr().out == overview() + "\n"
    assert set(command.HANDLERS) == set(VERBS)


def test_help_loads_none_of_the_libraries() -> None:
    code = "import sys; from etscnet_edge.__main__ import main; main([]); print(sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "edge", check=True)
    loaded = set(listed(said.stdout.splitlines()[-1]))
    assert not {"numpy", "nibabel", "onnxruntime", "starlette", "fire", "asyncio"} & loaded


def listed(text: str) -> list[str]:
    """A printed list of texts."""
    return [str(name) for name in json.loads(text.replace("'", '"'))]
