"""The studies of `benchmarks/export.sh` as one datalist: real pairs, and the first test subjects of a synthetic cohort.

.venv/bin/python -m benchmarks.parity_studies --mri MRI_DIR --dataset_dir COHORT --datalist DATALIST --output FILE
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scripts.command_line.commands import run_function
from tests.real_mri import real_cases


def write_studies(mri: Path, dataset_dir: Path, datalist: Path, output: Path, *, subjects: int = 20) -> None:
    """Write real pairs and the first test subjects of a synthetic cohort as one datalist, all paths absolute.

    Args:
        mri: folder of the real pairs.
        dataset_dir: BIDS folder of the synthetic cohort.
        datalist: JSON file of its split.
        output: JSON file of the studies.
        subjects: how many of the testing part.

    Example:
        python -m benchmarks.parity_studies --mri ../shared/mri --dataset_dir results/synthetic/cohort-easy \\
            --datalist results/synthetic/easy/datalist.json --subjects 20 --output results/export/studies.json
    """
    synthetic: list[dict[str, Any]] = json.loads(datalist.read_text())["testing"][:subjects]
    for case in synthetic:
        case["brain_extraction"] = "mask"
        case |= {key: str((dataset_dir / case[key]).resolve()) for key in ("flair", "t2w", "flair_mask", "t2w_mask")}
    output.write_text(json.dumps([*real_cases(mri.resolve()), *synthetic], indent=1) + "\n")


if __name__ == "__main__":
    run_function(write_studies)
