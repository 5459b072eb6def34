"""participants.tsv for tests: a cohort with exactly the counts of the paper's Table 1, and random ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scripts.report.variables import CLINICAL

N = {"controlled": 39, "uncontrolled": 56}
# How many have it, controlled and uncontrolled: from Table 1 of Zhao et al. 2026, not from the code under test.
COUNTS = {
    "infantile_spasms": (4, 30),
    "three_or_more_medications": (17, 36),
    "eeg_left_frontal": (17, 29),
    "eeg_right_frontal": (18, 27),
    "eeg_left_temporal": (15, 25),
    "eeg_right_temporal": (16, 20),
    "eeg_left_parieto_occipital": (5, 25),
    "eeg_right_parieto_occipital": (9, 14),
}
MALES = (24, 30)
GENES = {"negative": (5, 3), "TSC1": (10, 7), "TSC2": (24, 46)}


def write_children(folder: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write participants.tsv; the columns are those of the first row."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(rows[0])
    lines = ["\t".join(columns), *("\t".join(str(row[column]) for column in columns) for row in rows)]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    return folder


def papers_children() -> list[dict[str, object]]:
    """95 children with the paper's counts; ages and tubers are not among the columns."""
    rows: list[dict[str, object]] = []
    for group, (outcome, n) in enumerate(N.items()):
        genes = [gene for gene, counts in GENES.items() for _ in range(counts[group])]
        for number in range(n):
            row: dict[str, object] = {"participant_id": f"sub-{len(rows):03}", "outcome": outcome}
            row["sex"] = "M" if number < MALES[group] else "F"
            row["gene"] = genes[number]
            row.update({name: int(number < counts[group]) for name, counts in COUNTS.items()})
            rows.append(row)
    return rows


def random_children(n: int, *, seed: int = 0, effect: float = 1.0, missing: float = 0.0) -> list[dict[str, object]]:
    """n children with all clinical columns; controlled ones are older at onset and have fewer spasms, by `effect`."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, object]] = []
    for number in range(n):
        controlled = number % 5 < 2  # 40 %
        row: dict[str, object] = {
            "participant_id": f"sub-{number:04}",
            "outcome": "controlled" if controlled else "uncontrolled",
        }
        for variable in CLINICAL:
            if variable.name == "age_onset_months":
                value: object = round(float(rng.gamma(2, 6 * (1 + effect * controlled))), 1)
            elif variable.name == "age_mri_months":
                value = round(float(rng.uniform(6, 150)), 1)
            elif variable.kind == "continuous":
                value = int(rng.integers(0, 50))
            else:
                levels = [level.value for level in variable.levels]
                value = levels[int(rng.integers(len(levels)))]
                if variable.name == "infantile_spasms":
                    value = int(rng.random() < 0.5 - 0.35 * effect * controlled)
            row[variable.name] = "n/a" if rng.random() < missing else value
        rows.append(row)
    return rows
