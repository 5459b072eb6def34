"""The paper's printed Table 1 against what follows from its own counts."""

from __future__ import annotations

import pytest

from scripts.report.paper import TABLE1, PrintedCounts, table1_against_paper, table1_differences
from scripts.report.variables import CLINICAL
from tests.report.children import COUNTS, GENES, MALES


def test_the_printed_counts_are_those_of_the_paper() -> None:
    printed = {
        row.name: {level.level: level.counts for level in row.levels}
        for row in TABLE1
        if isinstance(row, PrintedCounts)
    }
    assert printed == {"sex": {"M": MALES}, "gene": GENES} | {name: {"1": pair} for name, pair in COUNTS.items()}
    assert [row.name for row in TABLE1] == [variable.name for variable in CLINICAL]


@pytest.mark.parametrize(
    ("name", "difference"),
    [  # p of chi2_contingency(correction=False) less the printed one
        ("sex", 0.44056 - 0.445),
        ("gene", 0.07951 - 0.080),
        ("three_or_more_medications", 0.04571 - 0.018),
        ("eeg_left_frontal", 0.43167 - 0.437),
        ("eeg_right_frontal", 0.84316 - 0.845),
        ("eeg_left_temporal", 0.54832 - 0.553),
        ("eeg_right_temporal", 0.59962 - 0.604),
        ("eeg_right_parieto_occipital", 0.82957 - 0.831),
    ],
)
def test_differences_of_p(name: str, difference: float) -> None:
    (row,) = [row for row in table1_differences() if row.name == name]
    assert row.difference == pytest.approx(difference, abs=1e-5)


def test_the_printed_p_of_counts_are_those_of_a_linear_model_cut_after_three_decimals() -> None:
    for row in table1_differences():
        if row.linear is None or row.name == "three_or_more_medications":
            continue
        cut = f"{int(1000 * row.linear) / 1000:.3f}"
        assert ("< 0.001" if row.linear < 0.001 else cut) == row.printed
    notes = " ".join(table1_against_paper().notes)
    assert "gives 2 of 10 printed p" in notes and "gives 9 of 10" in notes


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("infantile_spasms", "Cohen's h from the counts is 0.990, the text has 0.948"),
        ("eeg_left_parieto_occipital", "Cohen's h from the counts is 0.731, the text has 0.728"),
        ("eeg_left_parieto_occipital", "chi-square gives 0.00103"),
        ("three_or_more_medications", "36 of 56 is 64.3 %, not 62.3 %: 33/53 fits"),
        ("tubers", "the text has p = 0.068"),
        ("tubers", "17.43 is no mean of 39 whole numbers (680/39 is 17.436)"),
        ("gene", "the expected counts ask for Fisher exact"),
    ],
)
def test_what_does_not_fit_is_said(name: str, remark: str) -> None:
    (row,) = [row for row in table1_differences() if row.name == name]
    assert remark in "; ".join(row.remarks)


def test_what_fits_has_no_remark_and_what_cannot_be_recomputed_no_p() -> None:
    rows = {row.name: row for row in table1_differences()}
    assert rows["sex"].remarks == rows["eeg_left_frontal"].remarks == ()
    for name in ("age_onset_months", "age_mri_months", "tubers"):
        assert (rows[name].p, rows[name].difference) == (None, None)


def test_the_table_has_the_rows_in_the_papers_order() -> None:
    table = table1_against_paper()
    assert [row[0] for row in table.rows] == [variable.title for variable in CLINICAL]
    assert table.rows[3][1:4] == ("< 0.001", "< 0.001", "-")
