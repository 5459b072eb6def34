"""What the documents name exists: files behind links, tests, verbs, modules, targets of the Makefile."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote

import pytest

from scripts.command_line.commands import verb_of
from tests.conftest import ROOT

PACKAGES = ("scripts", "export", "federated")
WORDS = {  # what is named in a text -> the pattern that finds it
    "module": r"python -m ((?:benchmarks|export|federated|scripts)(?:\.\w+)*)",
    "script": r"\b((?:benchmarks|edge|export|federated|scripts|tests)/[\w/.-]+\.(?:py|sh))\b",
}


def documents() -> list[Path]:
    """Every Markdown file of the repository."""
    said = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [ROOT / line for line in said.splitlines() if (ROOT / line).is_file()]


DOCUMENTS = [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in documents()]


def links(text: str) -> Iterator[str]:
    """The targets of links that lead to a file, without their anchors."""
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if not re.match(r"[a-z]+:|#", target):
            yield unquote(target.partition("#")[0])


def test_there_are_documents() -> None:
    assert len(DOCUMENTS) >= 15


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_link_leads_to_a_file(document: Path) -> None:
    assert [link for link in links(document.read_text()) if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_test_that_is_named_exists(document: Path) -> None:
    missing = []
    for file, name in re.findall(r"\b(tests/[\w/]+\.py)::(test_\w+)", document.read_text()):
        path = ROOT / file
        if not path.is_file() or not re.search(rf"^(?:async )?def {name}\(", path.read_text(), flags=re.MULTILINE):
            missing.append(f"{file}::{name}")
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_script_or_module_that_is_named_exists(document: Path) -> None:
    text = document.read_text()
    gone = [
        name
        for name in re.findall(WORDS["script"], text)
        if not any((folder / name).exists() for folder in roots(document))
    ]
    gone += [name for name in re.findall(WORDS["module"], text) if importlib.util.find_spec(name) is None]
    assert gone == []


def roots(document: Path) -> tuple[Path, ...]:
    """Where a path in a document may begin: at the repository or the edge's folder, or beside it."""
    return ROOT, ROOT / "edge", document.parent


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_verb_or_target_that_is_named_exists(document: Path) -> None:
    text = document.read_text()
    gone = []
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            continue
        verbs = import_module(f"{package}.__main__").VERBS
        gone += [
            f"{package} {verb}" for verb in re.findall(rf"python -m {package} ([a-z][\w-]*)", text) if verb not in verbs
        ]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    said = re.findall(r"`make ([a-z-]+)[^`]*`", text) + re.findall(r"^make ([a-z-]+)", text, flags=re.MULTILINE)
    gone += [f"make {target}" for target in said if target not in targets]
    assert gone == []


def mentioned() -> Iterator[tuple[str, str, str]]:
    """Package, verb and option of every command in a document, a script, a docstring or a message."""
    patterns = ["*.md", "*.sh", "*.yml", "Makefile", "*.py", "*.js", "*.conf", ":!tests"]
    said = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for file in said.splitlines():
        text = (ROOT / file).read_text() if (ROOT / file).is_file() else ""
        text = re.sub(r"\\+\n\s*", " ", text)
        for package, verb, rest in re.findall(r"-m (scripts|export|federated) ([a-z][\w-]*)([^`|;>#\n]*)", text):
            for option in re.findall(r"--([a-z]\w*)", rest.partition("python -m")[0]):
                yield package, verb, option


def test_an_option_that_is_named_with_its_verb_exists() -> None:
    found = set(mentioned())
    assert len(found) >= 100
    gone = []
    for package, verb, option in sorted(found):
        verbs = import_module(f"{package}.__main__").VERBS
        if verb in verbs:
            said = verb_of(verbs, verb)
            known = {one.name for one in said.options} | {"json", "help"}
            gone += [(verb, option)] if option not in known else []
    assert gone == []


def test_every_row_of_the_faults_has_its_test() -> None:
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| what | fault")]
    assert len(rows) >= 30
    assert [row for row in rows if "::test_" not in row.rsplit("|", 2)[1]] == []
