"""Command line of the training over several hospitals: `python -m federated VERB --option value`."""

from __future__ import annotations

import sys

from scripts.command_line.commands import run

VERBS = {
    "poc": "federated.poc:poc",
    "compare": "federated.compare:compare",
    "leave-one-out": "federated.leave_one_out:leave_one_out",
    "simulate": "federated.simulate:simulate",
    "sites": "federated.sites:make_sites",
}

if __name__ == "__main__":
    run("federated", VERBS, sys.argv[1:])
