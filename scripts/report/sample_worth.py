"""What a small sample does to a model's figures: computed here, said in `scripts.report.small_sample`.

Four questions. Do weights and threshold that are found on the children who are tested flatter the model (nested
cross-validation and Harrell's bootstrap against the apparent values)? What would another draw of a test set of the paper's
size have given? How wide is an interval with so many test children? How often would a difference of the paper's size be found?
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from scripts.errors import InputError
from scripts.report.contradictions import TABLE2, PaperRow
from scripts.report.interaction import missing_class
from scripts.report.study import Model
from scripts.stats.decisions import wilson
from scripts.stats.precision import (
    Power,
    Variance,
    children_for_power,
    children_needed,
    delong_components,
    hanley_mcneil,
    interval_of,
    paired_power,
    split_of,
    within_class_correlation,
)
from scripts.stats.resampling import (
    TEST,
    Children,
    Nested,
    Optimism,
    Redrawn,
    in_order,
    nested_cross_validation,
    optimism,
    redraw_splits,
    redraw_test_sets,
)
from scripts.stats.roc import Interval, auc

PAPER = next(row for row in TABLE2 if (row.input, row.model) == ("both", "eTSC-Net"))
PAPER_BASELINE = next(row for row in TABLE2 if (row.input, row.model) == ("both", "ResNet3D"))
SIZES = (19, 50, 95, 200, 500)  # test children: the paper's test part, half and all of its cohort, and beyond
POWER_SIZES = (19, 50, 95, 200)
SHARE = TEST[0] / sum(TEST)  # controlled among the test children, as in the paper
HALF_WIDTH = 0.05
CORRELATION = 0.5  # of two models' scores within a class, where it is not known


@dataclass(frozen=True)
class Width:
    """Intervals with n test children.

    Attributes:
        controlled, uncontrolled: children.
        auc: interval of the observed AUC with these children's DeLong components; None where there is no variance.
        paper_auc: interval of the paper's AUC with Hanley and McNeil's variance.
        sensitivity, specificity: Wilson's interval of the nearest proportion that such a number of children can give.
    """

    controlled: int
    uncontrolled: int
    auc: Interval | None
    paper_auc: Interval
    sensitivity: Interval
    specificity: Interval

    @property
    def n(self) -> int:
        """All test children."""
        return self.controlled + self.uncontrolled


@dataclass(frozen=True)
class SampleWorth:
    """All answers for one model; what there is none of says why in `reasons`.

    Attributes:
        model: its name.
        modalities: of its branches; none where only its threshold can be found anew.
        controlled, uncontrolled: children that it is tested on.
        area, accuracy: observed on all of them.
        nested, optimism: of weights and threshold.
        redrawn: test sets under the model's own weights and threshold.
        searched: test sets with weights and threshold found on a drawn validation set.
        widths: by number of test children.
        needed: test children for an interval of the AUC of +-`HALF_WIDTH`: by DeLong's components of these children, by
            Hanley and McNeil for the observed AUC, and for the paper's; None where there is no such number.
        power: of the paired DeLong test for the paper's two AUCs, by number of test children.
        correlation_from: the model that the correlation was seen with; None where it is `CORRELATION`.
        power_needed: test children for a power of 80 %.
        reasons: part -> why there is none.
    """

    model: str
    modalities: tuple[str, ...]
    controlled: int
    uncontrolled: int
    area: float
    accuracy: float
    nested: Nested | None
    optimism: Optimism
    redrawn: Redrawn | None
    searched: Redrawn | None
    widths: tuple[Width, ...]
    needed: tuple[int | None, int | None, int | None]
    power: tuple[Power, ...]
    correlation_from: str | None
    power_needed: int | None
    reasons: dict[str, str]

    @property
    def n(self) -> int:
        """Children that it is tested on."""
        return self.controlled + self.uncontrolled

    def to_dict(self) -> dict[str, Any]:
        """For JSON: distributions by their mean and middle 95 %."""
        return {
            "model": self.model,
            "modalities": list(self.modalities),
            "controlled": self.controlled,
            "uncontrolled": self.uncontrolled,
            "auc": self.area,
            "acc": self.accuracy,
            "nested": None if self.nested is None else self.nested.to_dict(),
            "optimism": self.optimism.to_dict(),
            "redrawn": None if self.redrawn is None else self.redrawn.to_dict(),
            "searched": None if self.searched is None else self.searched.to_dict(),
            "widths": [
                {
                    "n": width.n,
                    "auc": None if width.auc is None else list(width.auc),
                    "paper_auc": list(width.paper_auc),
                    "sensitivity": list(width.sensitivity),
                    "specificity": list(width.specificity),
                }
                for width in self.widths
            ],
            "needed": dict(zip(("delong", "hanley_mcneil", "paper"), self.needed, strict=True)),
            "power": [power.to_dict() for power in self.power],
            "power_needed": self.power_needed,
            "correlation_from": self.correlation_from,
            "reasons": self.reasons,
        }


def assess_sample(
    model: Model, *, other: Model | None = None, repeats: int = 200, draws: int = 2000, seed: int = 0
) -> SampleWorth:
    """All of it for one model, whose networks must not have been trained on these children.

    Args:
        model: on the children that it is tested on.
        other: another model of the same children, from which the correlation of two models' scores is taken.
        repeats: of the cross-validation; the bootstrap has five times as many samples.
        draws: test sets.
        seed: of all draws.

    Raises:
        InputError: one class alone.
    """
    reason = missing_class(model.labels)
    if reason is not None:
        raise InputError(
            f"{model.name} is tested on {reason}",
            expected="both classes",
            remedy="Give predictions of children of both outcomes.",
            file=model.file,
        )
    children, m = children_of(model), int(model.labels.sum())
    n, area, reasons = model.labels.size - m, auc(model.labels, model.scores), dict[str, str]()
    nested = redrawn = searched = None
    try:
        nested = nested_cross_validation(children, repeats=repeats, seed=seed)
    except InputError as error:
        reasons["nested"] = error.found
    try:
        redrawn = redraw_test_sets(children, draws=draws, seed=seed)
    except InputError as error:
        reasons["redrawn"] = error.found
    try:
        searched = redraw_splits(children, draws=draws, seed=seed)
    except InputError as error:
        reasons["searched"] = error.found
    observed = _observed(model, area, reasons)
    of_area = hanley_mcneil(area) if 0 < area < 1 else None
    correlation = within_class_correlation(model.labels, model.scores, _scores_of(other, model)) if other else None
    if other is not None and correlation is None:
        reasons["correlation"] = "a class has fewer than 3 children or equal scores"
    pair = (PAPER.auc, PAPER_BASELINE.auc)
    assumed = CORRELATION if correlation is None else min(max(correlation, -0.99), 0.99)
    return SampleWorth(
        model=model.name,
        modalities=tuple(model.branches),
        controlled=m,
        uncontrolled=n,
        area=area,
        accuracy=float((model.decisions == model.labels).mean()),
        nested=nested,
        optimism=optimism(children, draws=5 * repeats, seed=seed),
        redrawn=redrawn,
        searched=searched,
        widths=tuple(_width(size, model, area, observed) for size in SIZES),
        needed=(
            None if observed is None else children_needed(area, observed, half_width=HALF_WIDTH, share=SHARE),
            None if of_area is None else children_needed(area, of_area, half_width=HALF_WIDTH, share=SHARE),
            children_needed(PAPER.auc, hanley_mcneil(PAPER.auc), half_width=HALF_WIDTH, share=SHARE),
        ),
        power=tuple(
            paired_power(pair, split_of(size, SHARE), correlation=assumed, draws=draws, seed=seed)
            for size in POWER_SIZES
        ),
        correlation_from=None if correlation is None or other is None else other.name,
        power_needed=children_for_power(pair, share=SHARE, correlation=assumed),
        reasons=reasons,
    )


def children_of(model: Model) -> Children:
    """The model's children for `scripts.stats.resampling`; a model without branches has its score as the only one."""
    branches = np.stack([*model.branches.values()] or [model.scores], axis=1)  # (N, M)
    return in_order(model.subjects, model.labels, branches=branches, fused=model.scores, decisions=model.decisions)


