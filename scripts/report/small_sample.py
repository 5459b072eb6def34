"""The report's section on small samples: what other draws, searches and sizes would have given, in tables, figures and words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scripts.pictures import NAMES
from scripts.report.cells import NONE, estimate, interval, number, signed
from scripts.report.contradictions import fraction
from scripts.report.cross_validation import cross_validation_table
from scripts.report.document import Block, Section, Table, Text
from scripts.report.sample_worth import (
    HALF_WIDTH,
    PAPER,
    PAPER_BASELINE,
    SampleWorth,
    assess_sample,
    paper_value,
)
from scripts.report.small_sample_figures import redrawn_picture, width_picture
from scripts.report.study import Model
from scripts.stats.resampling import METRICS, TEST, VALIDATION, Redrawn, spread
from scripts.stats.roc import Interval

TITLES = {
    "auc": "AUC",
    "acc": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
}
_TEST = f"{sum(TEST)} children ({TEST[0]} controlled, {TEST[1]} uncontrolled)"


def small_sample_section(models: Sequence[Model], *, seed: int = 0) -> Section:
    """What the first model's figures are worth with so few children; a second model gives the correlation of two scores.

    Args:
        models: on the same children, on whom no network was trained.
        seed: of all draws.

    Raises:
        InputError: as of `assess_sample`.
    """
    found = assess_sample(models[0], other=models[1] if len(models) > 1 else None, seed=seed)
    blocks: list[Block] = [Text(text) for text in findings(found)]
    blocks.append(search_table(found))
    if found.redrawn is not None:
        blocks += [redrawn_table(found), redrawn_picture(found)]
    blocks += [width_table(found), width_picture(found), power_table(found)]
    folds = cross_validation_table(models)
    if folds is not None:
        blocks.append(folds)
    return Section("What a small sample is worth", blocks)


def search_table(found: SampleWorth, *, name: str = "small_sample_search") -> Table:
    """Apparent values of weights and threshold, Harrell's correction, and nested cross-validation."""
    nested, rows = found.nested, []
    for metric in METRICS:
        values = [NONE, NONE]
        if nested is not None:
            values = [_middle(nested.pooled[metric]), _middle(nested.mean[metric])]
        rows.append(
            (
                TITLES[metric],
                number(found.optimism.apparent[metric]),
                signed(float(found.optimism.optimism[metric].mean())),
                number(found.optimism.corrected[metric]),
                *values,
            )
        )
    folds = "k-fold" if nested is None else f"{nested.folds}-fold, {nested.repeats} times"
    notes = [
        f"{_searched(found)} Apparent: on the children they were found on. Optimism: Harrell's bootstrap, "
        f"{found.optimism.draws} samples within the classes. Nested ({folds}): found on each fold's training part, used on its "
        "held-out part; mean and the middle 95 % of the repeats, which say how much the draw of the folds matters and are "
        "no confidence interval.",
        "The networks are not trained again: their scores must be of children whom they were not trained on.",
    ]
    if "nested" in found.reasons:
        notes.append(f"No nested estimate: {found.reasons['nested']}.")
    columns = ("", "apparent", "optimism", "corrected", "nested, pooled", "nested, mean of folds")
    title = f"Found and tested on the same children, or not: {found.model}"
    return Table(name, title, columns, tuple(rows), tuple(notes))


