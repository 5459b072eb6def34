"""The results of a run over studies as a table on the terminal, read from the files that `scripts.prediction_writer` wrote."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.answer import Answer
from scripts.errors import InputError

MEANING = "score: that seizures will be controlled after one year of medication; at the threshold or above: controlled"


def show(output_dir: str | Path) -> Answer:
    """Show what an inference or an evaluation found, study by study, and what must be said of it.

    Args:
        output_dir: folder of the run; holds predictions.csv, failures.csv and one JSON (and picture) a case.

    Example:
        python -m scripts show --output_dir results/scores

    Returns:
        The table, and every CASE.json.

    Raises:
        InputError: the folder holds no finished run, or a case's result is missing or damaged.
    """
    folder = Path(str(output_dir))
    results = [_read_result(folder / f"{row['case']}.json") for row in _read_table(folder / "predictions.csv")]
    failures = _read_table(folder / "failures.csv")
    lines = [*_aligned([_row(folder, result) for result in results]), "", MEANING] if results else []
    lines.append(f"{len(results)} scored, {len(failures)} failed: {folder / 'predictions.csv'}")
    lines += [f"failed: {failure['reason']}" for failure in failures]
    lines += sorted({f"model {result['model_version']} on {result['device']}" for result in results})
    of_all = (
        [text for text in results[0]["warnings"] if all(text in one["warnings"] for one in results)] if results else []
    )
    lines += of_all
    lines += [f"{one['case']}: {text}" for one in results for text in one["warnings"] if text not in of_all]
    data = {"table": folder / "predictions.csv", "results": results, "failures": failures}
    return Answer("\n".join(lines), data)


def _read_table(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise InputError(
            "there is no such file",
            expected="the output of a finished inference or evaluation",
            remedy="Give that run's --output_dir.",
            file=path,
        )
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _read_result(path: Path) -> dict[str, Any]:
    try:
        result: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"it cannot be read ({error})", expected="a case's result", remedy="Score the case again.", file=path
        ) from error
    return result


def _row(folder: Path, result: Mapping[str, Any]) -> dict[str, str]:
    picture = folder / f"{result['case']}.png"
    return {
        "case": result["case"],
        **({"label": str(result["label"])} if "label" in result else {}),
        "score": f"{result['score']:.3f}",
        **{name: f"{score:.3f}" for name, score in result["branch_scores"].items()},
        "threshold": f"{result['threshold']:.3f}",
        "decision": result["decision"],
        "seconds": f"{sum(result['seconds'].values()):.1f}",
        "picture": str(picture) if picture.is_file() else "-",
    }


def _aligned(rows: Sequence[Mapping[str, str]]) -> list[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = [columns, *([row.get(name, "-") for name in columns] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip() for row in table]
