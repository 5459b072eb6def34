"""Which modules of `scripts` the bundle's configurations need, and which packages those import. Read from the source, nothing
is run.

The bundle holds what its configurations name and what that imports, no more: the commands of the cohort side (`python -m
scripts`) and the phantom stay in the repository, and so do the packages that they alone need.

An import at a module's top level is *eager*: the module can't be imported without it. One inside a function is *lazy*: its
package is needed where that way is chosen (BET, HD-BET, ONNX Runtime), and optional for the others.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from scripts.errors import InputError

PACKAGE = "scripts"
_NAMED = re.compile(r"\bscripts(?:\.\w+)+")


@dataclass(frozen=True)
class Reach:
    """What the configurations reach.

    Attributes:
        files: modules of `scripts`, paths relative to the checkout, sorted.
        eager: top-level names of the packages without which the configurations' modules can't be imported.
        lazy: those of further packages that are imported where they are used.
    """

    files: tuple[Path, ...]
    eager: frozenset[str]
    lazy: frozenset[str]


def reach(checkout: str | Path) -> Reach:
    """What `bundle/configs/*.json` reach.

    Args:
        checkout: the folder that holds `bundle` and `scripts`.

    Raises:
        InputError: a configuration names a module that does not exist.
    """
    root = Path(checkout)
    named = {}
    for config in sorted((root / "bundle" / "configs").glob("*.json")):
        for dotted in _NAMED.findall(config.read_text(encoding="utf-8")):
            if _module(root, dotted) is None:
                remedy = "Correct the configuration."
                raise InputError(f"no module for {dotted!r}", expected="a part of scripts", remedy=remedy, file=config)
            named[dotted] = config
    imports: dict[Path, list[tuple[str, bool]]] = {}
    _, eager = _follow(root, named, imports, lazily=False)
    files, every = _follow(root, named, imports, lazily=True)
    return Reach(tuple(sorted(files)), frozenset(eager), frozenset(every - eager))


def _follow(
    root: Path, named: Mapping[str, object], imports: dict[Path, list[tuple[str, bool]]], *, lazily: bool
) -> tuple[set[Path], set[str]]:
    """Modules and packages reached from the names, with or without the imports inside functions."""
    files: set[Path] = set()
    packages: set[str] = set()
    todo = list(named)
    while todo:
        dotted = todo.pop()
        if dotted.split(".")[0] != PACKAGE:
            packages |= {dotted.split(".")[0]} - set(sys.stdlib_module_names)
            continue
        for file in _module(root, dotted) or ():
            if file not in files:
                files.add(file)
                if file not in imports:
                    imports[file] = list(_imports(ast.parse((root / file).read_text(encoding="utf-8")), inside=False))
                todo += [name for name, inside in imports[file] if lazily or not inside]
    return files, packages


def _module(root: Path, dotted: str) -> list[Path] | None:
    """The longest module of a dotted name, with the packages that hold it, relative to the root; None where there is none."""
    parts = dotted.split(".")
    while len(parts) > 1:
        path = Path(*parts)
        found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if (root / file).is_file()]
        if found:
            above = [parent / "__init__.py" for parent in path.parents if parent != Path()]
            return [*found[:1], *(file for file in above if (root / file).is_file())]
        parts.pop()
    return None


def _imports(node: ast.AST, *, inside: bool) -> Iterator[tuple[str, bool]]:
    """Dotted names that are imported, each with whether that is inside a function; what is imported from a module may be one."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((alias.name, inside) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = child.module or ""
            yield module, inside
            if module.split(".")[0] == PACKAGE:
                yield from ((f"{module}.{alias.name}", inside) for alias in child.names)
        else:
            within = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _imports(child, inside=within)
