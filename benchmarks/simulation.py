"""Whether the intervals cover and the tests keep their level: simulated cohorts whose truth is known.

.venv/bin/python -m benchmarks.simulation [--repetitions 1000] > benchmarks/records/STATISTICS.md    (some minutes on a core)

Scores are binormal: uncontrolled N(0, 1), controlled N(shift, 1), AUC = Phi(shift / sqrt 2). Cohorts have the class sizes
of the paper's test set, of its whole cohort, and of 300. What is a function of counts alone is not simulated but summed
over all counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from scripts.command_line.commands import run_function
from scripts.report.document import Table
from scripts.stats.bootstrap import auc_bca, bca, weighted_auc_difference, weighted_mean
from scripts.stats.comparison import delong_test, mcnemar
from scripts.stats.decisions import mean_of_two, wilson
from scripts.stats.metrics import brier_interval
from scripts.stats.roc import auc, auc_interval, delong_variance
from scripts.stats.roc_band import roc_band

SIZES = ((8, 11), (39, 56), (123, 177))  # controlled, uncontrolled
AUCS = (0.5, 0.7, 0.85, 0.95)
RESAMPLES = 1000
Z = 1.959963984540054
Inside = tuple[bool, float]  # does the interval hold the truth, and how wide is it


def simulate(*, repetitions: int = 1000) -> str:
    """Simulate cohorts whose truth is known, and print how often intervals cover and tests reject, as Markdown.

    Args:
        repetitions: cohorts a row.

    Example:
        python -m benchmarks.simulation --repetitions 1000
    """
    tables = [
        auc_table(repetitions),
        test_table(repetitions),
        proportion_table(),
        brier_table(repetitions),
        band_table(repetitions),
    ]
    error = 100 * math.sqrt(0.95 * 0.05 / repetitions)
    head = [
        "# Coverage of the intervals, level of the tests",
        "",
        f"The output of `.venv/bin/python -m benchmarks.simulation --repetitions {repetitions}`: {repetitions} cohorts a row,",
        f"{RESAMPLES} resamples a bootstrap, seeded. Intervals are at 95 %, tests at 5 %; one standard error of these figures is",
        f"{error:.2f} %. All numbers are percent but widths, AUC, Brier score, sensitivity, specificity and rho.",
    ]
    return "\n".join([*head, *(f"\n## {table.to_markdown()}" for table in tables)])


def cohorts(m: int, n: int, area: float, repetitions: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Binormal cohorts of this AUC."""
    generator = np.random.default_rng((m, n, round(1000 * area)))
    labels, shift = np.repeat([1, 0], [m, n]), math.sqrt(2) * stats.norm.ppf(area)
    for _ in range(repetitions):
        yield labels, generator.normal(shift * labels)


def auc_table(repetitions: int) -> Table:
    """Coverage of the AUC by each interval."""
    rows = []
    for m, n in SIZES:
        for truth in AUCS:
            found: dict[str, list[Inside]] = {name: [] for name in ("logit", "plain", "bca", "convention")}
            for labels, scores in cohorts(m, n, truth, repetitions):
                area, error = auc(labels, scores), math.sqrt(delong_variance(labels, scores))
                ours = auc_interval(labels, scores)
                found["logit"].append(inside(ours, truth))
                found["plain"].append(inside((max(0.0, area - Z * error), min(1.0, area + Z * error)), truth))
                resampled = auc_bca(labels, scores, resamples=RESAMPLES).interval
                if resampled is None:
                    found["convention"].append(inside(ours, truth))
                else:
                    found["bca"].append(inside(resampled, truth))
            separated = 100 * len(found["convention"]) / repetitions
            cells = [coverage(found[name]) for name in ("logit", "plain", "bca")]
            widths = [f"{np.mean([w for _, w in found[name]]):.2f}" for name in ("logit", "plain", "bca")]
            cells += [f"{separated:.1f}", coverage(found["convention"])]
            rows.append((f"{m} / {n}", f"{truth:g}", *cells, " / ".join(widths)))
    return Table(
        name="auc_coverage",
        title="AUC",
        columns=(
            "controlled / uncontrolled",
            "AUC",
            "DeLong, logit (ours)",
            "DeLong, plain",
            "BCa where given",
            "separated",
            "convention there",
            "width logit / plain / BCa",
        ),
        rows=tuple(rows),
        notes=(
            "ours: `auc_interval`, in all cohorts: DeLong on the logit scale, and Clopper and Pearson's convention where the "
            "scores separate the classes.",
            "plain: A ± 1.96 SE within [0, 1], of width 0 for separated cohorts.",
            "separated: share of cohorts with AUC 0 or 1; BCa gives none there. The last coverage is that of the convention in "
            "these alone: it is a statement on cohorts that happen to be separated, not on all.",
        ),
    )


