"""The paper's own figures, recomputed: what ../shared/paper.md lists must come out."""

from __future__ import annotations

import pytest

from scripts.report.contradictions import TABLE2, contradictions, fraction, paper_table2


@pytest.mark.parametrize(
    ("value", "n", "k"),
    [
        (0.875, 8, 7),
        (0.917, 12, 11),
        (0.9, 20, 18),
        (0.917, 11, None),
        (0.9, 19, None),
        (0.849, 8, None),
        (1.0, 8, 8),
        (0, 8, 0),
    ],
)
def test_a_printed_proportion_is_a_fraction_of_n_or_it_is_not(value: float, n: int, k: int | None) -> None:
    assert fraction(value, n) == k


def test_the_main_row_fits_twenty_children_and_not_nineteen() -> None:
    *_, nineteen, twenty = paper_table2().rows[-1]

    assert twenty == "ACC 18/20, SEN 7/8, SPE 11/12"
    assert nineteen == "ACC -, SEN 7/8, SPE -"


@pytest.mark.parametrize("value", [0.849, 0.617, 0.513, 0.623, 0.749])
def test_some_proportions_fit_no_number_of_test_patients(value: float) -> None:
    assert not any(fraction(value, n) is not None for n in (8, 11, 12))


def test_effect_sizes_and_sizes_in_memory_are_recomputed() -> None:
    text = contradictions().to_markdown()

    for figure in ("0.990", "0.731", "126.4 MiB", "403 MB", "64.3 %", "62.3 %", "0.788", "0.729"):
        assert figure in text
    assert len(TABLE2) == 6
