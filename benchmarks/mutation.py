"""Which mutants mutmut runs, and what came of them. `python -m benchmarks.mutation --sample 90` draws; without it: the table.

A seeded sample of each module says of it what all of its mutants would, with an interval, in a fraction of the time. mutmut's own
notes in `mutants/` are read, so that it can be stopped and go on.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from scripts.command_line.commands import run_function
from scripts.errors import InputError
from scripts.stats.decisions import wilson

MUTANTS = Path("mutants")
STATUS = {None: "not run", 0: "survived", 33: "no test", 36: "timeout", 24: "timeout", -24: "timeout", 152: "timeout"}


def mutation(*, sample: int = 0, seed: int = 0) -> str:
    """Draw mutants that were not run yet, or say what came of those that were.

    Args:
        sample: mutants a module, those that were run already among them; 0: print the table.
        seed: of the draw.

    Returns:
        Names, one a line, or the table in Markdown.

    Raises:
        InputError: mutmut has made no mutants.

    Example:
        python -m benchmarks.mutation --sample 90
    """
    files = {file: json.loads(file.read_text())["exit_code_by_key"] for file in sorted(MUTANTS.rglob("*.meta"))}
    files = {file: codes for file, codes in files.items() if codes}
    if not files:
        raise InputError(
            "no mutants", expected="those that mutmut makes", remedy="bash benchmarks/mutation.sh", file=MUTANTS
        )
    return "\n".join(_drawn(files, sample, seed) if sample else _table(files))


def _drawn(files: dict[Path, dict[str, int | None]], sample: int, seed: int) -> list[str]:
    names = []
    for file, codes in files.items():
        drawn = sorted(codes)
        random.Random(f"{seed} {file}").shuffle(drawn)
        names += [name for name in drawn[:sample] if codes[name] is None]
    return names


def _table(files: dict[Path, dict[str, int | None]]) -> list[str]:
    lines = [
        "| module | mutants | run | noticed | survived | no test chosen reaches it | noticed, of those reached (95 %) |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for file, codes in files.items():
        module = file.relative_to(MUTANTS).as_posix().removesuffix(".meta")
        lines.append(_row(module, list(codes.values())))
    every = [code for codes in files.values() for code in codes.values()]
    return [*lines, _row("all", every)]


def _row(name: str, codes: list[int | None]) -> str:
    run = [STATUS.get(code, "killed") for code in codes if code is not None]
    survived, unreached = run.count("survived"), run.count("no test")
    reached = len(run) - unreached
    low, high = wilson(reached - survived, reached) if reached else (0.0, 1.0)
    share = f"{1 - survived / reached:.0%} ({low:.0%} to {high:.0%})" if reached else ""
    return f"| `{name}` | {len(codes)} | {len(run)} | {reached - survived} | {survived} | {unreached} | {share} |"


if __name__ == "__main__":
    run_function(mutation)
