"""Command line of the cohort side: `python -m scripts VERB --option value`."""

from __future__ import annotations

import sys

from scripts.command_line.commands import run

VERBS = {
    "cohort": "scripts.cohort:make_datalists",
    "explain": "scripts.explanation.explain:explain",
    "extract": "scripts.brain_extraction.extract:extract",
    "halve": "scripts.release:halve",
    "localize": "scripts.explanation.localization:localize",
    "merge": "scripts.shards:merge",
    "models": "scripts.experiments.models:run_models",
    "phantom": "scripts.phantom.cohort:make_cohort",
    "phantom-picture": "scripts.phantom.picture:draw_pair",
    "reference": "scripts.release:add_reference",
    "report": "scripts.report.command:write_report",
    "show": "scripts.show:show",
    "table1": "scripts.report.table1:write_table1",
    "table2": "scripts.report.table2:write_table2",
    "table3": "scripts.experiments.resources:measure_resources",
}

if __name__ == "__main__":
    run("scripts", VERBS, sys.argv[1:])
