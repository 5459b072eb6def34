"""How a model does in groups of children: infantile spasms, gene, sex, age at MRI. Estimates, and tests of whether they differ.

Decisions are the model's own. What a group's children cannot tell (no controlled child, say) is said in its place; the
others stay right. Children whose value is not known are counted, and are in no test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.report.interaction import (
    Interaction,
    auc_interaction,
    calibration_slope,
    missing_class,
    rate_interaction,
    slope_interaction,
)
from scripts.report.study import Model
from scripts.report.variables import CLINICAL, Variable
from scripts.stats.comparison import holm
from scripts.stats.decisions import decision_metrics, wilson
from scripts.stats.roc import Interval, auc, auc_interval

# Months. To about two years myelination changes the contrast of FLAIR and T2w, and infantile spasms begin; school age from six.
AGE_BANDS = (("< 2 years", 0.0, 24.0), ("2 to < 6 years", 24.0, 72.0), (">= 6 years", 72.0, math.inf))
BANDS: Mapping[str, tuple[tuple[str, float, float], ...]] = {"age_mri_months": AGE_BANDS}
COLUMNS = ("infantile_spasms", "gene", "sex", "age_mri_months")
VARIABLES = tuple(variable for name in COLUMNS for variable in CLINICAL if variable.name == name)
TITLES = {"sex": "Sex"}  # Table 1 has the row "Male"
FEW = 10  # children in a cell (a class within a group): with fewer, intervals say little
METRICS = ("auc", "sensitivity", "specificity", "balanced_accuracy", "slope")
TESTED = ("auc", "sensitivity", "specificity", "slope")
UNKNOWN = "not known"


@dataclass(frozen=True)
class Estimate:
    """A value with its interval, or the reason why there is none."""

    value: float | None
    interval: Interval | None
    reason: str | None = None


@dataclass(frozen=True)
class Subgroup:
    """One level of one variable.

    Attributes:
        variable, level: as they are printed.
        controlled, uncontrolled: children.
        estimates: of `METRICS`; empty for the level "not known".
    """

    variable: str
    level: str
    controlled: int
    uncontrolled: int
    estimates: Mapping[str, Estimate]

    @property
    def n(self) -> int:
        """All children of the group."""
        return self.controlled + self.uncontrolled

    @property
    def few(self) -> bool:
        """A cell holds fewer than `FEW` children."""
        return bool(self.estimates) and min(self.controlled, self.uncontrolled) < FEW


@dataclass(frozen=True)
class SubgroupTest:
    """Whether a metric differs between the levels of a variable; `p_holm` over all tests of the same model."""

    variable: str
    metric: str
    interaction: Interaction
    p_holm: float | None


@dataclass(frozen=True)
class SubgroupAnalysis:
    """One model in all groups.

    Attributes:
        model: its name.
        overall: all children; its variable is "All children".
        subgroups: variable by variable, in the order of their levels.
        tests: variable by variable, `TESTED` of each.
        absent: titles of the variables that the cohort has no column of.
        level: of the intervals.
    """

    model: str
    overall: Subgroup
    subgroups: tuple[Subgroup, ...]
    tests: tuple[SubgroupTest, ...]
    absent: tuple[str, ...]
    level: float

    def of(self, variable: str) -> tuple[Subgroup, ...]:
        """The levels of one variable."""
        return tuple(group for group in self.subgroups if group.variable == variable)

    @property
    def variables(self) -> tuple[str, ...]:
        """Titles of the variables, in their order."""
        return tuple(dict.fromkeys(group.variable for group in self.subgroups))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        tests = [
            {"variable": test.variable, "metric": test.metric, **test.interaction.to_dict(), "p_holm": test.p_holm}
            for test in self.tests
        ]
        groups = [asdict(group) | {"n": group.n} for group in (self.overall, *self.subgroups)]
        return {
            "model": self.model,
            "groups": groups,
            "tests": tests,
            "absent": list(self.absent),
            "level": self.level,
        }


def analyse_subgroups(
    model: Model, participants: pd.DataFrame, *, variables: Sequence[Variable] = VARIABLES, level: float = 0.95
) -> SubgroupAnalysis:
    """One model in every group of children, with tests of AUC, sensitivity, specificity and calibration slope.

    Args:
        model: on the children that it is tested on.
        participants: of `scripts.report.participants.read_participants`.
        variables: categorical or binary ones, or continuous ones of `BANDS`; those without a column are named as absent.
        level: of the intervals.

    Raises:
        InputError: a child is not in `participants`, or twice; a value is no level of its variable; a continuous variable
            without bands.
    """
    subjects = pd.Index(model.subjects)
    rows = participants.index.get_indexer_for(subjects) if participants.index.is_unique else np.array([])
    if len(rows) != len(subjects) or (rows < 0).any():
        raise InputError(
            "the participants do not hold each of the model's children once",
            expected="one row a child",
            remedy="Give the participants.tsv of the cohort that was scored.",
            file=model.file,
        )
    known = participants.iloc[rows]
    groups: dict[str, dict[str, NDArray[np.bool_]]] = {}
    subgroups: list[Subgroup] = []
    for variable in variables:
        if variable.name not in known.columns:
            continue
        title = title_of(variable)
        groups[title] = levels_of(known[variable.name], variable)
        subgroups += [_subgroup(model, title, name, mask, level) for name, mask in groups[title].items()]
        unknown = ~np.logical_or.reduce(list(groups[title].values()))
        if unknown.any():
            y = model.labels[unknown]
            subgroups.append(Subgroup(title, UNKNOWN, int(y.sum()), int((1 - y).sum()), {}))
    found = [(title, *pair) for title, masks in groups.items() for pair in _interactions(model, masks)]
    adjusted = holm([interaction.p for _, _, interaction in found])
    everyone = np.ones(len(subjects), dtype=bool)
    return SubgroupAnalysis(
        model=model.name,
        overall=_subgroup(model, "All children", "", everyone, level),
        subgroups=tuple(subgroups),
        tests=tuple(SubgroupTest(*row, p_holm=p) for row, p in zip(found, adjusted, strict=True)),
        absent=tuple(title_of(variable) for variable in variables if variable.name not in known.columns),
        level=level,
    )


def title_of(variable: Variable) -> str:
    """As a group's heading."""
    return TITLES.get(variable.name, variable.title)


