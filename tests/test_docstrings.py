"""Every public module, class and function says what it is: shapes or units of arrays, and the faults that it raises itself.

The code is read, not imported. What a module's or a class's docstring says of shapes and units holds for all that it contains.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from tests.conftest import ROOT

FOLDERS = ("scripts", "export", "federated", "edge/etscnet_edge")
THE_ZOOS = ROOT / "export" / "distribution" / "unit_tests"  # in the Model Zoo's form
ARRAYS = re.compile(r"\b(Array|ArrayLike|MetaTensor|NDArray|Nifti1Image|Tensor|ndarray)\b")
# Such as (N,), (B, M, x, y, z).
SHAPE = re.compile(r"\((?:\w{1,2}|\d+|\.\.\.),(?: ?[\w.*/+ -]{1,12},?)*\)|\b[Ss]hapes?\b")
UNIT = re.compile(r"\b(?:millimetres?|mm|ml|ms|seconds|bytes|degrees|radians|voxels?|uint8|0 to 1)\b|\[0, 1\]")


@dataclass(frozen=True)
class Said:
    """A public definition: where it is, its docstring, those of what it stands in, and the functions of its module."""

    place: str
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    docstring: str
    around: str
    makers: dict[str, str]


@cache
def definitions() -> tuple[Said, ...]:
    """All of the code, read when the first test asks."""
    return tuple(_definitions())


def _definitions() -> Iterator[Said]:
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if THE_ZOOS not in file.parents:
                tree = ast.parse(file.read_text())
                makers = {node.name: _returned(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
                place = file.relative_to(ROOT).as_posix()
                yield Said(place, tree, ast.get_docstring(tree) or "", "", makers)
                yield from within(tree, place, ast.get_docstring(tree) or "", makers)


def within(parent: ast.Module | ast.ClassDef, place: str, around: str, makers: dict[str, str]) -> Iterator[Said]:
    """The public definitions of a module or a class, one inside a function left out."""
    for node in parent.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        docstring = ast.get_docstring(node) or ""
        yield Said(f"{place}:{node.lineno} {node.name}", node, docstring, around, makers)
        if isinstance(node, ast.ClassDef):
            yield from within(node, f"{place}:{node.name}", f"{around}\n{docstring}", makers)


def annotated(node: ast.AST) -> str:
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return " ".join(ast.unparse(part) for part in [*(one.annotation for one in given), node.returns] if part)


def raised(said: Said) -> set[str]:
    """The names of the faults in a function's own `raise`; one that a function of the module makes has that one's type.

    What was caught and is raised again has another author, who tells of it.
    """
    names = set()
    for node in _own(said.node):
        if isinstance(node, ast.Raise) and node.exc is not None:
            name = ast.unparse(node.exc.func if isinstance(node.exc, ast.Call) else node.exc).rpartition(".")[2]
            names.add(said.makers.get(name, name) if isinstance(node.exc, ast.Call) else name)
    return {name for name in names if name[:1].isupper()}


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """All inside, without another function or class in there, and without a `raise` that is caught on the spot."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        yield child
        inside = list(_own(child))
        if isinstance(node, ast.Try) and node.handlers and child in node.body:
            inside = [one for one in inside if not isinstance(one, ast.Raise)]
        yield from inside


def _returned(node: ast.FunctionDef) -> str:
    return "" if node.returns is None else ast.unparse(node.returns).strip("'\"").rpartition(".")[2]


def functions() -> list[Said]:
    return [said for said in definitions() if isinstance(said.node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_the_whole_code_is_read() -> None:
    assert len(definitions()) > 1200 and len(functions()) > 700


@pytest.mark.parametrize("folder", FOLDERS)
def test_everything_public_has_a_docstring(folder: str) -> None:
    assert [said.place for said in definitions() if said.place.startswith(folder) and not said.docstring] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_arrays_have_a_shape_or_a_unit(folder: str) -> None:
    takers = [said for said in functions() if said.place.startswith(folder) and ARRAYS.search(annotated(said.node))]
    mute = [said.place for said in takers if not told(f"{said.docstring}\n{said.around}")]
    assert len(takers) > 10
    assert mute == []


def told(docstring: str) -> bool:
    return SHAPE.search(docstring) is not None or UNIT.search(docstring) is not None


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_fault_that_is_raised_is_told(folder: str) -> None:
    mute = [
        f"{said.place}: {name}"
        for said in functions()
        if said.place.startswith(folder)
        for name in sorted(raised(said))
        if not re.search(rf"\b{name}\b", said.docstring)
    ]
    assert mute == []


def test_what_counts_as_a_shape() -> None:
    assert all(told(text) for text in ("labels (N,)", "an image (1, x, y, z)", "in mm", "(..., N) scores", "shape"))
    assert not any(told(text) for text in ("the image", "a case (see above)", "call() it", "one (only)"))
