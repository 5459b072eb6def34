"""Command line of the cohort side: `python -m scripts VERB --option value`. Only the module of the verb is imported."""

from __future__ import annotations

import sys
from importlib import import_module

import fire

from scripts.errors import say_plainly

VERBS = {
    "cohort": "scripts.cohort:make_datalists",
    "halve": "scripts.release:halve",
    "phantom": "scripts.phantom.cohort:make_cohort",
    "phantom-picture": "scripts.phantom.picture:draw_pair",
    "show": "scripts.show:show",
}


def main(arguments: list[str]) -> None:
    """Run the verb named first; without one, list them."""
    wanted = [verb for verb in VERBS if arguments[:1] == [verb]] or list(VERBS)
    components = {}
    for verb in wanted:
        module, function = VERBS[verb].split(":")
        components[verb] = getattr(import_module(module), function)
    fire.Fire(components, command=arguments, name="python -m scripts")


if __name__ == "__main__":
    sys.excepthook = say_plainly
    main(sys.argv[1:])
