"""The report's section on groups of children: a table a model, the tests, a forest plot, and what follows from them in words."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from scripts.report.cells import NONE, estimate, number, p_value
from scripts.report.document import Block, Section, Table, Text
from scripts.report.forest import forest_picture
from scripts.report.study import Model
from scripts.report.subgroups import (
    FEW,
    METRICS,
    UNKNOWN,
    VARIABLES,
    Estimate,
    Subgroup,
    SubgroupAnalysis,
    SubgroupTest,
    analyse_subgroups,
)
from scripts.report.variables import Variable
from scripts.stats.roc import normal_quantile

TITLES = {
    "auc": "AUC",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "balanced_accuracy": "balanced accuracy",
    "slope": "calibration slope",
}
FEW_MARK = "†"


def subgroup_section(
    models: Sequence[Model], participants: pd.DataFrame, *, variables: Sequence[Variable] = VARIABLES
) -> Section:
    """Groups of children, for each model; the first is the one that the words and the forest plot begin with.

    Args:
        models: on the same children.
        participants: of `scripts.report.participants.read_participants`.
        variables: as of `analyse_subgroups`.

    Raises:
        InputError: as of `analyse_subgroups`.
    """
    analyses = [analyse_subgroups(model, participants, variables=variables) for model in models]
    blocks: list[Block] = [Text(findings(analyses[0]))]
    blocks += [Text(text, warning=True) for text in warnings_of(analyses[0])]
    if analyses[0].subgroups:
        names = ["subgroups", *(f"subgroups{number}" for number in range(2, len(analyses) + 1))]
        tables = [subgroup_table(analysis, name=name) for analysis, name in zip(analyses, names, strict=True)]
        blocks += [tables[0], forest_picture(analyses), interaction_table(analyses[0]), *tables[1:]]
    return Section("Groups of children", blocks)


def subgroup_table(analysis: SubgroupAnalysis, *, name: str = "subgroups") -> Table:
    """Every metric in every group; in a variable's own row the p of its tests, unadjusted and by Holm's method."""
    rows = [_row("All children", analysis.overall)]
    for variable in analysis.variables:
        p = {
            test.metric: f"p {p_value(test.interaction.p)} (Holm {p_value(test.p_holm)})"
            for test in analysis.tests
            if test.variable == variable and test.interaction.p is not None
        }
        known = [group for group in analysis.of(variable) if group.level != UNKNOWN]
        n, m = sum(group.n for group in known), sum(group.controlled for group in known)
        rows.append((variable, str(n), f"{m} / {n - m}", *(p.get(metric, "") for metric in METRICS)))
        rows += [_row(f"  {group.level}{FEW_MARK if group.few else ''}", group) for group in analysis.of(variable)]
    notes = [
        f"Intervals at {100 * analysis.level:g} %: AUC DeLong on the logit scale, proportions Wilson, balanced accuracy from "
        "these (Zou and Donner), slope profile likelihood. Decisions are those that the model made.",
        "p of interaction, two-sided: AUC Cochran's Q of the logits with DeLong's variances, sensitivity and specificity "
        "Fisher's exact test, slope a likelihood ratio; Holm over all tests of this table.",
    ]
    left_out = [
        f"{TITLES[test.metric]} by {_lower(test.variable)} ({_left_out(test)})"
        for test in analysis.tests
        if test.interaction.left_out
    ]
    if left_out:
        notes.append(f"Levels that a test could not use: {', '.join(left_out)}.")
    if any(group.few for group in analysis.subgroups):
        notes.append(f"{FEW_MARK} Fewer than {FEW} controlled or uncontrolled children.")
    if any(group.level == UNKNOWN for group in analysis.subgroups):
        notes.append(f'"{UNKNOWN}": counted, but in no test.')
    if analysis.absent:
        notes.append(f"participants.tsv has no column of: {', '.join(analysis.absent)}.")
    columns = ("Group", "n", "controlled / uncontrolled", *(TITLES[metric] for metric in METRICS))
    return Table(name, f"Groups of children: {analysis.model}", columns, tuple(rows), tuple(notes))


def interaction_table(analysis: SubgroupAnalysis, *, name: str = "subgroup_tests") -> Table:
    """The tests of one model: which levels were compared, the statistic, and what could not be in the test and why."""
    rows = []
    for test in analysis.tests:
        found = test.interaction
        statistic = NONE
        if found.statistic is not None:
            kind = "z" if found.df is None else f"chi-square ({found.df})"
            statistic = f"{kind} {number(found.statistic, 2)}"
        rows.append(
            (
                test.variable,
                TITLES[test.metric],
                ", ".join(found.tested) if found.p is not None else "none",
                statistic,
                p_value(found.p),
                p_value(test.p_holm),
                _left_out(test) or NONE,
            )
        )
    columns = ("Variable", "Metric", "Levels tested", "Statistic", "p", "p (Holm)", "Not in the test")
    notes = (
        "AUC: difference of the logit AUCs with DeLong's variances (two levels z, more Cochran's Q). Sensitivity, specificity: "
        "Fisher's exact test of the decisions, which has no statistic. Calibration slope: likelihood ratio of score x level in a "
        "logistic regression with an intercept a level.",
        f"Holm's method over the {sum(test.p_holm is not None for test in analysis.tests)} tests that could be made.",
    )
    return Table(name, f"Do groups differ? Tests of interaction: {analysis.model}", columns, tuple(rows), notes)


def _left_out(test: SubgroupTest) -> str:
    return "; ".join(f"{level}: {reason}" for level, reason in test.interaction.left_out.items())


def findings(analysis: SubgroupAnalysis) -> str:
    """What the tests of one model say, and what they could have seen."""
    if not analysis.subgroups:
        return f"participants.tsv has no column of {', '.join(analysis.absent)}: there are no groups to compare."
    made = [test for test in analysis.tests if test.p_holm is not None]
    if not made:
        return f"{analysis.model}: no test of interaction could be made; the table says why."
    found = [test for test in made if test.p_holm is not None and test.p_holm < 0.05]
    if found:
        listed = "; ".join(
            f"{TITLES[test.metric]} by {_lower(test.variable)} (p {p_value(test.interaction.p)}, Holm {p_value(test.p_holm)})"
            for test in found
        )
        words = f"{analysis.model} differs between groups in {len(found)} of {len(made)} tests after Holm's correction: {listed}."
    else:
        least = min(test.p_holm for test in made if test.p_holm is not None)
        words = (
            f"{analysis.model}: none of {len(made)} tests finds a difference between groups after Holm's correction "
            f"(smallest adjusted p {p_value(least)})."
        )
    seen = [_detectable(analysis, variable) for variable in analysis.variables]
    shown = [text for text in seen if text]
    if shown:
        words += (
            " That is not the same as no difference: with a power of 80 % and unadjusted p < 0.05 a difference in AUC would "
            f"have been seen if it were about {', '.join(shown)} or larger."
        )
    return words


def warnings_of(analysis: SubgroupAnalysis) -> list[str]:
    """The groups that are too small to say much; empty where there are none."""
    few = [group for group in analysis.subgroups if group.few]
    if not few:
        return []
    listed = "; ".join(
        f"{group.variable} {group.level} ({group.controlled} controlled, {group.uncontrolled} uncontrolled)"
        for group in few
    )
    return [
        f"Fewer than {FEW} children of a class in {len(few)} groups: {listed}. Their values describe these children alone."
    ]


def _detectable(analysis: SubgroupAnalysis, variable: str) -> str | None:
    """Of a variable with two levels: the difference in AUC that is (1.96 + 0.84) standard errors wide."""
    tests = [test for test in analysis.tests if test.variable == variable and test.metric == "auc"]
    groups = [group for group in analysis.of(variable) if group.level in tests[0].interaction.tested]
    if len(groups) != 2:
        return None
    quantile, total = normal_quantile(analysis.level), 0.0
    for group in groups:
        interval = group.estimates["auc"].interval
        if interval is None:
            return None
        total += ((interval[1] - interval[0]) / (2 * quantile)) ** 2
    return f"{(normal_quantile(0.95) + normal_quantile(0.6)) * total**0.5:.2f} ({_lower(variable)})"


def _row(title: str, group: Subgroup) -> tuple[str, ...]:
    cells = [_cell(group.estimates[metric], 2 if metric == "slope" else 3) for metric in METRICS if group.estimates]
    cells = cells or [NONE] * len(METRICS)
    return (title, str(group.n), f"{group.controlled} / {group.uncontrolled}", *cells)


def _cell(value: Estimate, digits: int) -> str:
    return (
        f"not estimable: {value.reason}" if value.reason is not None else estimate(value.value, value.interval, digits)
    )


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]
