"""What the tests reach, by package: `make coverage` writes coverage's own report and then prints this table of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from scripts.command_line.commands import run_function

COUNTS = ("num_statements", "covered_lines", "num_branches", "covered_branches")
NOT_OURS_TO_RUN = "export/distribution/unit_tests/"  # the Model Zoo runs them


def table(report: Path) -> str:
    """Print lines and branches of every package, and how many of them were reached.

    Args:
        report: JSON file of `coverage json`.

    Example:
        python -m benchmarks.coverage_table --report results/coverage/report.json
    """
    packages: dict[str, Counter[str]] = {}
    for name, said in json.loads(report.read_text())["files"].items():
        if not name.startswith(NOT_OURS_TO_RUN):
            found = {count: said["summary"][count] for count in COUNTS}
            packages.setdefault(package_of(name), Counter()).update(found)
    rows = [*sorted(packages.items()), ("all", sum(packages.values(), Counter()))]
    lines = ["| package | lines | reached | branches | reached |", "|---|---:|---:|---:|---:|"]
    for name, found in rows:
        lines_reached = _share(found["covered_lines"], found["num_statements"])
        branches_reached = _share(found["covered_branches"], found["num_branches"])
        lines.append(
            f"| `{name}` | {found['num_statements']} | {lines_reached} | {found['num_branches']} | {branches_reached} |"
        )
    return "\n".join(lines)


def package_of(file: str) -> str:
    """The folder of a module; those inside of the edge package are one."""
    folder = Path(file).parent.as_posix()
    return "edge/etscnet_edge" if folder.startswith("edge/") else folder


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else ""


if __name__ == "__main__":
    run_function(table)