def redrawn_table(found: SampleWorth, *, name: str = "small_sample_draws") -> Table:
    """Test sets of the paper's size, drawn anew: middle 95 %, extremes, and the share of draws at or above the paper's value."""
    rows = []
    for drawn, title in ((found.redrawn, "weights and threshold of the model"), (found.searched, _validated())):
        if drawn is None:
            continue
        rows.append((title, *[""] * 5))
        for metric in METRICS:
            values, printed = drawn.values[metric], paper_value(metric)
            rows.append(
                (
                    f"  {TITLES[metric]}",
                    number(float(values.mean())),
                    interval(_ends(drawn, metric)),
                    interval((float(values.min()), float(values.max()))),
                    number(printed),
                    f"{100 * drawn.share_from(metric, printed):.1f} %",
                )
            )
    drawn = found.redrawn or found.searched
    notes = [
        f"{drawn.draws if drawn else 0} test sets of {_TEST}, drawn without replacement from {found.controlled} controlled and "
        f"{found.uncontrolled} uncontrolled children. New children would vary more than these draws.",
        "The paper's values as printed, its row eTSC-Net; a share counts values that would be printed as the paper's or higher."
        + _impossible(),
    ]
    if "searched" in found.reasons:
        notes.append(f"{_validated()}: not drawn, {found.reasons['searched']}.")
    columns = ("", "mean", "middle 95 %", "least to most", "paper", "at or above")
    return Table(name, f"Other draws of {sum(TEST)} test children: {found.model}", columns, tuple(rows), tuple(notes))


def width_table(found: SampleWorth, *, name: str = "small_sample_width") -> Table:
    """Intervals by number of test children."""
    rows = []
    for width in found.widths:
        rows.append(
            (
                str(width.n),
                f"{width.controlled} / {width.uncontrolled}",
                *(_with_half(pair) for pair in (width.auc, width.paper_auc, width.sensitivity, width.specificity)),
            )
        )
    notes = [
        f"95 % intervals and, in brackets, half their width. AUC {found.area:.3f}: DeLong's components of this model's "
        f"children on the logit scale. AUC {PAPER.auc:.3f}: Hanley and McNeil's variance, logit scale. Sensitivity and "
        "specificity: Wilson at the model's values, to the nearest whole number of children.",
        needed_text(found),
    ]
    if "widths" in found.reasons:
        notes.append(f"No interval of the observed AUC: {found.reasons['widths']}.")
    columns = (
        *("test children", "controlled / uncontrolled", f"AUC {found.area:.3f}", f"AUC {PAPER.auc:.3f} (paper)"),
        *("sensitivity", "specificity"),
    )
    return Table(name, "How wide an interval is", columns, tuple(rows), tuple(notes))


def power_table(found: SampleWorth, *, name: str = "small_sample_power") -> Table:
    """Power of the paired DeLong test for the paper's two AUCs, and its false alarms."""
    rows = [
        (
            str(power.controlled + power.uncontrolled),
            f"{power.controlled} / {power.uncontrolled}",
            f"{100 * power.power:.1f} %",
            f"{100 * power.false_alarms:.1f} %",
        )
        for power in found.power
    ]
    first = found.power[0]
    seen = (
        f"as seen between {found.model} and {found.correlation_from}"
        if found.correlation_from is not None
        else "assumed" + (f": {found.reasons['correlation']}" if "correlation" in found.reasons else "")
    )
    notes = (
        f"Simulated from the binormal model, {first.draws} test sets each; correlation of the two models' scores within a class "
        f"{first.correlation:.2f}, {seen}. No difference: both models have an AUC of {PAPER.auc:.3f}.",
        f"For a power of 80 % about {found.power_needed} test children are needed (normal approximation).",
    )
    columns = (
        *("test children", "controlled / uncontrolled", f"{PAPER.auc:.3f} against {PAPER_BASELINE.auc:.3f} is found"),
        "no difference, yet p < 0.05",
    )
    title = f"How often the paired DeLong test finds the paper's difference (p < {first.alpha:g})"
    return Table(name, title, columns, tuple(rows), notes)


def findings(found: SampleWorth) -> list[str]:
    """What follows, one paragraph a question."""
    return [_on_searches(found), _on_draws(found), _on_sizes(found)]


def _on_searches(found: SampleWorth) -> str:
    apparent, corrected = found.optimism.apparent, found.optimism.corrected
    words = (
        f"{_searched(found)} On the children they are found on they reach an AUC of {apparent['auc']:.3f} and a balanced "
        f"accuracy of {apparent['balanced_accuracy']:.3f}; corrected for optimism by the bootstrap, {corrected['auc']:.3f} "
        f"and {corrected['balanced_accuracy']:.3f}"
    )
    if found.nested is not None:
        area, balanced = (float(found.nested.mean[metric].mean()) for metric in ("auc", "balanced_accuracy"))
        words += f"; found inside each fold and used on the children held out, {area:.3f} and {balanced:.3f}"
    return words + "."


