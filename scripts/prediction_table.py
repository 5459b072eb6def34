"""predictions.csv and failures.csv: one row a study that was scored, one a study that could not be. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.files import write_csv

PREDICTIONS, FAILURES = "predictions.csv", "failures.csv"
# What is made of all results together: a new result makes them untrue.
TABLES = (PREDICTIONS, FAILURES, "metrics.json", "roc.png")


def write_tables(
    output_dir: str | Path,
    results: Sequence[Mapping[str, Any]],
    failures: Sequence[Mapping[str, str]],
    *,
    modalities: Sequence[str],
) -> None:
    """Write both.

    Args:
        output_dir: where.
        results: of `prediction_writer.PredictionWriter`, as in CASE.json.
        failures: "case" and "reason".
        modalities: of the network, in its order.
    """
    branches = [f"score_{modality}" for modality in modalities]
    label = ["label"] * any("label" in result for result in results)
    like = ["calibrated_probability", "quality_p", "out_of_distribution_p", "unlike_training"]
    columns = ["case", *label, "score", *branches, "decision", "threshold", *like, "model_version", "seconds"]
    write_csv(Path(output_dir) / PREDICTIONS, [_row(result) for result in results], columns=columns)
    write_csv(Path(output_dir) / FAILURES, failures, columns=["case", "reason"])


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    branches = {f"score_{modality}": score for modality, score in result["branch_scores"].items()}
    quality, distance = result["quality"], result["out_of_distribution"]
    known = [judged["flagged"] for judged in (quality, distance) if judged["flagged"] is not None]
    like = {
        "quality_p": quality.get("p"),
        "out_of_distribution_p": distance.get("p"),
        "unlike_training": int(any(known)) if known else None,
    }
    return {**result, **branches, **like, "seconds": round(sum(result["seconds"].values()), 3)}
