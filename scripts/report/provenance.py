"""What a report was made from: files by hash, weights, settings, seeds, versions. The same inputs give the same figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from scripts.files import sha256
from scripts.report.document import Block, Table
from scripts.report.sources import Run

PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "scikit-learn", "tableone", "matplotlib", "jinja2", "fpdf2")


def provenance(inputs: Sequence[Path], runs: Sequence[Run], *, settings: Mapping[str, Any]) -> list[Block]:
    """Tables of the files, the weights, their settings, and how the report was made.

    Args:
        inputs: every file that was read, but the predictions, which the runs name.
        runs: the models.
        settings: of this report: seed, resamples, ...
    """
    files = [
        *inputs,
        *(m.file for run in runs for m in (run.model, run.validation) if m is not None and m.file is not None),
    ]
    return [
        Table(
            name="files",
            title="Files that this report was made from",
            columns=("file", "SHA-256"),
            rows=tuple((str(file), sha256(file)) for file in dict.fromkeys(files)),
        ),
        Table(
            name="weights",
            title="The models' weights",
            columns=(
                "model",
                "version",
                "SHA-256",
                "trained on",
                "best epochs",
                "fusion weights",
                "threshold",
                "made with",
            ),
            rows=tuple(_weights(run) for run in runs),
        ),
        *_settings(runs),
        Table(
            name="made_with",
            title="How this report was made",
            columns=("what", "value"),
            rows=(
                *((name, str(value)) for name, value in settings.items()),
                ("Python", f"{platform.python_version()}, {platform.system()} {platform.machine()}"),
                *((name, version(name)) for name in PACKAGES),
            ),
        ),
    ]


def _weights(run: Run) -> tuple[str, ...]:
    origin, model = run.origin, run.model
    if not origin:
        return (model.name, ", ".join(model.versions), *["not known"] * 6)
    data = origin.get("data", {})
    cases = ", ".join(f"{part} {n}" for part, n in data.get("cases", {}).items())
    weights = dict(zip(origin.get("modalities", ()), origin.get("fusion", {}).get("weights", ()), strict=False))
    return (
        model.name,
        ", ".join(model.versions),
        str(origin.get("sha256")),
        f"{data.get('name')} ({cases})",
        _joined(origin.get("best_epochs", {})),
        _joined(weights),
        f"{origin.get('threshold', {}).get('threshold', float('nan')):.4f}",
        _joined(origin.get("made_with", {})),
    )


def _settings(runs: Sequence[Run]) -> list[Table]:
    known = [run for run in runs if "settings" in run.origin]
    names = list(dict.fromkeys(name for run in known for name in run.origin["settings"]))
    if not names:
        return []
    return [
        Table(
            name="settings",
            title="Settings of the trainings",
            columns=("setting", *(run.model.name for run in known)),
            rows=tuple((name, *(json.dumps(run.origin["settings"].get(name)) for run in known)) for name in names),
        )
    ]


def _joined(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
