"""Shares of a cohort: each study is one process's, and only whole and equal shares are merged."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.errors import InputError
from scripts.shards import Shard, check_shard, forget, forget_all, merge, own, read_all, write_shard


@pytest.mark.parametrize(("studies", "world_size"), [(20, 2), (7, 3), (2, 4), (0, 2), (5, 1)])
def test_each_study_is_in_one_share_and_shares_differ_by_one_at_most(studies: int, world_size: int) -> None:
    shares = [own(range(studies), rank, world_size) for rank in range(world_size)]
    assert sorted(study for share in shares for study in share) == list(range(studies))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (-1, 2), (0, 0), ("0", 2), (0.0, 2)])
def test_a_share_of_nothing_is_refused(rank: Any, world_size: Any) -> None:
    with pytest.raises(InputError, match="the rank from 0 to world_size - 1"):
        check_shard(rank, world_size)


def result(name: str, *, fingerprint: str = "f") -> dict[str, Any]:
    judged = {"quality": {"flagged": None}, "out_of_distribution": {"flagged": None}, "calibrated_probability": None}
    said = {"case": name, "score": 0.25, "branch_scores": {"flair": 0.25}, "decision": "controlled", "threshold": 0.5}
    return {**said, **judged, "model_version": "1", "seconds": {"load": 1.0}, "fingerprint": fingerprint}


def shard(folder: Path, rank: int, *names: str, world_size: int = 2, studies: int = 5, run: str = "run") -> None:
    """What one process wrote: results, and a failure of each name in capitals."""
    for name in names:
        if name.islower():
            (folder / f"{name}.json").write_text(json.dumps(result(name)))
    done = [{"case": name, "fingerprint": "f"} if name.islower() else {"case": name, "reason": "bad"} for name in names]
    write_shard(folder, Shard(run, rank, world_size, studies, ["flair"], done))


def test_merged_they_have_the_cohorts_order(tmp_path: Path) -> None:
    shard(tmp_path, 1, "B", "d")
    shard(tmp_path, 0, "a", "c", "e")
    merged = read_all(tmp_path)
    assert [one["case"] for one in merged.results] == ["a", "c", "d", "e"]
    assert merged.failures == [{"case": "B", "reason": "bad"}]
    said = merge(str(tmp_path))
    assert said.failed and "4 scored, 1 failed" in said.text
    assert said.data["failures"] == [{"case": "B", "reason": "bad"}]
    lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["case", "a", "c", "d", "e"]
    assert (tmp_path / "failures.csv").read_text() == "case,reason\nB,bad\n"


def test_without_failures_the_verb_ends_well(tmp_path: Path) -> None:
    shard(tmp_path, 0, "a", "c", studies=3)
    shard(tmp_path, 1, "b", studies=3)
    done = subprocess.run(
        [sys.executable, "-m", "scripts", "merge", "--output_dir", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0 and "3 scored, 0 failed" in done.stdout


def test_shares_that_are_not_of_one_run_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no process of several has finished here"):
        read_all(tmp_path)
    shard(tmp_path, 0, "a", "c", "e")
    with pytest.raises(InputError, match=r"of world_size 2 the ranks \[1\] are missing"):
        read_all(tmp_path)
    for wrong, message in (
        ({"run": "other weights"}, "different weights, settings or cohorts"),
        ({"studies": 6}, "different weights, settings or cohorts"),
        ({"world_size": 3}, r"world_size \[2, 3\]; expected all ranks of one"),
    ):
        shard(tmp_path, 1, "b", "d", **wrong)
        with pytest.raises(InputError, match=message):
            merge(str(tmp_path))
        (tmp_path / "shards" / "1-of-3.json").unlink(missing_ok=True)
    shard(tmp_path, 1, "b", "a")
    with pytest.raises(InputError, match="5 studies, 4 different ones"):
        read_all(tmp_path)
    shard(tmp_path, 1, "b")
    with pytest.raises(InputError, match="4 studies, 4 different ones; expected 5"):
        read_all(tmp_path)
    assert not (tmp_path / "predictions.csv").exists()


def test_a_result_that_was_changed_or_lost_since_is_refused(tmp_path: Path) -> None:
    shard(tmp_path, 0, "a", "c", studies=3)
    shard(tmp_path, 1, "b", studies=3)
    (tmp_path / "b.json").write_text(json.dumps(result("b", fingerprint="of other weights")))
    with pytest.raises(InputError, match="another result of b"):
        read_all(tmp_path)
    (tmp_path / "b.json").unlink()
    with pytest.raises(InputError, match="no result of b"):
        read_all(tmp_path)
    (tmp_path / "shards" / "1-of-2.json").write_text("{")
    with pytest.raises(InputError, match="it cannot be read"):
        read_all(tmp_path)


def test_a_process_that_starts_forgets_what_it_said_and_what_other_numbers_of_processes_said(tmp_path: Path) -> None:
    shard(tmp_path, 0, "a")
    shard(tmp_path, 1, "b")
    shard(tmp_path, 2, "c", world_size=3)
    (tmp_path / "shards" / "notes.txt").write_text("mine")
    forget(tmp_path, 0, 2)
    assert {path.name for path in (tmp_path / "shards").iterdir()} == {"1-of-2.json", "notes.txt"}
    forget_all(tmp_path)
    assert {path.name for path in (tmp_path / "shards").iterdir()} == {"notes.txt"}


def test_merging_needs_no_torch() -> None:
    code = "import sys, scripts.shards, scripts.result_folder; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
