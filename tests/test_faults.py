"""One inference over all broken studies and some good ones: each broken one is refused with its own clear message, and costs no
other study its score.
"""

from __future__ import annotations

import csv
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pytest
import torch

from scripts.checkpoint import save
from scripts.network import ETSCNet
from tests.broken_studies import AT_FLAIR, FAULTS, GOOD, NO_FILE, write_studies

SIZE = (32, 32, 32)


@dataclass
class Run:
    """What one inference over all the studies left behind."""

    process: subprocess.CompletedProcess[str]
    output_dir: Path
    entries: dict[str, dict[str, str]]

    def table(self, name: str) -> list[dict[str, str]]:
        with (self.output_dir / name).open(newline="") as file:
            return list(csv.DictReader(file))

    @property
    def reasons(self) -> dict[str, str]:
        return {row["case"]: row["reason"] for row in self.table("failures.csv")}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, run_bundle: Callable[..., subprocess.CompletedProcess[str]]) -> Run:
    folder = tmp_path_factory.mktemp("faults")
    entries = write_studies(folder)
    (folder / "datalist.json").write_text(json.dumps(list(entries.values())))
    torch.manual_seed(0)
    network = ETSCNet(["flair", "t2w"])
    network.spatial_size.copy_(torch.tensor(SIZE))
    save(network.state_dict(), folder / "model.pt")
    process = run_bundle(
        "inference",
        "inference.json",
        check=False,
        datalist=folder / "datalist.json",
        checkpoint=folder / "model.pt",
        output_dir=folder / "output",
        spatial_size=list(SIZE),
        pictures=False,
        device="cpu",
    )
    assert (folder / "output" / "failures.csv").is_file(), process.stderr
    return Run(process, folder / "output", entries)


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_study_is_refused_with_its_own_message_and_gets_no_score(run: Run, name: str) -> None:
    reason = run.reasons[name]
    assert reason.startswith(f"case {name}") and FAULTS[name][1] in reason
    assert "; expected " in reason and reason.endswith(".")  # what was expected, and what to do
    entry = run.entries[name]
    if name not in NO_FILE:
        key = "flair" if name in AT_FLAIR else "flair_mask" if name.startswith("mask") else "t2w"
        assert f"file {entry[key]}" in reason
    assert not list(run.output_dir.glob(f"{name}.*"))
    assert name not in {row["case"] for row in run.table("predictions.csv")}


@pytest.mark.parametrize("name", GOOD)
def test_the_good_studies_of_the_same_run_are_scored(run: Run, name: str) -> None:
    rows = {row["case"]: row for row in run.table("predictions.csv")}
    result = json.loads((run.output_dir / f"{name}.json").read_text())
    assert 0 < result["score"] < 1 and float(rows[name]["score"]) == result["score"]
    assert name not in run.reasons


def test_no_study_is_lost_and_none_is_told_of_twice(run: Run) -> None:
    told = [row["case"] for name in ("predictions.csv", "failures.csv") for row in run.table(name)]
    assert sorted(told) == sorted(run.entries)


def test_messages_of_different_faults_differ(run: Run) -> None:
    """Two faults share a message's words only where they are of one kind; of kinds there are many."""
    assert len({words for _, words in FAULTS.values()}) >= 25
    for one, other in combinations(FAULTS, 2):
        mine, theirs = FAULTS[one][1], FAULTS[other][1]
        if mine not in theirs and theirs not in mine:
            assert theirs not in run.reasons[one] and mine not in run.reasons[other], (one, other)


def test_the_command_fails_and_lists_reasons_without_a_traceback(run: Run) -> None:
    assert run.process.returncode == 1
    assert f"{len(FAULTS)} of {len(FAULTS) + len(GOOD)} studies failed, see {run.output_dir / 'failures.csv'}" in (
        run.process.stderr
    )
    assert "Traceback" not in run.process.stderr
    assert next(iter(run.reasons.values())) in run.process.stderr