def _on_draws(found: SampleWorth) -> str:
    drawn = found.redrawn
    if drawn is None:
        return f"Test sets of {_TEST} cannot be drawn anew: {found.reasons['redrawn']}."
    words = (
        f"A test set of {_TEST} could have been another one. Over {drawn.draws} draws from the same {found.n} children the "
        f"AUC of the same model is {interval(_ends(drawn, 'auc'))} (middle 95 %; all children {found.area:.3f}), its accuracy "
        f"{interval(_ends(drawn, 'acc'))}. {_share(drawn, 'auc')} of the draws give the paper's AUC of {PAPER.auc:.3f} or "
        f"more, {_share(drawn, 'acc')} its accuracy of {PAPER.acc:.3f} or more"
    )
    if found.searched is not None:
        words += (
            f"; with weights and threshold found on {sum(VALIDATION)} validation children, {_share(found.searched, 'auc')} "
            f"and {_share(found.searched, 'acc')}"
        )
    return words + "."


def _on_sizes(found: SampleWorth) -> str:
    least, power = found.widths[0], found.power[0].power
    return (
        f"With {least.n} test children an AUC of {PAPER.auc:.3f} has an interval of {interval(least.paper_auc)}. "
        f"{needed_text(found)} A difference like the paper's, {PAPER.auc:.3f} against {PAPER_BASELINE.auc:.3f}, would be found "
        f"by the paired DeLong test in {100 * power:.0f} % of studies with {least.n} test children."
    )


def needed_text(found: SampleWorth) -> str:
    """How many test children an interval of +-0.05 needs."""
    delong, formula, paper = found.needed
    parts = [f"for an AUC of {PAPER.auc:.3f} {_children(paper)} (Hanley and McNeil)"]
    if formula is not None:
        own = f"for {found.area:.3f} {_children(formula)}"
        parts.append(own if delong is None else f"{own}, or {_children(delong)} by DeLong's components of these")
    return f"An interval of the AUC of ±{HALF_WIDTH:g} needs " + "; ".join(parts) + "."


def _impossible() -> str:
    """The paper's proportions that test children of its number cannot give, so that only a higher value reaches them."""
    sizes = {"acc": sum(TEST), "sensitivity": TEST[0], "specificity": TEST[1]}
    wrong = [
        f"{TITLES[metric]} {paper_value(metric):.3f} is no fraction of {size}"
        for metric, size in sizes.items()
        if fraction(paper_value(metric), size) is None
    ]
    said = "; ".join(wrong)
    return f" {said[0].upper()}{said[1:]}: only a higher value reaches it." if wrong else ""


def _children(n: int | None) -> str:
    return "more than 100,000 test children" if n is None else f"{n} test children"


def _searched(found: SampleWorth) -> str:
    if len(found.modalities) > 1:
        names = ", ".join(NAMES.get(name, name) for name in found.modalities)
        return f"Weights ({names}) and threshold are found from the scores."
    return "The threshold is found from the scores."


def _validated() -> str:
    return f"weights and threshold found on {sum(VALIDATION)} validation children ({VALIDATION[0]} / {VALIDATION[1]})"


def _ends(drawn: Redrawn, metric: str) -> Interval:
    middle = spread(drawn.values[metric])
    return middle["low"], middle["high"]


def _share(drawn: Redrawn, metric: str) -> str:
    return f"{100 * drawn.share_from(metric, paper_value(metric)):.0f} %"


def _middle(values: NDArray[np.float64]) -> str:
    middle = spread(values)
    return estimate(middle["mean"], (middle["low"], middle["high"]))


def _with_half(pair: Interval | None) -> str:
    return NONE if pair is None else f"{interval(pair)} ({(pair[1] - pair[0]) / 2:.3f})"
