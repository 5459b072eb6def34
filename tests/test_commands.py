"""The command line: values are of the signature's types, and what is typed wrong runs nothing."""

from __future__ import annotations

import ast
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from export.__main__ import VERBS as EXPORT
from federated.__main__ import VERBS as FEDERATED
from scripts.__main__ import VERBS as SCRIPTS
from scripts.commands import describe, overview, run, run_function, verb_of
from scripts.parser import parse
from scripts.signature import read_verb
from tests.conftest import ROOT
from tests.toy_verbs import take

TOYS = {
    "take": "tests.toy_verbs:take",
    "open": "tests.toy_verbs:open_ended",
    "some": "tests.toy_verbs:some_failed",
    "fault": "tests.toy_verbs:fault",
    "stop": "tests.toy_verbs:stop",
    "check": "tests.toy_verbs:check",
    "long": "tests.toy_verbs:much",
    "wait": "tests.toy_verbs:wait",
}
PACKAGES = {"scripts": SCRIPTS, "export": EXPORT, "federated": FEDERATED}
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


def test_further_options_are_let_through_where_a_verb_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--spatial_size", "[64,64,32]", "--device", "cpu", "--pictures", "False", "--resume", "--a", "1", "2"]
    with pytest.raises(SystemExit):
        run("toy", TOYS, ["open", "--json", *words])
    further = {"spatial_size": [64, 64, 32], "device": "cpu", "pictures": False, "resume": True, "a": [1, 2]}
    assert json.loads(capsys.readouterr().out)["further"] == further


def test_with_json_nothing_else_is_on_stdout() -> None:
    program = f"from scripts.commands import run; run('toy', {TOYS}, ['open', '--json'])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0
    assert json.loads(said.stdout) == {"output": "out", "further": {}, "folder": "a", "none": None}
    assert said.stderr.splitlines() == ["a library's chatter", "the chatter of a process"]


def test_without_json_the_answer_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("toy", TOYS, ["open"])
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
        "import sys; from scripts.__main__ import VERBS; from scripts.commands import run\n"
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
    program = f"from scripts.commands import run; run('toy', {TOYS}, ['wait'])"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "stopped\n")
    assert process.returncode == 130


def test_a_reader_may_go_away() -> None:
    program = f"from scripts.commands import run; run('toy', {TOYS}, ['long'])"
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


def test_the_list_of_verbs_has_their_first_sentences() -> None:
    lines = overview("toy", TOYS).splitlines()
    assert (
        next(line for line in lines if line.startswith("  take")).split(maxsplit=1)[1] == "Take every kind of option."
    )


def test_the_help_says_what_the_docstring_says() -> None:
    text = " ".join(describe("toy", TOYS, "take").split())
    for part in (
        "usage: python -m toy take --subject TEXT --dataset_dir PATH [--option VALUE ...]",
        "It says what it was given, and nothing else. A second paragraph.",
        "--subject TEXT a name, 100 % text.",
        "--count INT of things, between 1 and many. (default: 7)",
        "--limit INT of things, between 1 and many.",
        "--how warn|refuse what is done. (default: refuse)",
        "--shape round|square of the thing. (default: round)",
        "--names TEXT ... several: of whom.",
        "--sizes LITERAL ... of several. (default: [[32, 32, 32], [64, 64, 32]])",
        "example: python -m toy take --subject 007 \\ --dataset_dir data/cohort",
        "exit status: 0 done 1 a fault",
        "130 stopped by Ctrl-C",
    ):
        assert part in text
    assert "scalars of a configuration." in describe("toy", TOYS, "open")


ALL = [(name, verb) for name, verbs in PACKAGES.items() for verb in verbs]


@pytest.mark.parametrize(("package", "verb"), ALL)
def test_every_verb_says_what_it_does_and_describes_every_option(package: str, verb: str) -> None:
    said = verb_of(PACKAGES[package], verb)
    assert re.fullmatch(r"(?!The |This |Verb)[A-Z][a-z]+ .*\.", said.summary), said.summary
    assert [option.name for option in said.options if not option.description.endswith(".")] == []
    assert said.further != ""
    assert "as of" not in " ".join(option.description for option in said.options), "another verb's help is another page"
    assert describe(package, PACKAGES[package], verb).startswith(f"usage: python -m {package} {verb}")


@pytest.mark.parametrize(("package", "verb"), ALL)
def test_every_verbs_example_is_a_command_of_its_own(package: str, verb: str) -> None:
    said = verb_of(PACKAGES[package], verb)
    program, words = f"python -m {package} {verb}", shlex.split(said.example.replace("\\\n", " "))
    assert words[:4] == program.split()
    given, _ = parse(said, program, words[4:])
    assert {option.name for option in said.options if option.required} <= given.keys()


@pytest.mark.parametrize(("package", "verb"), ALL)
def test_every_verb_is_a_function_that_its_module_has(package: str, verb: str) -> None:
    module, function = PACKAGES[package][verb].split(":")
    tree = ast.parse(ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_one_name_has_one_kind_of_value_all_over() -> None:
    """`--output_dir` is a folder everywhere, `--seed` a whole number."""
    kinds: dict[str, set[str]] = {}
    for package, verb in ALL:
        for option in verb_of(PACKAGES[package], verb).options:
            kind = option.kind.element or option.kind
            shown = "TEXT" if kind.shown == "PATH" else kind.shown
            kinds.setdefault(option.name, set()).add(shown)
    differing = {name: found for name, found in kinds.items() if len(found) > 1}
    assert differing.keys() == {"brain_extraction", "device"}, (
        differing
    )  # `extract` has two of four ways; Triton has gpu


@pytest.mark.parametrize(
    ("package", "verb"),
    [
        *(("scripts", verb) for verb in ("show", "merge", "extract", "report", "models", "localize", "explain")),
        *(("scripts", f"table{number}") for number in (1, 2, 3)),
        *(
            ("export", verb)
            for verb in ("parity", "triton-check", "zoo-check", "audit", "verify", "unpack", "metadata")
        ),
        *(("federated", verb) for verb in ("compare", "simulate")),
    ],
)
def test_a_verb_whose_answer_is_data_gives_it_as_json(package: str, verb: str) -> None:
    assert verb_of(PACKAGES[package], verb).answers


BENCHMARKS = {
    file.stem: found[1]
    for file in sorted((ROOT / "benchmarks").glob("*.py"))
    if (found := re.search(r"^ +run_function\((\w+)\)$", file.read_text(), flags=re.MULTILINE))
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_the_verbs_manners(name: str) -> None:
    said = read_verb(ROOT / "benchmarks" / f"{name}.py", BENCHMARKS[name])
    assert re.fullmatch(r"[A-Z][a-z]+ .*\.", said.summary)
    assert [option.name for option in said.options if not option.description.endswith(".")] == []
    words = shlex.split(said.example.replace("\\\n", " "))
    start = words.index("--" + next(option.name for option in said.options if f"--{option.name}" in words))
    assert " ".join(words[:start]) in (f"python -m benchmarks.{name}", f"python benchmarks/{name}.py")
    parse(said, name, words[start:])


def test_the_benchmarks_are_commands_but_for_what_they_start_or_import() -> None:
    others = {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - BENCHMARKS.keys()
    assert others == {"live_bytes", "monai_stock", "sections"}
