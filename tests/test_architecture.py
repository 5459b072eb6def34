"""The one-way arrows of ARCHITECTURE.md, and that its map is the tree."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

OURS = {"scripts", "export", "federated", "etscnet_edge", "benchmarks", "tests"}
ALLOWED = {
    "scripts": {"scripts"},
    "export": {"export", "scripts"},
    "federated": {"federated", "scripts"},
    "edge/etscnet_edge": {"etscnet_edge"},
}


def modules(folder: str) -> Iterator[Path]:
    yield from sorted((ROOT / folder).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """The top-level names of all that a file imports, inside functions, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def docstring(file: Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text())) or ""


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_package_imports_those_alone_that_it_may(folder: str) -> None:
    found = {str(file.relative_to(ROOT)): imports(file) & OURS - ALLOWED[folder] for file in modules(folder)}
    assert len(found) > 10
    assert {file: names for file, names in found.items() if names} == {}


def test_the_edge_imports_neither_torch_nor_monai() -> None:
    theirs = {"torch", "monai", "scipy", "onnx"}
    assert {file.name for file in modules("edge/etscnet_edge") if imports(file) & theirs} == set()


@pytest.mark.parametrize("package", ["scripts.stats", "scripts.report"])
def test_what_is_said_to_need_no_torch_loads_none(package: str) -> None:
    names = [f"{package}.{file.stem}" for file in modules(package.replace(".", "/")) if file.stem != "__init__"]
    loaded = "print(*({'torch', 'monai'} & set(sys.modules)))"
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n{loaded}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_module_that_says_no_torch_imports_none() -> None:
    said = [file for file in modules("scripts") if re.search(r"[Nn]o torch", docstring(file))]
    assert len(said) > 5
    assert [file.name for file in said if "torch" in imports(file)] == []


def test_importing_a_package_runs_nothing_and_is_cheap() -> None:
    """The package alone, before any of its modules, loads nothing but what the interpreter has."""
    for package in ("scripts", "export", "federated"):
        code = f"import sys; before = set(sys.modules); import {package}; print(*sorted(set(sys.modules) - before))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout.split() == [package]


def test_the_map_is_the_tree() -> None:
    told = set(re.findall(r"^\| `([\w/]+)/` \|", (ROOT / "ARCHITECTURE.md").read_text(), flags=re.MULTILINE))
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    tree = {Path(file).parts[0] for file in files if len(Path(file).parts) > 1 and not file.startswith(".")}
    tree |= {str(Path(file).parent) for file in files if re.fullmatch(r"(scripts|export)/\w+/__init__\.py", file)}
    assert told == tree
