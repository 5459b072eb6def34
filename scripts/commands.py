"""The command line of a package: `python -m PACKAGE VERB --option value`. Only the module of the verb is imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from importlib import import_module

import fire

from scripts.errors import say_plainly


def run(package: str, verbs: Mapping[str, str], arguments: list[str]) -> None:
    """Run the verb named first; without one, list them. A fault in the input is said without a traceback.

    Args:
        package: its name, for the help.
        verbs: verb -> "module:function".
        arguments: what follows the package's name.
    """
    sys.excepthook = say_plainly
    wanted = [verb for verb in verbs if arguments[:1] == [verb]] or list(verbs)
    components = {}
    for verb in wanted:
        module, function = verbs[verb].split(":")
        components[verb] = getattr(import_module(module), function)
    fire.Fire(components, command=gather(arguments), name=f"python -m {package}")


def gather(arguments: list[str]) -> list[str]:
    """Several values after one option become one list: `--predictions a.csv b.csv` is `--predictions ["a.csv", "b.csv"]`.

    python-fire would take the second for the next argument of the verb. What follows a bare `--` is fire's own.
    """
    gathered: list[str] = []
    values: list[str] = []
    for position, argument in enumerate([*arguments, "--"]):
        if argument.startswith("--"):
            gathered += [repr([_literal(value) for value in values])] if len(values) > 1 else values
            values = []
            if argument == "--":
                return gathered + arguments[position:]
            gathered.append(argument)
        elif gathered and gathered[-1].startswith("--") and "=" not in gathered[-1]:
            values.append(argument)
        else:
            gathered.append(argument)
    return gathered


def _literal(value: str) -> object:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value
