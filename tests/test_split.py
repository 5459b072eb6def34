"""Cases -> parts: the paper's numbers, what stays together, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.bids import find_cases
from scripts.errors import InputError
from scripts.split import PARTS, k_fold, split
from tests.cohorts import add_cohort, counts, labelled_cases


def test_the_papers_cohort_gives_the_papers_split() -> None:
    for seed in range(5):
        assert counts(split(labelled_cases(39, 56), seed=seed)) == [(27, 40), (4, 5), (8, 11)]


def test_every_subject_is_in_exactly_one_part_and_every_cell_near_its_expectation() -> None:
    for m, n in [(39, 56), (20, 20), (7, 31), (150, 200)]:
        parts = split(labelled_cases(m, n), fractions=(0.6, 0.2, 0.2))
        assert sorted(case["case"] for name in PARTS for case in parts[name]) == [f"sub-{i:03}" for i in range(m + n)]
        for name, (controlled, uncontrolled) in zip(PARTS, counts(parts), strict=True):
            size = len(parts[name])
            assert abs(controlled - m * size / (m + n)) < 1, name
            assert abs(uncontrolled - n * size / (m + n)) < 1, name


def test_the_seed_alone_decides() -> None:
    cases = labelled_cases(39, 56)
    assert split(cases[::-1], seed=1) == split(cases, seed=1)
    assert split(cases, seed=2)["testing"] != split(cases, seed=1)["testing"]


def test_the_split_of_a_seed_is_the_same_for_ever() -> None:
    # Fixed here on purpose: a change would exchange training and test subjects of every published datalist.
    parts = split(labelled_cases(39, 56))
    assert [case["case"][4:] for case in parts["validation"]] == [
        *("004", "006", "011", "038"),
        *("039", "043", "050", "052", "087"),
    ]


def test_whole_numbers_are_numbers_of_subjects() -> None:
    parts = split(labelled_cases(150, 200), fractions=(200, 50, 100))
    assert [len(parts[name]) for name in PARTS] == [200, 50, 100]


@pytest.mark.parametrize(
    "fractions", [(7, 1, 2), (0.7, 0.1), (0.7, 0.1, 0.1), (-0.1, 0.1, 1.0), 0.7, (0.7, 0.3, float("nan"))]
)
def test_fractions_that_do_not_add_up_are_refused(fractions: Any) -> None:
    with pytest.raises(InputError, match="fractions is"):
        split(labelled_cases(39, 56), fractions=fractions)


def test_a_part_of_0_is_empty_as_for_an_external_test_cohort() -> None:
    assert counts(split(labelled_cases(3, 5), fractions=(0, 0, 1))) == [(0, 0), (0, 0), (3, 5)]


def test_a_part_without_a_class_is_refused_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"the validation part has 1 subjects, none controlled.*more subjects"):
        split(labelled_cases(3, 7))


def test_sessions_of_a_subject_stay_together() -> None:
    cases = [{**case, "case": f"{case['case']}_ses-{session}"} for case in labelled_cases(39, 56) for session in (1, 2)]
    parts = split(cases)
    assert [len(parts[name]) for name in PARTS] == [134, 18, 38]
    subjects = [{case["subject"] for case in parts[name]} for name in PARTS]
    assert [len(part) for part in subjects] == [67, 9, 19]
    assert len(set.union(*subjects)) == 95


def test_copies_of_a_scan_stay_together(tmp_path: Path) -> None:
    cases = find_cases(add_cohort(tmp_path, 12, 18))
    # sub-000 = sub-001 by FLAIR, sub-001 = sub-002 by T2w filed as FLAIR: a chain of three.
    Path(cases[1]["flair"]).write_bytes(Path(cases[0]["flair"]).read_bytes())
    Path(cases[2]["flair"]).write_bytes(Path(cases[1]["t2w"]).read_bytes())
    for seed in range(10):
        with pytest.warns(UserWarning, match="byte-identical") as caught:
            parts = split(cases, fractions=(0.4, 0.3, 0.3), seed=seed)
        assert len(caught) == 2
        held = [name for name in PARTS for case in parts[name] if case["subject"] in ("sub-000", "sub-001", "sub-002")]
        assert len(set(held)) == 1
        assert [sum(pair) for pair in counts(parts)] == [12, 9, 9]


def test_empty_and_missing_files_are_no_copies(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    cases = find_cases(add_cohort(tmp_path, 12, 18))
    for case in cases[:5]:
        Path(case["flair"]).write_bytes(b"")
        Path(case["t2w"]).unlink()
    split(cases, fractions=(0.4, 0.3, 0.3))
    assert not recwarn.list


def test_copies_with_contradicting_outcomes_are_refused(tmp_path: Path) -> None:
    cases = find_cases(add_cohort(tmp_path, 12, 18))
    Path(cases[-1]["flair"]).write_bytes(Path(cases[0]["flair"]).read_bytes())
    with (
        pytest.warns(UserWarning, match="byte-identical"),
        pytest.raises(InputError, match=r"sub-000, sub-029 .*labels are \[0, 1\]"),
    ):
        split(cases)


def test_cases_without_a_label_are_left_out_with_a_warning() -> None:
    cases = labelled_cases(39, 56)
    del cases[0]["label"]
    with pytest.warns(UserWarning, match="1 cases without a label are left out: sub-000"):
        parts = split(cases)
    assert sum(len(parts[name]) for name in PARTS) == 94


def test_a_name_given_twice_is_refused() -> None:
    with pytest.raises(InputError, match="case sub-000: the name is there twice"):
        split(labelled_cases(39, 56) + labelled_cases(1, 0))


def test_every_case_is_tested_once_and_the_folds_are_stratified() -> None:
    folds = k_fold(labelled_cases(39, 56), folds=5)
    tested = [case["case"] for parts in folds for case in parts["testing"]]
    assert sorted(tested) == [f"sub-{i:03}" for i in range(95)]
    assert sorted(counts(parts)[2] for parts in folds) == [(7, 12), (8, 11), (8, 11), (8, 11), (8, 11)]
    for parts in folds:
        assert [len(parts[name]) for name in PARTS] == [67, 9, 19]
        assert len({case["case"] for name in PARTS for case in parts[name]}) == 95


@pytest.mark.parametrize("folds", [1, 2.5, True, "5"])
def test_a_number_of_folds_that_is_none_is_refused(folds: Any) -> None:
    with pytest.raises(InputError, match="folds is"):
        k_fold(labelled_cases(39, 56), folds=folds)


@pytest.mark.parametrize("fraction", [0, 0.8, -0.1, float("nan")])
def test_a_validation_fraction_that_leaves_no_part_is_refused(fraction: float) -> None:
    with pytest.raises(InputError, match="validation_fraction is"):
        k_fold(labelled_cases(39, 56), validation_fraction=fraction)


def test_more_folds_than_a_class_has_cases_are_refused() -> None:
    with pytest.raises(InputError, match=r"none controlled.*fewer folds"):
        k_fold(labelled_cases(3, 30), folds=5)
