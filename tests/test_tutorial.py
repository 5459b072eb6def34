"""docs/tutorial.md, walked from top to bottom in a copy of the tree: every command runs, and what is said to come out does.

Only the environment is not made again, and the server gets a free port in the place of 8080.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, flags=re.DOTALL | re.MULTILINE)
NAMED = re.findall(r"`((?:data|dist|exports|results)/[^`\s]+)`", re.sub(r"```.*?```", "", TUTORIAL, flags=re.DOTALL))
PAGE = "python -c 'import requests; print(requests.get(\"http://127.0.0.1:8080\").text)' > results/page.html\n"
TIMEOUT_S = 1200


@dataclass(frozen=True)
class Walk:
    """The tutorial, done: the tree that it was done in, its files before, what was printed."""

    tree: Path
    before: frozenset[str]
    status: int
    printed: str


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    tree = copy_of_the_tree(tmp_path_factory.mktemp("tutorial") / "tree")
    link_environment(tree / ".venv")
    before = files_of(tree)
    blocks = [*BLOCKS[:-1], PAGE, BLOCKS[-1]]
    script = "\n".join(
        ["set -euo pipefail", *(f"echo === {number} after $SECONDS s\n{block}" for number, block in enumerate(blocks))]
    )
    script = script.replace("8080", str(free_port()))
    log = tree.with_name("printed.txt")
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tree,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, "PIP_COMPILE": "0"},  # bytecode at first use: half of the installation's time
        )
        try:
            process.wait(TIMEOUT_S)
            yield Walk(tree, before, process.returncode, log.read_text(errors="replace"))
        finally:
            kill_group(process)
            shutil.rmtree(tree)


def copy_of_the_tree(target: Path) -> Path:
    """The files that git has or would take, as they are now."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def link_environment(folder: Path) -> None:
    """This environment under another name, up to date in the eyes of make."""
    folder.mkdir()
    for entry in Path(sys.prefix).iterdir():
        (folder / entry.name).symlink_to(entry)
    (folder / ".installed").unlink(missing_ok=True)
    (folder / ".installed").touch()


def files_of(tree: Path) -> frozenset[str]:
    found = (Path(folder) / name for folder, _, names in os.walk(tree) for name in names)  # links are not followed
    return frozenset(file.relative_to(tree).as_posix() for file in found)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # nothing was left
    finally:
        process.wait()


def test_every_command_runs(walk: Walk) -> None:
    assert walk.status == 0, walk.printed[-3000:]
    assert len(BLOCKS) >= 11 and f"=== {len(BLOCKS)}" in walk.printed


def test_every_file_that_is_named_is_there(walk: Walk) -> None:
    assert len(NAMED) >= 20
    assert [name for name in NAMED if not any(walk.tree.glob(name))] == []


def test_the_split_is_as_told(walk: Walk) -> None:
    datalist = json.loads((walk.tree / "data/cohort/datalist.json").read_text())
    told = re.search(r"holds (\d+) children for training, (\d+) for validation, (\d+) for testing", TUTORIAL)
    assert told is not None
    assert [len(datalist[part]) for part in ("training", "validation", "testing")] == [
        int(count) for count in told.groups()
    ]


def test_the_network_is_alive(walk: Walk) -> None:
    with (walk.tree / "results/evaluate/predictions.csv").open(newline="") as file:
        scores = {row["score"] for row in csv.DictReader(file)}
    assert len(scores) == 4


def test_every_form_gives_torchs_scores(walk: Walk) -> None:
    assert json.loads((walk.tree / "exports/parity.json").read_text())["passed"]


def test_the_server_gives_torchs_score(walk: Walk) -> None:
    edge, torch = (json.loads((walk.tree / f"results/{name}.json").read_text()) for name in ("edge", "new/sub-001"))
    assert edge["score"] == pytest.approx(torch["score"], abs=1e-4)  # the tutorial's own tolerance
    assert edge["decision"] == torch["decision"]
    assert f"edge {edge['score']:.6f}, torch {torch['score']:.6f}" in walk.printed


def test_the_servers_address_is_a_page(walk: Walk) -> None:
    assert "<title>" in (walk.tree / "results/page.html").read_text()


def test_the_server_ends(walk: Walk) -> None:
    pid = int((walk.tree / "results/server.pid").read_text())
    until = time.monotonic() + 20  # what it allows itself for the study in work
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_git_ignores_all_that_was_made(walk: Walk) -> None:
    made = sorted(files_of(walk.tree) - walk.before)
    asked = subprocess.run(
        ["git", "check-ignore", "--stdin"], cwd=ROOT, input="\n".join(made), capture_output=True, text=True
    )
    assert len(made) > 100
    assert set(made) - set(asked.stdout.splitlines()) == set()
