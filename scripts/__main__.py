"""Command line of the cohort side: `python -m scripts VERB --option value`."""

from __future__ import annotations

import sys

from scripts.commands import run

VERBS = {
    "cohort": "scripts.cohort:make_datalists",
    "halve": "scripts.release:halve",
    "phantom": "scripts.phantom.cohort:make_cohort",
    "phantom-picture": "scripts.phantom.picture:draw_pair",
    "show": "scripts.show:show",
}

if __name__ == "__main__":
    run("scripts", VERBS, sys.argv[1:])