def levels_of(column: pd.Series, variable: Variable) -> dict[str, NDArray[np.bool_]]:
    """Level -> (N,) which children are in it; a value that is not known is in none.

    Raises:
        InputError: a value that is no level, or in no band; a continuous variable without bands.
    """
    missing = column.isna().to_numpy(bool)
    if variable.kind == "continuous":
        if variable.name not in BANDS:
            raise InputError(
                f"{variable.name} is continuous and has no bands",
                expected=f"a categorical variable or one of {', '.join(BANDS)}",
                remedy="Add its bands to scripts/report/subgroups.py, with the reason for them.",
            )
        values = column.to_numpy(np.float64)
        masks = {name: (values >= low) & (values < high) for name, low, high in BANDS[variable.name]}
    else:
        # A binary variable is read as 0 and 1, a categorical one as its levels' values: both spellings are taken.
        text = np.array(["" if pd.isna(value) else _text(value) for value in column])
        masks = {
            level.title: np.isin(text, [level.value, str(at)] if variable.kind == "binary" else [level.value])
            for at, level in enumerate(variable.levels)
        }
    outside = ~np.logical_or.reduce([missing, *masks.values()])
    if outside.any():
        raise InputError(
            f"{variable.name} is {column[outside].iloc[0]}",
            expected=", ".join(masks) + ", or not known",
            remedy=variable.remedy,
            case=str(column.index[outside][0]),
        )
    return masks


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)


def _interactions(model: Model, groups: Mapping[str, NDArray[np.bool_]]) -> list[tuple[str, Interaction]]:
    y, s, d = model.labels, model.scores, model.decisions
    found = (
        auc_interaction(y, s, groups),
        rate_interaction(y, d, groups, of=1),
        rate_interaction(y, d, groups, of=0),
        slope_interaction(y, s, groups),
    )
    return list(zip(TESTED, found, strict=True))


def _subgroup(model: Model, variable: str, name: str, mask: NDArray[np.bool_], level: float) -> Subgroup:
    y, s, d = model.labels[mask], model.scores[mask], model.decisions[mask]
    m, n = int(y.sum()), int((1 - y).sum())
    reason = missing_class(y)
    both = Estimate(None, None, reason)
    estimates = {"auc": both, "balanced_accuracy": both, "slope": both}
    for metric, right, size, missing in (
        ("sensitivity", int((d[y == 1] == 1).sum()), m, "no controlled child"),
        ("specificity", int((d[y == 0] == 0).sum()), n, "no uncontrolled child"),
    ):
        there = Estimate(right / size, wilson(right, size, level=level)) if size else Estimate(None, None, missing)
        estimates[metric] = there
    if reason is None:
        decided = decision_metrics(y, d, level=level)
        slope = calibration_slope(y, s, level=level)
        estimates |= {
            "auc": Estimate(auc(y, s), auc_interval(y, s, level=level)),
            "balanced_accuracy": Estimate(decided.balanced_accuracy, decided.intervals["balanced_accuracy"]),
            "slope": Estimate(None, None, slope) if isinstance(slope, str) else Estimate(*slope),
        }
    return Subgroup(variable, name, m, n, {metric: estimates[metric] for metric in METRICS})
