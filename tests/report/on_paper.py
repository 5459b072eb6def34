"""A cohort on paper: participants.tsv and predictions.csv with known scores, without any image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from scripts.files import write_csv

COLUMNS = ["case", "label", "score", "score_flair", "score_t2w", "decision", "threshold", "model_version", "seconds"]


def write_cohort(folder: Path, n: int = 95, *, controlled: int = 39, seed: int = 0) -> dict[str, int]:
    """participants.tsv and dataset_description.json of a synthetic cohort; returns the labels by participant."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) < controlled).astype(int)
    rows = []
    for number, label in enumerate(labels, start=1):
        age = round(float(np.exp(rng.normal(3.9 if label else 3.3, 0.8))), 1)
        rows.append(
            {
                "participant_id": f"sub-{number:03d}",
                "outcome": "controlled" if label else "uncontrolled",
                "sex": rng.choice(["M", "F"]),
                "age_mri_months": min(max(age, 6.0), 190.0),
                "age_onset_months": round(min(max(age, 6.0), 190.0) * rng.uniform(0.1, 0.9), 1),
                "infantile_spasms": int(rng.random() < (0.1 if label else 0.54)),
                "gene": rng.choice(["negative", "TSC1", "TSC2"], p=[0.1, 0.2, 0.7]),
                "three_or_more_medications": int(rng.random() < 0.5),
                "eeg_left_frontal": int(rng.random() < 0.5),
                "tubers": int(rng.integers(0, 50)),
            }
        )
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(rows[0]), *("\t".join(str(value) for value in row.values()) for row in rows)]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    (folder / "dataset_description.json").write_text(
        json.dumps({"Name": "On paper", "BIDSVersion": "1.9.0", "Synthetic": True})
    )
    return {str(row["participant_id"]): int(label) for row, label in zip(rows, labels, strict=True)}


def write_predictions(
    path: Path,
    labels: Mapping[str, int],
    *,
    strength: Sequence[float] = (1.0, 1.4),
    weights: Sequence[float] = (0.4, 0.6),
    threshold: float = 0.5,
    seed: int = 0,
) -> list[dict[str, object]]:
    """predictions.csv of a model whose branches are `strength` SD better than chance; returns its rows."""
    rng = np.random.default_rng(seed)
    truth = np.array(list(labels.values()))
    shared = rng.normal(size=truth.size)
    logits = [0.7 * shared + 0.7 * rng.normal(size=truth.size) + s * (truth - 0.5) for s in strength]
    branches = np.round(1 / (1 + np.exp(-np.stack(logits, axis=1))), 6)
    scores = np.round(branches @ np.array(weights), 6)
    rows: list[dict[str, object]] = [
        {
            "case": case,
            "label": label,
            "score": score,
            "score_flair": flair,
            "score_t2w": t2w,
            "decision": "controlled" if score >= threshold else "uncontrolled",
            "threshold": threshold,
            "model_version": "0.1.0+0123abcd",
            "seconds": 0.1,
        }
        for (case, label), score, (flair, t2w) in zip(labels.items(), scores.tolist(), branches.tolist(), strict=True)
    ]
    write_csv(path, rows, columns=COLUMNS)
    return rows


def write_datalist(path: Path, labels: Mapping[str, int], *, testing: int, validation: int) -> dict[str, list[str]]:
    """datalist.json of a split by rows; returns the subjects of each part."""
    subjects = list(labels)
    parts = {
        "testing": subjects[:testing],
        "validation": subjects[testing : testing + validation],
        "training": subjects[testing + validation :],
    }
    cases = {part: [_case(name, labels[name]) for name in names] for part, names in parts.items()}
    path.write_text(json.dumps({"modalities": ["flair", "t2w"], "seed": 0, "fractions": [0.7, 0.1, 0.2], **cases}))
    return parts


def _case(name: str, label: int) -> dict[str, object]:
    images = {key: f"{name}/anat/{name}_{suffix}.nii.gz" for key, suffix in (("flair", "FLAIR"), ("t2w", "T2w"))}
    return {"case": name, "subject": name, "label": label, **images}
