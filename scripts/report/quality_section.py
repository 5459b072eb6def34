"""Whether the children looked like those that a model was trained on, and what temperature scaling makes of its scores."""

from __future__ import annotations

from collections.abc import Sequence

from scripts.report.cells import estimate, number
from scripts.report.document import Block, Table, Text
from scripts.report.sources import Run
from scripts.stats.calibration import calibration
from scripts.stats.decisions import wilson
from scripts.stats.roc import auc, auc_interval

MOST = 20


def quality(runs: Sequence[Run]) -> list[Block]:
    """What the flags and the calibrated probabilities of predictions.csv say; nothing where no file has them."""
    flagged = [run for run in runs if run.model.unlike is not None]
    calibrated = [run for run in runs if run.model.calibrated is not None]
    return [
        *([_flags(flagged)] if flagged else []),
        *_unlike(flagged),
        *([_temperature(calibrated)] if calibrated else []),
    ]


def _flags(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        model = run.model
        unlike = model.unlike if model.unlike is not None else model.labels * 0
        count, n = int(unlike.sum()), unlike.size
        rows.append(
            (
                run.model.name,
                f"{count} of {n}",
                estimate(count / n, wilson(count, n)),
                *(_auc(run, at) for at in (0, 1)),
            )
        )
    return Table(
        name="unlike",
        title="Children unlike the training cohort",
        columns=("model", "flagged", "share", "AUC, the others", "AUC, the flagged"),
        rows=tuple(rows),
        notes=(
            "Flagged by intensities and geometry of the images, or by the distance of the branches' features (Mahalanobis), each "
            "against the training and validation children; the limits are in model.json. A flag warns and does not refuse.",
            "A dash: one outcome alone among them.",
        ),
    )


def _auc(run: Run, flag: int) -> str:
    model = run.model
    chosen = [
        s for s, u in zip(model.subjects, model.unlike if model.unlike is not None else (), strict=False) if u == flag
    ]
    if len(set(model.of(chosen).labels.tolist())) < 2:
        return "-"
    of = model.of(chosen)
    return estimate(auc(of.labels, of.scores), auc_interval(of.labels, of.scores))


def _unlike(runs: Sequence[Run]) -> list[Text]:
    said = []
    for run in runs:
        flags = run.model.unlike if run.model.unlike is not None else ()
        names = [subject for subject, flag in zip(run.model.subjects, flags, strict=True) if flag]
        if names:
            more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
            said.append(Text(f"{run.model.name}: look at the images of {', '.join(names[:MOST])}{more}.", warning=True))
    return said


def _temperature(runs: Sequence[Run]) -> Table:
    rows = []
    for run in runs:
        model, probability = run.model, run.model.calibrated
        if probability is None:
            continue
        before, after = calibration(model.labels, model.scores), calibration(model.labels, probability)
        rows.append(
            (
                model.name,
                number(run.origin.get("temperature", {}).get("temperature"), 2),
                estimate(before.slope, before.slope_interval, 2),
                estimate(after.slope, after.slope_interval, 2),
                number(before.brier),
                number(after.brier),
            )
        )
    return Table(
        name="temperature",
        title="Temperature scaling, fitted on the validation part",
        columns=("model", "temperature", "slope before", "slope after", "Brier before", "Brier after"),
        rows=tuple(rows),
        notes=("probability = sigmoid(logit(score) / temperature): ranks, AUC and decisions stay.",),
    )
