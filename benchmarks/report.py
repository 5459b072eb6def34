"""How long the report takes, on a cohort on paper with known scores: `python -m benchmarks.report --subjects 1000 --models 10`.

Prints wall and processor seconds of `python -m scripts report` as a process of its own, and its peak memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.command_line.commands import run_function
from tests.report.on_paper import write_cohort, write_predictions


def time_report(*, subjects: int = 1000, models: int = 10) -> str:
    """Time the report of a cohort on paper with known scores, in a temporary folder.

    Args:
        subjects: of the cohort.
        models: that are compared.

    Example:
        python -m benchmarks.report --subjects 1000 --models 10
    """
    children = subjects
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels = write_cohort(folder / "cohort", children, controlled=round(children * 39 / 95))
        files = [folder / f"model{number}" / "predictions.csv" for number in range(models)]
        for number, file in enumerate(files):
            write_predictions(file, labels, strength=(0.5 + 0.1 * number, 1.0), seed=number)
        command = [sys.executable, "-m", "scripts", "report", "--dataset_dir", str(folder / "cohort")]
        command += ["--predictions", *map(str, files), "--output_dir", str(folder / "report")]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        if status:
            raise SystemExit(f"the report failed with status {status}")
        size = (folder / "report" / "report.html").stat().st_size / 2**20
    return (
        f"{children} children, {models} models: {wall:.0f} s, {used.ru_utime + used.ru_stime:.0f} s of processor time, "
        f"peak {used.ru_maxrss / 1024:.0f} MB, report.html {size:.1f} MB"
    )


if __name__ == "__main__":
    run_function(time_report)
