"""The figures of benchmarks/synthetic.sh as a table, with its files copied to bundle/docs/evidence."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.command_line.commands import run_function

EVIDENCE = Path(__file__).parents[1] / "bundle" / "docs" / "evidence"
FIGURES = ("auc", "acc", "sensitivity", "specificity", "balanced_accuracy")


def tabulate(results: Path) -> str:
    """A Markdown table of both cohorts' test figures, the ideal observer beside them, and the cost of half precision."""
    lines = [
        "| cohort | scores | " + " | ".join(FIGURES) + " | ideal observer's AUC |",
        "|---" * (len(FIGURES) + 3) + "|",
    ]
    for preset in ("easy", "null"):
        metrics = json.loads((results / preset / "evaluation" / "metrics.json").read_text())
        ideal = json.loads((results / f"cohort-{preset}" / "sourcedata" / "truth.json").read_text())["ideal_auc"]
        for name in ("fused", "flair", "t2w"):
            cells = [with_interval(metrics[name], figure) for figure in FIGURES]
            lines.append(f"| {preset} | {name} | " + " | ".join(cells) + f" | {ideal:.3f} |")
    full, half = (scores(results / run / "evaluation" / "predictions.csv") for run in ("easy", "shipped"))
    change = max(abs(full[case] - half[case]) for case in full)
    return "\n".join([*lines, "", f"Half precision changes a test score of the easy cohort by at most {change:.1e}."])


def with_interval(metrics: dict[str, Any], figure: str) -> str:
    low, high = metrics["intervals"][figure]
    return f"{metrics[figure]:.3f} ({low:.3f} to {high:.3f})"


def scores(path: Path) -> dict[str, float]:
    with path.open() as file:
        return {row["case"]: float(row["score"]) for row in csv.DictReader(file)}


def write_table(results: Path) -> str:
    """Write the table of benchmarks/synthetic.sh to bundle/docs/evidence, and copy there what it comes from.

    Args:
        results: folder of benchmarks/synthetic.sh.

    Example:
        python benchmarks/synthetic_table.py --results results/synthetic
    """
    EVIDENCE.mkdir(parents=True, exist_ok=True)
    for preset in ("easy", "null"):
        for name in (
            "training.csv",
            "training.png",
            "evaluation/metrics.json",
            "evaluation/predictions.csv",
            "evaluation/roc.png",
        ):
            shutil.copyfile(results / preset / name, EVIDENCE / f"{preset}_{Path(name).name}")
    table = tabulate(results)
    (EVIDENCE / "README.md").write_text(
        f"# Synthetic evidence: the output of `bash benchmarks/synthetic.sh`\n\n{table}\n"
    )
    return table


if __name__ == "__main__":
    run_function(write_table)
