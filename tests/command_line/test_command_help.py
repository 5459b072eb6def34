"""Every command's help: what it does, every option, an example that its own parser takes."""

from __future__ import annotations

import ast
import re
import shlex

import pytest

from export.__main__ import VERBS as EXPORT
from federated.__main__ import VERBS as FEDERATED
from scripts.__main__ import VERBS as SCRIPTS
from scripts.command_line.commands import describe, overview, verb_of
from scripts.command_line.parser import parse
from scripts.command_line.signature import read_verb
from tests.conftest import ROOT

TOYS = {"take": "tests.command_line.toy_verbs:take"}
PACKAGES = {"scripts": SCRIPTS, "export": EXPORT, "federated": FEDERATED}


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


ALL = [(name, verb) for name, verbs in PACKAGES.items() for verb in verbs]


@pytest.mark.parametrize(("package", "verb"), ALL)
def test_every_verb_says_what_it_does_and_describes_every_option(package: str, verb: str) -> None:
    said = verb_of(PACKAGES[package], verb)
    assert re.fullmatch(r"(?!The |This |Verb)[A-Z][a-z]+ .*\.", said.summary), said.summary
    assert [option.name for option in said.options if not option.description.endswith(".")] == []
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
    program = 3 if words[1] == "-m" else 2
    assert " ".join(words[:program]) in (f"python -m benchmarks.{name}", f"python benchmarks/{name}.py")
    parse(said, name, words[program:])


def test_the_benchmarks_are_commands_but_for_what_they_start_or_import() -> None:
    others = {file.stem for file in (ROOT / "benchmarks").glob("*.py")} - BENCHMARKS.keys()
    assert others == {"live_bytes", "monai_stock", "sections"}
