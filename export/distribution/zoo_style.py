"""The Model Zoo's code style, as its `setup.cfg`, `pyproject.toml` and `runtests.sh` set it (Project-MONAI/model-zoo, dev,
dfae206d).

In the Zoo's tree isort takes `scripts` for a package from elsewhere, and its black drops a trailing comma's line breaks: two
things that this repository does otherwise. The bundle's copy is brought to the Zoo's form when it is packed; nothing but order
of imports and layout changes.
"""

from __future__ import annotations

import ast
from functools import lru_cache

import black
import isort
from black.mode import TargetVersion

from scripts.errors import InputError

LINE = 120
SETUP_CFG = f"""[flake8]
select = B,C,E,F,N,P,T4,W,B9
max_line_length = {LINE}
ignore = E203,E501,E741,W503,W504,C408,N812,B023,B905,B028,B907,C419
per_file_ignores = __init__.py: F401, __main__.py: F401
exclude = *.pyi,.git,.eggs,monai/_version.py,versioneer.py,venv,.venv,_version.py

[isort]
known_first_party = models
profile = black
line_length = {LINE}
skip = .git, .eggs, venv, .venv, versioneer.py, _version.py, conf.py
skip_glob = *.pyi
"""
PYPROJECT = f"""[tool.black]
line-length = {LINE}
target-version = ['py37', 'py38', 'py39']
"""
COMMANDS = {  # of runtests.sh, in the folder that holds setup.cfg, pyproject.toml and models/
    "isort": ("isort", "--check", "."),
    "black": ("black", "--skip-magic-trailing-comma", "--check", "."),
    "flake8": ("flake8", ".", "--count", "--statistics"),
}
PLUGINS = ("flake8-bugbear", "flake8-comprehensions", "pep8-naming")  # without them flake8 passes over what it selects
_ISORT = isort.Config(profile="black", line_length=LINE, known_first_party=frozenset({"models"}), src_paths=())
_BLACK = black.Mode(
    target_versions={TargetVersion.PY37, TargetVersion.PY38, TargetVersion.PY39},
    line_length=LINE,
    magic_trailing_comma=False,
)


@lru_cache(maxsize=256)
def in_zoo_style(source: str, *, name: str) -> str:
    """A module as `runtests.sh --autofix` leaves it: isort, then black.

    Args:
        source: of the module.
        name: for an error.

    Raises:
        InputError: the result would be another program.
    """
    formatted = black.format_str(isort.code(source, config=_ISORT), mode=_BLACK)
    if program(formatted) != program(source):
        remedy = "Bring the module into a form that isort and black keep."
        raise InputError("isort or black changes the program", expected="the same program", remedy=remedy, file=name)
    return formatted


def program(source: str) -> list[str]:
    """What a module does, as text that compares equal for two layouts of it: its statements, each run of imports sorted."""
    statements: list[str] = []
    run: list[str] = []
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            at = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
            run += [f"import {at}{alias.name} as {alias.asname or alias.name}" for alias in node.names]
        else:
            statements += [*sorted(run), ast.dump(node)]
            run = []
    return [*statements, *sorted(run)]
