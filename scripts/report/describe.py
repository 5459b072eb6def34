"""What Table 1 says of each clinical variable, in numbers: both groups described, compared, and the size of the difference.

Descriptions and standardised mean differences are the tableone package's (Pollard TJ et al., JAMIA Open 2018;1:26), tests
`scripts.report.group_tests`': tableone's own are other than the paper's (Kruskal-Wallis; chi-square with Yates' correction).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from tableone import TableOne

from scripts.errors import InputError
from scripts.outcome import OUTCOMES
from scripts.report.group_tests import NOT_TESTED, GroupTest, cohens_h, compare_counts, compare_values, superiority
from scripts.report.participants import absent, present
from scripts.report.variables import CLINICAL, LABEL, Variable

GROUPS = {outcome: label for label, outcome in reversed(list(enumerate(OUTCOMES)))}  # the order of the columns


@dataclass(frozen=True)
class Summary:
    """A continuous variable in one group. All but n are None where the group has no value, sd also where it has one."""

    n: int
    mean: float | None
    sd: float | None  # of the sample, n - 1
    low: float | None
    high: float | None
    median: float | None
    q1: float | None
    q3: float | None


@dataclass(frozen=True)
class Share:
    """A level in both groups: how many of those whose value is known, and Cohen's h (controlled - uncontrolled)."""

    level: str
    title: str
    count: Mapping[str, int]
    known: Mapping[str, int]
    cohens_h: float | None  # None where a group has no value


@dataclass(frozen=True)
class Described:
    """One variable in both groups.

    Attributes:
        missing: values that are not known, by group.
        test: with its two-sided p.
        summaries: of a continuous variable, by group; else empty.
        superiority: of a continuous variable, P(controlled > uncontrolled) + P(equal) / 2.
        shares: of a categorical variable every level, of a binary one the second; else empty.
        smd: absolute standardised mean difference (Yang and Dalton 2012 for levels); None where it has no value.
    """

    variable: Variable
    missing: Mapping[str, int]
    test: GroupTest
    summaries: Mapping[str, Summary]
    superiority: float | None
    shares: tuple[Share, ...]
    smd: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = asdict(self) | {"summaries": {group: asdict(summary) for group, summary in self.summaries.items()}}
        variable = values.pop("variable")
        return {key: variable[key] for key in ("name", "title", "kind", "unit")} | values


@dataclass(frozen=True)
class CohortDescription:
    """All that Table 1 says.

    Attributes:
        n: children by group.
        without_outcome: children who are in neither group.
        described: the variables, in their order.
        absent: names of those that the cohort has no column of.
    """

    n: Mapping[str, int]
    without_outcome: int
    described: tuple[Described, ...]
    absent: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "n": dict(self.n),
            "without_outcome": self.without_outcome,
            "variables": [described.to_dict() for described in self.described],
            "absent": list(self.absent),
        }


def describe_cohort(participants: pd.DataFrame, variables: Sequence[Variable] = CLINICAL) -> CohortDescription:
    """Describe and compare the children whose seizures are controlled and those whose are not.

    Args:
        participants: of `scripts.report.participants.read_participants`.
        variables: of the table; those without a column are listed as absent.

    Raises:
        InputError: one of the groups has no child, or no variable has a column.
    """
    labels = participants[LABEL]
    groups = {name: participants[(labels == label).fillna(False).to_numpy(bool)] for name, label in GROUPS.items()}
    empty = [name for name, group in groups.items() if group.empty]
    shown = present(participants, variables)
    if empty or not shown:
        found = f"no child is {' or '.join(empty)}" if empty else "it has no column that Table 1 could show"
        raise InputError(
            found,
            expected="children of both outcomes, and clinical variables",
            remedy="Fill in outcome and the clinical columns of participants.tsv: README, the section on the report.",
        )
    tests: dict[str, GroupTest] = {}
    known = [variable for variable in shown if participants.loc[labels.notna(), variable.name].notna().any()]
    one = _tableone(groups, known, tests) if known else None
    return CohortDescription(
        n={name: len(group) for name, group in groups.items()},
        without_outcome=int(labels.isna().sum()),
        described=tuple(_described(variable, groups, one, tests.get(variable.name)) for variable in shown),
        absent=tuple(variable.name for variable in absent(participants, variables)),
    )


