"""Table 1 of Zhao et al. 2026 as printed (Sci Rep 16:8410, doi:10.1038/s41598-026-39728-5), and what follows from its counts.

The paper names Mann-Whitney U for continuous variables, Pearson's chi-square for categorical ones and Cohen's h for
proportions. p-values of counts are recomputed here. Those of ages and tubers cannot be: a mean and a range do not tell the
children's values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scripts.report.cells import NONE, p_value, signed
from scripts.report.document import Table
from scripts.report.group_tests import CHI_SQUARE, chi_square, cohens_h, compare_counts, fisher, linear_model_p
from scripts.report.variables import CLINICAL

N = (39, 56)  # controlled, uncontrolled


@dataclass(frozen=True)
class PrintedLevel:
    """A level's counts and percentages, controlled and uncontrolled; the paper prints none for the genes."""

    level: str
    counts: tuple[int, int]
    percent: tuple[float, float] | None = None


@dataclass(frozen=True)
class PrintedCounts:
    """A categorical variable's row. `cohens_h` is the text's, where it gives one."""

    name: str
    p: str
    levels: tuple[PrintedLevel, ...]
    cohens_h: float | None = None


@dataclass(frozen=True)
class PrintedValues:
    """A continuous variable's row: mean, range and, where printed, SD, controlled and uncontrolled."""

    name: str
    p: str
    mean: tuple[float, float]
    limits: tuple[tuple[float, float], tuple[float, float]]
    sd: tuple[float, float] | None = None
    text_p: str = ""  # another p that the text gives


@dataclass(frozen=True)
class Difference:
    """A printed p beside the one that follows from the printed counts.

    Attributes:
        name: the variable.
        printed: as printed, "0.445" or "< 0.001".
        p: Pearson's chi-square without continuity correction on the printed counts; None where there are none.
        fisher: Fisher's exact test on them.
        linear: analysis of variance (Student's t) on them.
        remarks: what else does not follow from the row.
    """

    name: str
    printed: str
    p: float | None
    fisher: float | None
    linear: float | None
    remarks: tuple[str, ...]

    @property
    def difference(self) -> float | None:
        """Recomputed less printed; None where either is no number."""
        return None if self.p is None or self.printed.startswith("<") else self.p - float(self.printed)


def _yes(
    name: str, counts: tuple[int, int], percent: tuple[float, float], p: str, h: float | None = None
) -> PrintedCounts:
    return PrintedCounts(name, p, (PrintedLevel("1", counts, percent),), h)


TABLE1: tuple[PrintedCounts | PrintedValues, ...] = (
    PrintedCounts("sex", "0.445", (PrintedLevel("M", (24, 30), (61.5, 53.6)),)),
    PrintedValues("age_onset_months", "< 0.001", (31.17, 10.34), ((2, 156), (0, 96))),
    PrintedValues("age_mri_months", "0.019", (57.88, 35.94), ((6, 190), (6, 151))),
    _yes("infantile_spasms", (4, 30), (10.3, 53.6), "< 0.001", 0.948),
    PrintedCounts(
        "gene",
        "0.080",
        (PrintedLevel("negative", (5, 3)), PrintedLevel("TSC1", (10, 7)), PrintedLevel("TSC2", (24, 46))),
    ),
    PrintedValues("tubers", "0.164", (17.43, 19.07), ((0, 36), (0, 51)), (10.50, 12.61), "0.068"),
    _yes("three_or_more_medications", (17, 36), (43.6, 62.3), "0.018"),
    _yes("eeg_left_frontal", (17, 29), (43.6, 51.8), "0.437"),
    _yes("eeg_right_frontal", (18, 27), (46.2, 48.2), "0.845"),
    _yes("eeg_left_temporal", (15, 25), (38.5, 44.6), "0.553"),
    _yes("eeg_right_temporal", (16, 20), (41.0, 35.7), "0.604"),
    _yes("eeg_left_parieto_occipital", (5, 25), (12.8, 44.6), "< 0.001", 0.728),
    _yes("eeg_right_parieto_occipital", (9, 14), (23.1, 25.0), "0.831"),
)


def table1_differences() -> tuple[Difference, ...]:
    """Every row of the printed Table 1 against what follows from its own counts, in its order."""
    return tuple(_of_counts(row) if isinstance(row, PrintedCounts) else _of_values(row) for row in TABLE1)