def paper_value(metric: str, row: PaperRow = PAPER) -> float:
    """What the paper prints of one of `resampling.METRICS`."""
    return float(getattr(row, metric))


def _scores_of(other: Model, model: Model) -> Any:
    """Scores in the model's order of children; the very same children must be there."""
    if set(other.subjects) != set(model.subjects):
        raise InputError(
            f"{other.name} and {model.name} are not about the same children",
            expected="a score of every child from both",
            remedy="Give models that were read together.",
        )
    return other.of(model.subjects).scores


def _observed(model: Model, area: float, reasons: dict[str, str]) -> Variance | None:
    """DeLong's components of these children, where they say anything."""
    try:
        components = delong_components(model.labels, model.scores)
    except InputError as error:
        reasons["widths"] = error.found
        return None
    if not 0 < area < 1 or components(1, 1) == 0:
        reasons["widths"] = "all scores are equal" if np.ptp(model.scores) == 0 else "the classes are separated"
        return None
    return components


def _width(size: int, model: Model, area: float, observed: Variance | None) -> Width:
    controlled, uncontrolled = split_of(size, SHARE)
    sensitivity = float(model.decisions[model.labels == 1].mean())
    specificity = 1 - float(model.decisions[model.labels == 0].mean())
    return Width(
        controlled=controlled,
        uncontrolled=uncontrolled,
        auc=None if observed is None else interval_of(area, observed(controlled, uncontrolled)),
        paper_auc=interval_of(PAPER.auc, hanley_mcneil(PAPER.auc)(controlled, uncontrolled)),
        sensitivity=wilson(round(sensitivity * controlled), controlled),
        specificity=wilson(round(specificity * uncontrolled), uncontrolled),
    )
