"""participants.tsv as numbers: what is read, what is not known, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts.errors import CohortError, InputError
from scripts.report.participants import absent, read_participants
from scripts.report.variables import CLINICAL, own_variables
from tests.report.children import papers_children, random_children, write_children

CHILD = {"participant_id": "sub-01", "outcome": "controlled", "sex": "F", "age_mri_months": "23.8", "gene": "TSC1"}


def test_values_are_numbers_levels_and_what_is_not_known(tmp_path: Path) -> None:
    unknown = dict.fromkeys(CHILD, "n/a") | {"participant_id": "sub-02"}
    empty = dict.fromkeys(CHILD, "") | {"participant_id": "sub-03"}
    male = CHILD | {"participant_id": "sub-04", "outcome": "uncontrolled", "sex": "M", "age_mri_months": ".5"}
    read = read_participants(write_children(tmp_path, [CHILD, unknown, empty, male]))
    assert read.index.tolist() == ["sub-01", "sub-02", "sub-03", "sub-04"]
    assert read["label"].tolist() == [1, pd.NA, pd.NA, 0]
    np.testing.assert_array_equal(read["sex"], [0, np.nan, np.nan, 1])
    np.testing.assert_array_equal(read["age_mri_months"], [23.8, np.nan, np.nan, 0.5])
    assert read["gene"].isna().tolist() == [False, True, True, False]
    assert read["gene"].cat.categories.tolist() == ["negative", "TSC1", "TSC2"]
    assert {variable.name for variable in absent(read)} == {v.name for v in CLINICAL} - CHILD.keys()


@pytest.mark.parametrize(
    ("column", "spelt", "value"),
    [("sex", "male", 1), ("sex", "f", 0), ("infantile_spasms", "Yes", 1), ("infantile_spasms", "false", 0)],
)
def test_usual_spellings_of_a_level_are_read(tmp_path: Path, column: str, spelt: str, value: float) -> None:
    read = read_participants(write_children(tmp_path, [CHILD | {column: spelt}]))
    assert read[column].tolist() == [value]


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age_mri_months", "old", "case sub-01, file .*participants.tsv: age_mri_months is 'old'; expected a number"),
        ("age_mri_months", "-3", "age_mri_months is '-3'; expected a number from 0 to 480"),
        ("age_mri_months", "1735", r"is '1735'.*0 to 480 \(months\).*days / 30.44"),
        ("age_mri_months", "23,8", "is '23,8'.*decimal point"),
        ("age_mri_months", "nan", "is 'nan'"),
        ("age_mri_months", "1_0", "is '1_0'"),
        ("age_onset_months", "inf", "age_onset_months is 'inf'"),
        ("tubers", "999", "tubers is '999'; expected a number from 0 to 300"),
        ("gene", "TSC3", 'gene is \'TSC3\'; expected "negative", "TSC1", "TSC2" or "n/a"'),
        ("sex", "2", "sex is '2'"),
        ("infantile_spasms", "0.5", "infantile_spasms is '0.5'"),
        ("outcome", "cured", "sub-01 has outcome 'cured'"),
    ],
)
def test_a_value_at_fault_is_named(tmp_path: Path, column: str, value: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_participants(write_children(tmp_path, [CHILD | {column: value}]))


def test_all_values_at_fault_are_named_at_once(tmp_path: Path) -> None:
    other = CHILD | {"participant_id": "sub-02", "gene": "none at all"}
    with pytest.raises(CohortError, match=r"(?s)2 cases are at fault.*sub-01.*'x'.*sub-02.*'none at all'"):
        read_participants(write_children(tmp_path, [CHILD | {"age_mri_months": "x"}, other]))


def test_no_file_no_outcome_and_no_child_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_participants(tmp_path / "participants.tsv")
    with pytest.raises(InputError, match='expected tab-separated columns "participant_id" and "outcome"'):
        read_participants(write_children(tmp_path, [{"participant_id": "sub-01", "sex": "F"}]))
    (tmp_path / "participants.tsv").write_text("participant_id\toutcome\n")
    with pytest.raises(InputError, match="it holds no participant"):
        read_participants(tmp_path)


def test_the_order_of_the_rows_does_not_matter(tmp_path: Path) -> None:
    rows = random_children(20, missing=0.2)
    first = read_participants(write_children(tmp_path / "a", rows))
    second = read_participants(write_children(tmp_path / "b", rows[::-1]))
    pd.testing.assert_frame_equal(first, second)


def test_the_papers_cohort_is_read(tmp_path: Path) -> None:
    read = read_participants(write_children(tmp_path, papers_children()))
    assert read["label"].value_counts().to_dict() == {0: 56, 1: 39}
    assert read.loc[read["label"] == 1, "sex"].sum() == 24


def test_own_columns_come_from_the_sidecar(tmp_path: Path) -> None:
    row = CHILD | {"site": "B", "iq": "87", "twin": "1"}
    sidecar = {
        "site": {"LongName": "Hospital", "Levels": {"A": "first", "B": {"Description": "second"}, "n/a": "not known"}},
        "iq": {"Description": "Intelligence quotient", "Units": "points"},
        "twin": {"Levels": {"0": "no", "1": "yes"}},
    }
    write_children(tmp_path, [row])
    (tmp_path / "participants.json").write_text(json.dumps(sidecar))
    site, iq, twin = own_variables(tmp_path, ["site", "iq", "twin"])
    assert (site.title, site.kind, [(level.value, level.title) for level in site.levels]) == (
        "Hospital",
        "categorical",
        [("A", "first"), ("B", "second")],
    )
    assert (iq.title, iq.kind, iq.unit) == ("Intelligence quotient", "continuous", "points")
    assert (twin.title, twin.kind) == ("twin", "binary")
    read = read_participants(tmp_path, (site, iq, twin))
    assert read[["iq", "twin"]].iloc[0].tolist() == [87, 1] and read["site"].iloc[0] == "B"


@pytest.mark.parametrize(
    ("sidecar", "name", "message"),
    [
        (None, "site", "participants.json: it cannot be read"),
        ("{", "site", "participants.json: it cannot be read"),
        ('{"site": {}}', "site", "it declares of site {}"),
        ('{"site": {"Levels": {"A": "one"}}}', "site", "it declares of site"),
        ('{"site": {"Levels": {"A": "", "B": ""}, "Units": "m"}}', "site", "it declares of site"),
        ("{}", "height", "there is no column height"),
        ("{}", "sex", "sex is no further column"),
    ],
)
def test_own_columns_that_are_not_declared_are_refused(
    tmp_path: Path, sidecar: str | None, name: str, message: str
) -> None:
    write_children(tmp_path, [CHILD | {"site": "A"}])
    if sidecar is not None:
        (tmp_path / "participants.json").write_text(sidecar)
    with pytest.raises(InputError, match=message):
        own_variables(tmp_path, [name])
