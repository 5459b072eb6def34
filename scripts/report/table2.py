"""Table 2: what each model achieves, with intervals, and its comparison with the first one on the same children."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.answer import Answer
from scripts.bids import read_outcomes
from scripts.files import write_atomically
from scripts.pictures import NAMES
from scripts.report.cells import NONE, estimate, interval, number, p_value, signed
from scripts.report.document import Table
from scripts.report.sources import read_runs
from scripts.report.study import Model
from scripts.stats.bootstrap import auc_bca
from scripts.stats.comparison import delong_test, holm, mcnemar
from scripts.stats.metrics import brier, brier_interval, classification_metrics
from scripts.stats.roc import auc, auc_interval

FIGURES = ("acc", "sensitivity", "specificity", "balanced_accuracy", "ppv", "npv", "brier")
HEADS = ("ACC", "SEN", "SPE", "BA", "PPV", "NPV", "Brier")


def table2(models: Sequence[Model], *, resamples: int = 2000, seed: int = 0) -> Table:
    """One row a model, and below a fused one a row for each of its branches.

    Args:
        models: on the same children.
        resamples, seed: of the bootstrap.

    Raises:
        InputError: all children have one outcome: there is nothing to tell apart.
    """
    rows, reasons = [], []
    for model in models:
        found = classification_metrics(model.labels, model.scores, decisions=model.decisions)
        bootstrap = auc_bca(model.labels, model.scores, resamples=resamples, seed=seed)
        reasons += [f"{model.name}: no BCa interval, {bootstrap.reason}."] * bool(bootstrap.reason)
        rows.append(
            (
                model.name,
                estimate(found.auc, found.intervals["auc"]),
                interval(bootstrap.interval),
                *(estimate(getattr(found, name), found.intervals.get(name)) for name in FIGURES),
            )
        )
        if len(model.branches) > 1:
            rows += [_branch_row(model, name, resamples=resamples, seed=seed) for name in model.branches]
    labels = models[0].labels
    folds = [model.name for model in models if np.unique(model.thresholds).size > 1]
    pooled = (
        f"Pooled over the folds of a cross-validation, each with its own weights and threshold: {', '.join(folds)}."
    )
    return Table(
        name="table2",
        title=f"Table 2. {labels.size} children, {int(labels.sum())} controlled, {int((1 - labels).sum())} uncontrolled",
        columns=("model", "AUC (DeLong)", "AUC, BCa", *HEADS),
        rows=tuple(rows),
        notes=(
            "In brackets 95 % intervals: AUC by DeLong's variance on the logit scale, and by the stratified bootstrap "
            f"(BCa, {resamples} resamples); proportions by Wilson; BA by variance recovery; Brier by its variance.",
            "Positive: controlled, called so from the threshold on, which was chosen on the validation part. A branch "
            "(indented) has no threshold of its own.",
            *([pooled] if folds else []),
            *reasons,
        ),
    )


def comparisons(models: Sequence[Model]) -> Table | None:
    """Every further model against the first: DeLong's paired test, McNemar's, both with Holm's correction."""
    reference, others = models[0], models[1:]
    if not others:
        return None
    tests = [delong_test(model.labels, model.scores, reference.scores) for model in others]
    decided = [mcnemar(model.labels, model.decisions, reference.decisions) for model in others]
    adjusted = holm([test.p for test in tests]), holm([test.p for test in decided])
    rows = tuple(
        (
            model.name,
            estimate_signed(test.difference, test.interval),
            number(test.z, 2),
            p_value(test.p),
            p_value(auc_holm),
            f"{decision.only_a_correct} / {decision.only_b_correct}",
            p_value(decision.p),
            p_value(decision_holm),
        )
        for model, test, decision, auc_holm, decision_holm in zip(others, tests, decided, *adjusted, strict=True)
    )
    reasons = [f"{model.name}: {test.reason}." for model, test in zip(others, tests, strict=True) if test.reason]
    return Table(
        name="comparisons",
        title=f"Every model against {reference.name}, on the same children",
        columns=(
            "model",
            "AUC, difference",
            "z",
            "p",
            "p (Holm)",
            f"right: it alone / {reference.name} alone",
            "p (McNemar)",
            "p (Holm)",
        ),
        rows=rows,
        notes=(
            "Difference of AUC with its 95 % interval and p by DeLong's paired test; decisions by McNemar's exact test. "
            f"Holm: corrected for {len(others)} comparisons each.",
            "A p over 0.05 does not say that two models are equal: see the interval.",
            *reasons,
        ),
    )


def estimate_signed(value: float, pair: tuple[float, float] | None) -> str:
    """+0.031 (-0.010 to +0.072)."""
    return signed(value) if pair is None else f"{signed(value)} ({signed(pair[0])} to {signed(pair[1])})"


def write_table2(
    dataset_dir: str | Path,
    predictions: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    *,
    names: str | Sequence[str] | None = None,
    common: bool = False,
    seed: int = 0,
) -> Answer:
    """Write Table 2, the figures of one or more models with intervals, and their comparisons, as CSV and Markdown.

    Args:
        dataset_dir: BIDS folder with participants.tsv.
        predictions: one predictions.csv or several; the others are compared with the first.
        output_dir: folder of table2.csv, table2.md and, with several models, comparisons.csv, comparisons.md.
        names: of the models, in the same order; None: the runs' folders.
        common: leave out children that not every file has a score of.
        seed: of the bootstrap.

    Example:
        python -m scripts table2 --dataset_dir data/cohort \\
            --predictions results/evaluate/predictions.csv results/resnet18/predictions.csv --output_dir results/table2

    Returns:
        The tables.

    Raises:
        InputError: as of `sources.read_runs`.
    """
    outcomes = read_outcomes(Path(str(dataset_dir)) / "participants.tsv", required=True)
    models = [run.model for run in read_runs(predictions, outcomes, names=names, common=common)]
    made = [table for table in (table2(models, seed=seed), comparisons(models)) if table is not None]
    for table in made:
        write_atomically(Path(str(output_dir)) / f"{table.name}.csv", table.to_csv())
        write_atomically(Path(str(output_dir)) / f"{table.name}.md", table.to_markdown() + "\n")
    return Answer("\n\n".join(table.to_markdown() for table in made), {table.name: table.to_dict() for table in made})


def _branch_row(model: Model, name: str, *, resamples: int, seed: int) -> tuple[str, ...]:
    scores = model.branches[name]
    return (
        f"  {model.name}: {NAMES.get(name, name)}",
        estimate(auc(model.labels, scores), auc_interval(model.labels, scores)),
        interval(auc_bca(model.labels, scores, resamples=resamples, seed=seed).interval),
        *([NONE] * (len(FIGURES) - 1)),
        estimate(brier(model.labels, scores), brier_interval(model.labels, scores)),
    )
