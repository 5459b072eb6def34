"""The command line: values are of the signature's types, and what is typed wrong runs nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.command_line.commands import run, run_function
from tests.command_line.toy_verbs import take
from tests.conftest import ROOT

TOYS = {
    "take": "tests.command_line.toy_verbs:take",
    "answer": "tests.command_line.toy_verbs:answer",
    "some": "tests.command_line.toy_verbs:some_failed",
    "fault": "tests.command_line.toy_verbs:fault",
    "stop": "tests.command_line.toy_verbs:stop",
    "check": "tests.command_line.toy_verbs:check",
    "long": "tests.command_line.toy_verbs:much",
    "wait": "tests.command_line.toy_verbs:wait",
}
NEEDED = ["--subject", "a", "--dataset_dir", "b"]


def taken(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, Any]:
    """What the function `take` was given."""
    with pytest.raises(SystemExit) as left:
        run("toy", TOYS, ["take", *words])
    assert left.value.code == 0
    return eval(capsys.readouterr().out, {"PosixPath": Path})  # type: ignore[no-any-return]


def refused(capsys: pytest.CaptureFixture[str], words: list[str]) -> str:
    """The one line that a wrong command is answered with."""
    with pytest.raises(SystemExit) as left:
        run("toy", TOYS, words)
    said = capsys.readouterr()
    assert (left.value.code, said.out, said.err.count("\n")) == (2, "", 1)
    return said.err


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        (["--subject", "007", "--dataset_dir", "b"], "subject", "007"),
        (["--subject", "[1]", "--dataset_dir", "b"], "subject", "[1]"),
        (["--subject=007", "--dataset_dir=a=b"], "dataset_dir", "a=b"),
        (["007", "b"], "dataset_dir", "b"),
        (["--count", "3", "007", "b"], "subject", "007"),
        (["--dataset_dir", "b", "007"], "subject", "007"),
        (NEEDED, "count", 7),
        ([*NEEDED, "--count", "-1"], "count", -1),
        ([*NEEDED, "--share", "1"], "share", 1.0),
        ([*NEEDED, "--common"], "common", True),
        ([*NEEDED, "--common", "--count", "2"], "common", True),
        ([*NEEDED, "--common", "True"], "common", True),
        ([*NEEDED, "--common=false"], "common", False),
        ([*NEEDED, "--folder", "c"], "folder", Path("c")),
        ([*NEEDED, "--limit", "None"], "limit", None),
        ([*NEEDED, "--how", "warn"], "how", "warn"),
        ([*NEEDED, "--shape", "square"], "shape", "square"),
        ([*NEEDED, "--names", "1", "b c"], "names", ["1", "b c"]),
        ([*NEEDED, "--names", "['gpu']"], "names", ["gpu"]),
        ([*NEEDED, "--names", "[]"], "names", []),
        ([*NEEDED, "--spatial_size", "64", "64", "32"], "spatial_size", [64, 64, 32]),
        ([*NEEDED, "--spatial_size", "[64,64,32]"], "spatial_size", [64, 64, 32]),
        ([*NEEDED, "--spatial_size", "64,64,32"], "spatial_size", [64, 64, 32]),
        ([*NEEDED, "--sizes", "[[64,64,32]]"], "sizes", [[64, 64, 32]]),
        ([*NEEDED, "--sizes", "[64,64,32]", "[32,32,32]"], "sizes", [[64, 64, 32], [32, 32, 32]]),
        ([*NEEDED, "--sizes", "[64,64,32]"], "sizes", [[64, 64, 32]]),
        ([*NEEDED, "--filters", '[{"of": null}]'], "filters", [{"of": None}]),
        ([*NEEDED, "--filters", "{'of': None}"], "filters", [{"of": None}]),
    ],
)
def test_a_value_is_of_the_signatures_type(
    capsys: pytest.CaptureFixture[str], words: list[str], name: str, value: object
) -> None:
    found = taken(capsys, words)[name]
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tak"], "no verb tak; did you mean take?"),
        (["take", *NEEDED, "--cuont", "3"], "no option --cuont; did you mean --count?"),
        (["take", *NEEDED, "--coun", "3"], "no option --coun; did you mean --count?"),
        (["take", *NEEDED, "--dataset-dir", "3"], "no option --dataset-dir; did you mean --dataset_dir?"),
        (["take", *NEEDED, "--json"], "no option --json"),
        (["take", *NEEDED, "--count", "2.5"], "--count '2.5'; expected a whole number"),
        (["take", *NEEDED, "--count"], "--count: expected one argument"),
        (["take", *NEEDED, "--count", "1", "--count", "2"], "--count is given more than once"),
        (["take", *NEEDED, "--share", "half"], "--share 'half'; expected a number"),
        (["take", *NEEDED, "--common", "maybe"], "--common 'maybe'; expected True or False"),
        (["take", *NEEDED, "--how", "warm"], "--how 'warm'; expected one of warn, refuse"),
        (["take", *NEEDED, "--shape", "oval"], "--shape 'oval'; expected one of round, square"),
        (["take", *NEEDED, "--spatial_size", "64", "wide"], "--spatial_size 'wide'; expected a whole number"),
        (["take", *NEEDED, "--spatial_size", "[64, 64.5]"], "--spatial_size 64.5; expected a whole number"),
        (["take", *NEEDED, "--names", "[a"], "--names '[a'; expected a Python literal or JSON"),
        (["take", "--subject", "a"], "--dataset_dir is missing"),
        (["take", "a", "b", "c"], "'c' belongs to no option"),
    ],
)
def test_what_is_typed_wrong_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert said in refused(capsys, words)


def test_with_json_nothing_else_is_on_stdout() -> None:
    program = f"from scripts.command_line.commands import run; run('toy', {TOYS}, ['answer', '--json'])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0
    assert json.loads(said.stdout) == {"output": "out", "folder": "a", "none": None}
    assert said.stderr.splitlines() == ["a library's chatter", "the chatter of a process"]


def test_without_json_the_answer_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("toy", TOYS, ["answer"])
    assert capsys.readouterr().out.splitlines()[-1] == "for people"


@pytest.mark.parametrize(
    ("words", "status", "out", "err"),
    [
        (["some"], 1, "", "one failed\n"),
        (["some", "--json"], 1, '{\n "failed": 1\n}\n', ""),
        (["fault"], 1, "", "error: no image; expected one. Give it.\n"),
        (["check"], 1, "", "error: 2 differ; expected none. Look.\n"),
        (["stop"], 130, "", "stopped\n"),
    ],
)
def test_the_exit_status_says_what_came_of_it(
    capsys: pytest.CaptureFixture[str], words: list[str], status: int, out: str, err: str
) -> None:
    with pytest.raises(SystemExit) as left:
        run("toy", TOYS, words)
    said = capsys.readouterr()
    assert (left.value.code, said.out, said.err) == (status, out, err)


@pytest.mark.parametrize("words", [["models", "--epoch", "5"], ["modles"], ["models", "--help"], ["--help"], []])
def test_what_is_typed_wrong_or_asks_for_help_imports_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; from scripts.__main__ import VERBS; from scripts.command_line.commands import run\n"
        f"try: run('scripts', VERBS, {words})\n"
        "finally: print('torch' in sys.modules, 'scripts.experiments.models' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout.splitlines()[-1] == "False False"
    assert said.returncode == (2 if words and "--help" not in words else 0)


def test_with_json_a_failed_check_gives_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        run("toy", TOYS, ["check", "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out) == {"error": "2 differ; expected none. Look.", "differ": 2}
    assert said.err == "error: 2 differ; expected none. Look.\n"


def test_ctrl_c_leaves_no_traceback() -> None:
    program = f"from scripts.command_line.commands import run; run('toy', {TOYS}, ['wait'])"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "stopped\n")
    assert process.returncode == 130


def test_a_reader_may_go_away() -> None:
    program = f"from scripts.command_line.commands import run; run('toy', {TOYS}, ['long'])"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)
    process.stderr.close()


def test_a_script_of_one_function_has_the_same_manners(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        run_function(take, ["007", "b"])
    assert "'subject': '007'" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        run_function(take, ["007", "b", "--shar", "1"])
    assert "toy_verbs.py: no option --shar; did you mean --share?" in capsys.readouterr().err