def _tableone(
    groups: Mapping[str, pd.DataFrame], variables: Sequence[Variable], tests: dict[str, GroupTest]
) -> TableOne:
    """tableone's description; it calls the tests, whose results are put into `tests` by variable."""
    names = [variable.name for variable in variables]
    categorical = [variable.name for variable in variables if variable.kind != "continuous"]
    data = pd.concat([group[names].assign(outcome=name) for name, group in groups.items()])
    for variable in variables:
        if variable.kind == "binary":
            values = [level.value for level in variable.levels]
            data[variable.name] = [None if math.isnan(x) else values[int(x)] for x in data[variable.name]]
        elif variable.kind == "categorical":
            data[variable.name] = [None if pd.isna(x) else str(x) for x in data[variable.name]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a group without any value has no mean; it is shown as such
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, module="tableone"
        )  # pandas' to tableone, not to us
        return TableOne(
            data,
            columns=names,
            categorical=categorical,
            continuous=[name for name in names if name not in categorical],
            groupby="outcome",
            pval=True,
            htest={variable.name: _tester(variable, tests) for variable in variables},
            smd=True,
            overall=False,
            include_null=False,
        )


def _tester(variable: Variable, tests: dict[str, GroupTest]) -> Callable[..., float]:
    compare = compare_values if variable.kind == "continuous" else _compare_lists

    def test(*groups: Any) -> float:
        result = compare(*groups) if len(groups) == 2 else GroupTest(NOT_TESTED, None, "a group has no value")
        tests[variable.name] = result
        return math.nan if result.p is None else result.p

    return test


def _compare_lists(first: Sequence[int], second: Sequence[int]) -> GroupTest:
    return compare_counts([first, second])


def _described(
    variable: Variable, groups: Mapping[str, pd.DataFrame], one: TableOne | None, test: GroupTest | None
) -> Described:
    values = {name: group[variable.name] for name, group in groups.items()}
    missing = {name: int(column.isna().sum()) for name, column in values.items()}
    if one is None or test is None:
        return Described(variable, missing, GroupTest(NOT_TESTED, None, "no value is known"), {}, None, (), None)
    smd = float(one.smd_table.loc[variable.name].iloc[0])
    size = abs(smd) if math.isfinite(smd) else None
    if variable.kind == "continuous":
        row = one.cont_describe.loc[variable.name]
        summaries = {name: _summary(row, name, int(column.notna().sum())) for name, column in values.items()}
        above = superiority(*(column.to_numpy(np.float64) for column in values.values()))
        return Described(variable, missing, test, summaries, above, (), size)
    counts = one.cat_describe.loc[variable.name]["freq"]
    known = {name: int(column.notna().sum()) for name, column in values.items()}
    shown = variable.levels[1:] if variable.kind == "binary" else variable.levels
    shares = []
    for level in shown:
        count = {name: int(counts[name].get(level.value, 0)) if name in counts else 0 for name in groups}
        h = cohens_h(*(count[name] / known[name] for name in groups)) if all(known.values()) else None
        shares.append(Share(level.value, level.title, count, known, h))
    return Described(variable, missing, test, {}, None, tuple(shares), size)


def _summary(row: pd.Series, group: str, n: int) -> Summary:
    def value(statistic: str) -> float | None:
        number = float(row.get((statistic, group), math.nan))
        return number if math.isfinite(number) else None

    sd = value("std") if n > 1 else None  # tableone has 0 for a single value
    return Summary(n, value("mean"), sd, value("min"), value("max"), value("median"), value("q25"), value("q75"))
