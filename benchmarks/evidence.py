"""The report of every model on the testing part, and the figures of both reports as benchmarks/records/EVIDENCE.md.

`python benchmarks/evidence.py --results RESULTS`, the last step of benchmarks/evidence.sh.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.command_line.commands import run_function
from scripts.files import write_atomically, write_csv
from scripts.report.command import write_report

RECORD = Path(__file__).parent / "records" / "EVIDENCE.md"
FIRST = "both-efficientnet3d-b0"
TABLES = {
    "report": ("flow", "table2", "comparisons", "clinical", "calibration", "small_sample_draws", "table3"),
    "report-shipped": (
        "table2",
        "clinical",
        "clinical_comparisons",
        "clinical_nested",
        "temperature",
        "unlike",
        "localization",
    ),
}


def report_of_testing(results: Path) -> str:
    """The report of the six models and the shipped weights on the children of the testing part."""
    models = results / "models"
    testing = {case["subject"] for case in json.loads((models / "datalist.json").read_text())["testing"]}
    every = results / "shipped" / "testing" / "predictions.csv"
    with every.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    shipped = results / "shipped-19" / "testing" / "predictions.csv"
    write_csv(shipped, [row for row in rows if row["case"].split("_")[0] in testing], columns=list(rows[0]))
    (shipped.parents[1] / "model.json").write_bytes((results / "shipped" / "model.json").read_bytes())
    names = [FIRST, *sorted(path.name for path in models.iterdir() if path.name != FIRST)]
    found = [name for name in names if (models / name / "testing" / "predictions.csv").is_file()]
    return write_report(
        results / "cohort",
        [*(models / name / "testing" / "predictions.csv" for name in found), shipped],
        results / "report",
        names=["eTSC-Net" if name == FIRST else name for name in found] + ["eTSC-Net (shipped)"],
        datalist=models / "datalist.json",
        table3=results / "table3" / "table3.json",
        localization=results / "explain" / "localization" / "localization.json",
    ).text


def record(results: Path, said: str) -> str:
    """The tables of both reports."""
    truth = json.loads((results / "cohort" / "sourcedata" / "truth.json").read_text())
    parts = [
        "# The evidence on a synthetic cohort of the paper's size",
        f"`bash benchmarks/evidence.sh`: 95 children, preset `paper` (ideal observer's AUC {truth['ideal_auc']}). The six models "
        "were trained on its training part of 67 children at 32 x 32 x 32 voxels for 20 epochs, which is no fair trial of any of "
        "them; the shipped weights at 96 x 96 x 32 on 250 other children of the clearer preset `easy`.",
        *said.splitlines()[:-1],
    ]
    for folder, names in TABLES.items():
        children = "the 19 children of the testing part" if folder == "report" else "all 95 children, shipped weights"
        parts.append(f"## {children[0].upper()}{children[1:]}")
        files = [results / folder / "tables" / f"{name}.md" for name in names]
        parts += ["### " + file.read_text().strip() for file in files if file.is_file()]
    return "\n\n".join(parts) + "\n"


def write_evidence(results: Path) -> str:
    """Make the report of every model on the testing part, and write benchmarks/records/EVIDENCE.md.

    Args:
        results: folder of benchmarks/evidence.sh.

    Example:
        python benchmarks/evidence.py --results results/paper
    """
    said = report_of_testing(results)
    write_atomically(RECORD, record(results, said))
    return said


if __name__ == "__main__":
    run_function(write_evidence)