def table1_against_paper() -> Table:
    """The same as a table."""
    titles = {variable.name: variable.title for variable in CLINICAL}
    rows = []
    for row in table1_differences():
        cells = [
            NONE if p is None else p_value(p) if p < 0.001 else f"{p:.4f}" for p in (row.p, row.fisher, row.linear)
        ]
        difference = signed(row.difference, 4)
        rows.append((titles[row.name], row.printed, cells[0], difference, *cells[1:], "; ".join(row.remarks)))
    fits = [row for row in table1_differences() if row.linear is not None and _cuts(row.linear, row.printed)]
    tested = [row for row in table1_differences() if row.linear is not None]
    pearson = [row for row in tested if row.p is not None and _rounds(row.p, row.printed)]
    return Table(
        name="paper_table1",
        title="The paper's Table 1: printed p, and p recomputed from the printed counts",
        columns=("variable", "printed", "chi-square", "difference", "Fisher exact", "t or F test", "remark"),
        rows=tuple(rows),
        notes=(
            "Chi-square: Pearson's without continuity correction, which the paper names. It gives "
            f"{len(pearson)} of {len(tested)} printed p.",
            "Analysis of variance (with two levels Student's t test), cut after three decimals, gives "
            f"{len(fits)} of {len(tested)}: the printed p of counts look like its, not like those of chi-square.",
            "Ages and tubers: a mean and a range do not tell the children's values, so that p cannot be recomputed.",
        ),
    )


def _of_counts(row: PrintedCounts) -> Difference:
    counts = np.array([level.counts for level in row.levels]).T  # (2, levels)
    if len(row.levels) == 1:
        counts = np.column_stack([counts[:, 0], np.array(N) - counts[:, 0]])
    remarks = [remark for level in row.levels for remark in _percent_remarks(level)]
    if row.cohens_h is not None:
        h = abs(cohens_h(*(counts[:, 0] / N)))
        if round(h, 3) != row.cohens_h:
            remarks.append(f"Cohen's h from the counts is {h:.3f}, the text has {row.cohens_h:.3f}")
    asked = compare_counts(counts)
    if asked.name != CHI_SQUARE:
        remarks.append(f"the expected counts ask for {asked.name}")
    p = chi_square(counts).p
    if p is not None and p >= 0.001 and row.p.startswith("<"):
        remarks.append(f"chi-square gives {p:.5f}")
    return Difference(row.name, row.p, p, fisher(counts).p, linear_model_p(counts), tuple(remarks))


def _percent_remarks(level: PrintedLevel) -> list[str]:
    """Percentages that are not those of the counts, with the counts of nearly all children that would give them."""
    remarks = []
    for group, (count, n, percent) in enumerate(zip(level.counts, N, level.percent or (), strict=False)):
        if round(100 * count / n, 1) == percent:
            continue
        fits = []
        for known in range(n, n - 6, -1):
            for k in (k for k in range(known + 1) if round(100 * k / known, 1) == percent):
                other = 1 - group
                both = [[level.counts[other], N[other] - level.counts[other]], [k, known - k]]
                fits.append(
                    f"{k}/{known} fits, as if values were missing, and gives chi-square p {chi_square(both).p:.3f}"
                )
        found = "; ".join(fits) or "no count of nearly all children fits"
        remarks.append(f"{count} of {n} is {100 * count / n:.1f} %, not {percent:.1f} %: {found}")
    return remarks


def _of_values(row: PrintedValues) -> Difference:
    remarks = [f"the text has p = {row.text_p}"] if row.text_p else []
    if row.name == "tubers":  # whole numbers: their mean is a whole number / n
        for mean, n in zip(row.mean, N, strict=True):
            near = round(mean * n) / n
            if abs(near - mean) > 0.005:
                remarks.append(f"{mean:.2f} is no mean of {n} whole numbers ({round(mean * n)}/{n} is {near:.3f})")
    return Difference(row.name, row.p, None, None, None, tuple(remarks))


def _rounds(p: float, printed: str) -> bool:
    """Whether p is printed so when it is rounded."""
    return p < 0.001 if printed.startswith("<") else f"{p:.3f}" == printed


def _cuts(p: float, printed: str) -> bool:
    """Whether p is printed so when its digits are cut off after the third."""
    return p < 0.001 if printed.startswith("<") else f"{math.floor(1000 * p) / 1000:.3f}" == printed