def test_table(repetitions: int) -> Table:
    """How often the paired tests reject although both models are equally good."""
    rows = []
    for m, n in SIZES:
        labels = np.repeat([1, 0], [m, n])
        for area in (0.7, 0.85, 0.95):
            for rho in (0.3, 0.9):
                generator = np.random.default_rng((m, n, round(1000 * area), round(10 * rho)))
                shift = math.sqrt(2) * stats.norm.ppf(area)
                delong, exact, resampled = [], [], []
                for _ in range(repetitions):
                    common, own = generator.normal(size=m + n), generator.normal(size=(2, m + n))
                    a, b = shift * labels + math.sqrt(rho) * common + math.sqrt(1 - rho) * own
                    delong.append(delong_test(labels, a, b).p)
                    exact.append(mcnemar(labels, a >= shift / 2, b >= shift / 2).p)
                    if m == SIZES[0][0]:
                        pair = np.stack([a, b], axis=1)
                        difference = bca(labels, pair, statistic=weighted_auc_difference, resamples=RESAMPLES)
                        resampled.append(difference.interval is not None and not inside(difference.interval, 0.0)[0])
                rows.append(
                    (
                        f"{m} / {n}",
                        f"{area:g}",
                        f"{rho:g}",
                        f"{100 * np.mean([p is not None and p < 0.05 for p in delong]):.1f}",
                        f"{100 * np.mean([p is None for p in delong]):.1f}",
                        f"{100 * np.mean([p < 0.05 for p in exact]):.1f}",
                        f"{100 * np.mean(resampled):.1f}" if resampled else "",
                    )
                )
    return Table(
        name="test_level",
        title="Paired tests of two equally good models",
        columns=(
            "controlled / uncontrolled",
            "AUC of both",
            "rho",
            "DeLong rejects",
            "DeLong has no p",
            "McNemar (exact) rejects",
            "BCa excludes 0",
        ),
        rows=tuple(rows),
        notes=(
            "rho: correlation of the two scores within a class. Decisions at the middle of the class means.",
            "BCa of the paired difference at the smallest size alone. A cohort without p or interval counts as not rejected.",
        ),
    )


def proportion_table() -> Table:
    """Coverage of the proportions' intervals, summed over all counts."""
    rows = []
    for m, n in SIZES:
        for sensitivity, specificity in ((0.5, 0.5), (0.7, 0.7), (0.875, 0.917), (0.95, 0.8), (0.98, 0.98)):
            truth = (sensitivity + specificity) / 2
            weights = np.outer(
                stats.binom.pmf(range(m + 1), m, sensitivity), stats.binom.pmf(range(n + 1), n, specificity)
            )
            pairs = [[inside(mean_of_two((i, m), (j, n)), truth) for j in range(n + 1)] for i in range(m + 1)]
            found = np.array(pairs)  # (m + 1, n + 1, covered and width)
            alone = np.array([inside(wilson(i, m), sensitivity)[0] for i in range(m + 1)])
            rows.append(
                (
                    f"{m} / {n}",
                    f"{sensitivity:g} / {specificity:g}",
                    f"{100 * (weights * found[..., 0]).sum():.1f}",
                    f"{(weights * found[..., 1]).sum():.2f}",
                    f"{100 * (weights.sum(axis=1) * alone).sum():.1f}",
                )
            )
    return Table(
        name="proportion_coverage",
        title="Balanced accuracy and sensitivity, exact",
        columns=(
            "controlled / uncontrolled",
            "sensitivity / specificity",
            "balanced accuracy",
            "its width",
            "sensitivity (Wilson)",
        ),
        rows=tuple(rows),
    )


