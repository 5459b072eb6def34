"""The command line of a package: `python -m PACKAGE VERB --option value`. Only the module of the verb is imported."""

from __future__ import annotations

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
    fire.Fire(components, command=arguments, name=f"python -m {package}")
