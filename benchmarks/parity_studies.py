"""The studies of `benchmarks/export.sh` as one datalist: real pairs, and the first test subjects of a synthetic cohort.

.venv/bin/python -m benchmarks.parity_studies MRI_DIR COHORT_DIR DATALIST COUNT OUTPUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.real_mri import real_cases


def main(mri: Path, cohort: Path, split: Path, count: int, output: Path) -> None:
    """Write the datalist, all paths absolute."""
    synthetic: list[dict[str, Any]] = json.loads(split.read_text())["testing"][:count]
    for case in synthetic:
        case["brain_extraction"] = "mask"
        case |= {key: str((cohort / case[key]).resolve()) for key in ("flair", "t2w", "flair_mask", "t2w_mask")}
    output.write_text(json.dumps([*real_cases(mri.resolve()), *synthetic], indent=1) + "\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]), int(sys.argv[4]), Path(sys.argv[5]))
