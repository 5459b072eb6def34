"""Kinds of values that can be typed: from the words of a command line to what a function's annotation asks for."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

SHOWN = {"str": "TEXT", "int": "INT", "float": "NUMBER", "bool": "True|False", "Path": "PATH", "file": "PATH"}
RANKS = (
    "list",
    "choice",
    "literal",
    "str",
    "file",
    "Path",
    "float",
    "int",
    "bool",
    "None",
)  # of a union, what it comes to


@dataclass(frozen=True)
class Kind:
    """A kind of value.

    Attributes:
        name: of RANKS; "file" is a path that stays text.
        element: of a list.
        choices: the words that are allowed.
        optional: None is a value, too.
    """

    name: str
    element: Kind | None = None
    choices: tuple[str, ...] = ()
    optional: bool = False

    @property
    def shown(self) -> str:
        """In a usage line."""
        if self.element is not None:
            return f"{self.element.shown} ..." if self.element.element is None else "LITERAL ..."
        return "|".join(self.choices) if self.choices else SHOWN.get(self.name, "LITERAL")


def union(one: Kind, other: Kind) -> Kind:
    """The kind that takes what either takes: `str | Path` is a file, of `str | Sequence[str]` the list."""
    first, second = sorted((one, other), key=lambda kind: RANKS.index(kind.name))
    optional = one.optional or other.optional or second.name == "None"
    if first.name == "str" and second.name in ("file", "Path"):
        first = Kind("file")
    return replace(first, optional=optional)


def from_words(kind: Kind, words: Sequence[str]) -> Any:
    """The value of the words after one option.

    Raises:
        ValueError: they are of another kind; says what was expected.
    """
    if kind.element is None:
        return from_word(kind, words[0])
    one = words[0].strip() if len(words) == 1 else ""
    if one[:1] not in ("[", "(") and not ("," in one and kind.element.name in ("int", "float")):
        return [from_word(kind.element, word) for word in words]
    value = _literal(one)
    flat = kind.element.element is not None and not all(isinstance(part, list | tuple) for part in value)
    return [from_value(kind.element, value)] if flat else from_value(kind, value)


def from_word(kind: Kind, word: str) -> Any:
    """The value of one word. Text stays as it was typed.

    Raises:
        ValueError: it is of another kind.
    """
    if kind.optional and word == "None" and kind.name not in ("str", "file", "Path"):
        return None
    if kind.name in ("str", "file"):
        return word
    if kind.name == "Path":
        return Path(word)
    if kind.name == "choice":
        return from_value(kind, word)
    if kind.name in ("int", "float"):
        try:
            return int(word) if kind.name == "int" else float(word)
        except ValueError:
            raise ValueError(f"{word!r}; expected {_expected(kind)}") from None
    if kind.name == "bool":
        return from_value(kind, {"true": True, "false": False}.get(word.lower(), word))
    return from_value(kind, _literal(word))


def from_value(kind: Kind, value: Any) -> Any:
    """A part of a literal, if it is of the kind.

    Raises:
        ValueError: it is of another kind.
    """
    if (kind.optional and value is None) or kind.name == "literal":
        return value
    if kind.element is not None and isinstance(value, list | tuple):
        return [from_value(kind.element, part) for part in value]
    if kind.name == "choice" and value in kind.choices:
        return value
    if kind.name in ("str", "file", "Path") and isinstance(value, str):
        return Path(value) if kind.name == "Path" else value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind.name == "float" and number:
        return float(value)
    if (kind.name == "int" and number and isinstance(value, int)) or (kind.name == "bool" and isinstance(value, bool)):
        return value
    raise ValueError(f"{value!r}; expected {_expected(kind)}")


def _literal(word: str) -> Any:
    for read in (ast.literal_eval, json.loads):
        try:
            return read(word)
        except (ValueError, SyntaxError):
            continue
    raise ValueError(f"{word!r}; expected a Python literal or JSON")


def _expected(kind: Kind) -> str:
    if kind.choices:
        return f"one of {', '.join(kind.choices)}"
    if kind.element is not None:
        return f"several values, each {_expected(kind.element)}"
    names = {
        "int": "a whole number",
        "float": "a number",
        "bool": "True or False",
        "literal": "a Python literal or JSON",
    }
    return names.get(kind.name, "text")