def brier_table(repetitions: int) -> Table:
    """Coverage of the Brier score of calibrated scores, given the numbers of both classes."""
    rows = []
    nodes, node_weights = np.polynomial.hermite_e.hermegauss(120)
    for m, n in SIZES:
        for area in (0.7, 0.85, 0.95):
            shift = math.sqrt(2) * stats.norm.ppf(area)
            intercept = math.log(m / n) - shift**2 / 2
            expected = [
                float(node_weights @ (special.expit(shift * (nodes + shift * y) + intercept) - y) ** 2)
                / math.sqrt(2 * math.pi)
                for y in (1, 0)
            ]
            truth = (m * expected[0] + n * expected[1]) / (m + n)
            ours, resampled = [], []
            for labels, values in cohorts(m, n, area, repetitions):
                scores = special.expit(shift * values + intercept)
                interval = brier_interval(labels, scores)
                ours.append(inside(interval or (math.nan, math.nan), truth))
                squared = (scores - labels) ** 2
                drawn = bca(labels, squared, statistic=weighted_mean, resamples=RESAMPLES).interval
                resampled.append(inside(drawn or (math.nan, math.nan), truth))
            rows.append((f"{m} / {n}", f"{area:g}", f"{truth:.3f}", coverage(ours), coverage(resampled)))
    return Table(
        name="brier_coverage",
        title="Brier score of calibrated scores",
        columns=("controlled / uncontrolled", "AUC", "Brier", "logit with t (ours)", "BCa"),
        rows=tuple(rows),
    )


def band_table(repetitions: int) -> Table:
    """Coverage of the ROC curve by both bands."""
    rows = []
    grid = np.linspace(0, 1, 101)
    for m, n in SIZES:
        for area in (0.7, 0.85, 0.95):
            curve = stats.norm.cdf(math.sqrt(2) * stats.norm.ppf(area) + stats.norm.ppf(grid))
            held: dict[bool, list[NDArray[np.bool_]]] = {False: [], True: []}
            width: dict[bool, list[float]] = {False: [], True: []}
            for labels, scores in cohorts(m, n, area, repetitions):
                for simultaneous in (False, True):
                    band = roc_band(labels, scores, simultaneous=simultaneous, points=101)
                    low, high = np.array(band.low), np.array(band.high)
                    held[simultaneous].append((low <= curve + 1e-12) & (curve <= high + 1e-12))
                    width[simultaneous].append(float((high - low).mean()))
            points = 100 * np.mean(held[False], axis=0)[1:-1]
            rows.append(
                (
                    f"{m} / {n}",
                    f"{area:g}",
                    f"{points.min():.1f}",
                    f"{points.mean():.1f}",
                    f"{np.mean(width[False]):.2f}",
                    f"{100 * np.mean(np.all(held[True], axis=1)):.1f}",
                    f"{np.mean(width[True]):.2f}",
                )
            )
    return Table(
        name="band_coverage",
        title="Bands of the ROC curve",
        columns=(
            "controlled / uncontrolled",
            "AUC",
            "pointwise, worst point",
            "pointwise, mean",
            "its width",
            "simultaneous, whole curve",
            "its width",
        ),
        rows=tuple(rows),
        notes=("pointwise: at 99 false positive rates from 0.01 to 0.99, each by itself.",),
    )


def inside(interval: tuple[float, float], truth: float) -> Inside:
    """Whether it holds the truth, and its width."""
    return interval[0] <= truth <= interval[1], interval[1] - interval[0]


def coverage(found: list[Inside]) -> str:
    """Percent of the intervals that hold the truth."""
    return f"{100 * np.mean([covered for covered, _ in found]):.1f}" if found else "none"


if __name__ == "__main__":
    run_function(simulate)
