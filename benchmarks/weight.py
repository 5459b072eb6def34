"""What the parts weigh: their dependencies on the disk, and the time until a command can begin.

`python -m benchmarks.weight` prints benchmarks/records/WEIGHT.md's tables. Processor seconds, the least of some fresh processes:
a loaded machine makes them larger, but not by much.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

from tqdm import tqdm

from export.distribution.dependencies import closure, requirements
from scripts.command_line.commands import run_function
from scripts.errors import InputError
from scripts.machine import describe_machine

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "a command's help": "scripts --help",
    "a report": "import scripts.report.command",
    "statistics": "import scripts.stats.roc",
    "a synthetic cohort": "import scripts.phantom.cohort",
    "MONAI's bundle": "import monai.bundle",
    "training, inference": "import monai.bundle, scripts.training, scripts.evaluation_writer",
    "an export": "import export.to_onnx",
    "the edge's score": "import etscnet_edge.classifier, onnxruntime",
    "the edge's server": "import etscnet_edge.server.serve, onnxruntime",
}


def weigh(*, runs: int = 3) -> str:
    """Weigh dependencies and imports.

    Args:
        runs: fresh processes an import, of which the least counts.

    Example:
        python -m benchmarks.weight
    """
    lines = [
        "| what runs | distributions | MB on the disk | of these, nothing else needs (MB) |",
        "|---|---:|---:|---:|",
    ]
    groups = _groups()
    sizes = {name: _installed(required) for name, required in groups.items()}
    absent = [name for name, mine in sizes.items() if not mine]
    for name, mine in sizes.items():
        if name in absent:
            lines.append(f"| `{name}` | not installed here | | |")
            continue
        others = set().union(*(one.keys() for other, one in sizes.items() if other != name))
        own = sum(size for distribution, size in mine.items() if distribution not in others)
        lines.append(f"| `{name}` | {len(mine)} | {sum(mine.values()) / 1e6:.0f} | {own / 1e6:.0f} |")
    lines += ["", "| until it begins | processor seconds |", "|---|---:|"]
    for name, code in tqdm(COMMANDS.items(), desc="imports", disable=None):
        seconds = min(_processor_seconds(code) for _ in range(runs))
        lines.append(f"| {name} (`{code}`) | {seconds:.2f} |")
    machine = describe_machine()
    return "\n".join([f"{machine['cpu']}, {machine['logical_cores']} cores.", "", *lines])


def _groups() -> dict[str, list[str]]:
    """Dependency group -> its requirements, without the groups that it includes; the edge package as one more."""
    said = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    own = {name: [line for line in lines if isinstance(line, str)] for name, lines in said.items()}
    absent = ("hd-bet", "edge")  # in an environment of its own; the edge's own list is the one that counts
    return {"edge package": requirements(ROOT)["edge"], **{name: own[name] for name in own if name not in absent}}


def _installed(required: list[str]) -> dict[str, int]:
    """Distribution -> bytes of its files, of all that the requirements lead to; empty where they are not installed."""
    found = {}
    try:
        needed = closure(required)
    except InputError:
        return {}
    for dependency in needed:
        files = dependency.distribution.files or []
        paths = {Path(str(dependency.distribution.locate_file(file))) for file in files}
        found[dependency.name] = sum(path.stat().st_size for path in paths if path.is_file())
    return found


def _processor_seconds(code: str) -> float:
    command = [sys.executable, "-c", code] if code.startswith("import ") else [sys.executable, "-m", *code.split()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "edge")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=ROOT, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    run_function(weigh)
