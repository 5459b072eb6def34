"""`python -m scripts report`: from a cohort and the predictions of one or more models to the whole report.

Written: report.html and report.pdf, each by itself; `tables/*.csv` and `*.md`; `figures/*.svg` and `*.png`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.answer import Answer
from scripts.bids import read_outcomes
from scripts.datalist import read_datalist
from scripts.errors import InputError
from scripts.files import write_atomically
from scripts.outcome import RESEARCH_ONLY
from scripts.report.contents import Material, contents
from scripts.report.document import Picture, Section, Table, Text
from scripts.report.html import to_html
from scripts.report.participants import read_participants
from scripts.report.pdf import to_pdf
from scripts.report.sources import read_runs

TITLE = "eTSC-Net: the evidence"


def write_report(
    dataset_dir: str | Path,
    predictions: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    names: str | Sequence[str] | None = None,
    datalist: str | Path | None = None,
    table3: str | Path | None = None,
    localization: str | Path | None = None,
    common: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> Answer:
    """Write the report of one or more models: all that the paper's results section holds, and what a reviewer would ask.

    Args:
        dataset_dir: BIDS folder with participants.tsv.
        predictions: one predictions.csv or several; the report is about the first, and compares the others with it.
            What their runs left beside them (validation/predictions.csv, training.csv, model.json) is taken up.
        output_dir: folder of report.html, report.pdf, tables, figures.
        names: of the models, in the same order; None: the runs' folders.
        datalist: JSON file of the split that the models were trained by.
        table3: table3.json of `python -m scripts table3`.
        localization: localization.json of `python -m scripts localize`.
        common: leave out children that not every file has a score of.
        resamples: of the bootstrap.
        seed: of everything random.

    Example:
        python -m scripts report --dataset_dir data/cohort --predictions results/evaluate/predictions.csv \\
            --names eTSC-Net --datalist data/cohort/datalist.json --output_dir results/report

    Returns:
        The summary, and the files that were written.

    Raises:
        InputError: an input is at fault; nothing is written.
    """
    folder, output = Path(str(dataset_dir)), Path(str(output_dir))
    outcomes = read_outcomes(folder / "participants.tsv", required=True)
    runs = read_runs(predictions, outcomes, names=names, common=common)
    split = None if datalist is None else read_datalist(Path(str(datalist)), folder)
    given = [None if path is None else Path(str(path)) for path in (table3, localization)]
    description = folder / "dataset_description.json"
    material = Material(
        description=_description(description),
        outcomes=outcomes,
        participants=read_participants(folder),
        runs=runs,
        datalist=split,
        resources=given[0],
        localization=given[1],
        inputs=tuple(
            Path(str(path))
            for path in (folder / "participants.tsv", description, datalist, *given)
            if path is not None and Path(str(path)).is_file()
        ),
        settings={"seed": seed, "resamples": resamples, "level of the intervals": 0.95},
    )
    sections = contents(material)
    made = datetime.now(UTC)
    name = str(material.description.get("Name") or folder.resolve().name)
    subtitle = f"{name}; {len(runs)} models; made on {made:%Y-%m-%d}. {RESEARCH_ONLY}"
    parts = _write_parts(sections, output)
    write_atomically(output / "report.html", to_html(TITLE, subtitle, sections))
    write_atomically(
        output / "report.pdf", to_pdf(TITLE, subtitle, sections, made=made, footer=f"{name}. {RESEARCH_ONLY}")
    )
    said = [block.text for block in sections[0].blocks if isinstance(block, Text)]
    files = [output / "report.html", output / "report.pdf", *parts]
    text = "\n".join([*said, f"{files[0]}, {files[1]}, tables/ and figures/ beside them"])
    return Answer(text, {"summary": said, "files": files})


def _write_parts(sections: Sequence[Section], output: Path) -> list[Path]:
    """Every table and figure as files of its own; which they are."""
    files: list[Path] = []
    blocks = [block for section in sections for block in section.blocks if not isinstance(block, Text)]
    for block in tqdm(blocks, desc="report", unit="part", disable=None):
        if isinstance(block, Table):
            files += [output / "tables" / f"{block.name}.{end}" for end in ("csv", "md")]
            write_atomically(files[-2], block.to_csv())
            write_atomically(files[-1], block.to_markdown() + "\n")
        elif isinstance(block, Picture):
            files += [output / "figures" / f"{block.name}.{end}" for end in ("svg", "png")]
            write_atomically(files[-2], block.svg)
            write_atomically(files[-1], block.png)
    return files


def _description(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"it cannot be read ({error})", expected="JSON as BIDS asks for", remedy="Correct or remove it.", file=path
        ) from error
    return said if isinstance(said, dict) else {}
