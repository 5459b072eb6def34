"""Groups of children: counts and estimates by hand, degenerate groups, and what the tables say of them."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts.errors import InputError
from scripts.report.document import Picture, Table, Text
from scripts.report.forest import forest_picture
from scripts.report.study import Model
from scripts.report.subgroups import AGE_BANDS, SubgroupAnalysis, analyse_subgroups
from scripts.report.subgroups_section import findings, interaction_table, subgroup_section, subgroup_table, warnings_of
from scripts.report.variables import Level, Variable
from scripts.stats.decisions import wilson
from scripts.stats.metrics import classification_metrics
from scripts.stats.roc import auc, auc_interval


def study(n: int = 95, *, seed: int = 0) -> tuple[Model, pd.DataFrame]:
    """A model and its children, of whom not one value is missing."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) % 5 < 2).astype(np.int64)
    scores = (1 / (1 + np.exp(-generator.normal(1.4 * labels - 0.7)))).round(2)
    names = tuple(f"sub-{number:03d}" for number in range(n))
    model = Model(
        name="fused",
        file=Path("predictions.csv"),
        sha256="0" * 64,
        versions=("1",),
        subjects=names,
        labels=labels,
        scores=scores,
        branches={"flair": scores, "t2w": scores},
        decisions=(scores >= 0.5).astype(np.int64),
        thresholds=np.full(n, 0.5),
    )
    participants = pd.DataFrame(
        {
            "sex": generator.integers(0, 2, n).astype(float),
            "age_mri_months": generator.uniform(6, 150, n).round(1),
            "infantile_spasms": generator.integers(0, 2, n).astype(float),
            "gene": pd.Categorical(
                generator.choice(["negative", "TSC1", "TSC2"], n),
                categories=["negative", "TSC1", "TSC2"],
                ordered=True,
            ),
        },
        index=pd.Index(names, name="participant_id"),
    )
    return model, participants


def group(analysis: SubgroupAnalysis, variable: str, level: str) -> dict[str, object]:
    found = next(each for each in analysis.subgroups if (each.variable, each.level) == (variable, level))
    return {"n": (found.controlled, found.uncontrolled), "few": found.few, **found.estimates}


def test_each_group_has_the_values_of_its_children_alone() -> None:
    model, participants = study()
    analysis = analyse_subgroups(model, participants)
    mask = (participants["infantile_spasms"] == 1).to_numpy()
    y, s, d = model.labels[mask], model.scores[mask], model.decisions[mask]
    found = group(analysis, "Infantile spasms", "yes")
    assert found["n"] == (int(y.sum()), int((1 - y).sum()))
    expected = classification_metrics(y, s, threshold=0.5)
    for metric in ("sensitivity", "specificity", "balanced_accuracy"):
        assert found[metric].value == getattr(expected, metric)  # type: ignore[attr-defined]
        assert found[metric].interval == expected.intervals[metric]  # type: ignore[attr-defined]
    assert (found["auc"].value, found["auc"].interval) == (auc(y, s), auc_interval(y, s))  # type: ignore[attr-defined]
    assert d.tolist() == (s >= 0.5).astype(int).tolist()


def test_groups_of_a_variable_are_all_children_once() -> None:
    model, participants = study()
    analysis = analyse_subgroups(model, participants)
    assert analysis.variables == ("Infantile spasms", "Gene", "Sex", "Age at MRI")
    assert [each.level for each in analysis.of("Sex")] == ["female", "male"]
    for variable in analysis.variables:
        assert sum(each.n for each in analysis.of(variable)) == 95
        assert sum(each.controlled for each in analysis.of(variable)) == int(model.labels.sum())


def test_bounds_of_the_age_bands_belong_to_the_older_band() -> None:
    model, participants = study(10)
    participants["age_mri_months"] = [23.9, 24.0, 71.9, 72.0, 6, 6, 6, 6, 6, 6]
    analysis = analyse_subgroups(model, participants)
    assert [each.n for each in analysis.of("Age at MRI")] == [7, 2, 1]
    assert [low for _, low, _ in AGE_BANDS] == [0, 24, 72] and math.isinf(AGE_BANDS[-1][2])


def test_decisions_of_several_thresholds_are_taken_as_they_were_made() -> None:
    model, participants = study()
    model = replace(model, decisions=1 - model.decisions)
    found = analyse_subgroups(model, participants).overall.estimates["sensitivity"]
    called = int(model.decisions[model.labels == 1].sum())
    assert found.value == called / 38 and found.interval == wilson(called, 38)


def test_group_without_a_controlled_child_says_so_and_the_rest_stays_right() -> None:
    model, participants = study()
    full = analyse_subgroups(model, participants)
    controlled = model.labels == 1
    participants.loc[controlled & (participants["gene"] == "negative").to_numpy(), "gene"] = "TSC2"
    analysis = analyse_subgroups(model, participants)
    found = group(analysis, "Gene", "negative")
    for metric in ("auc", "sensitivity", "balanced_accuracy", "slope"):
        assert found[metric].value is None and found[metric].reason == "no controlled child"  # type: ignore[attr-defined]
    assert found["specificity"].value == group(full, "Gene", "negative")["specificity"].value  # type: ignore[attr-defined]
    assert group(analysis, "Gene", "TSC1") == group(full, "Gene", "TSC1")
    assert analysis.of("Sex") == full.of("Sex")
    test = next(test for test in analysis.tests if (test.variable, test.metric) == ("Gene", "auc"))
    assert test.interaction.tested == ("TSC1", "TSC2") and test.interaction.p is not None
    text = subgroup_table(analysis).to_markdown()
    assert "not estimable: no controlled child" in text and "AUC by gene (negative: no controlled child)" in text


def test_values_that_are_not_known_are_a_row_and_in_no_test() -> None:
    model, participants = study()
    expected = analyse_subgroups(model.of(model.subjects[7:]), participants)
    participants.loc[list(model.subjects[:7]), "sex"] = np.nan
    analysis = analyse_subgroups(model, participants)
    unknown = analysis.of("Sex")[-1]
    assert (unknown.level, unknown.n, unknown.controlled, dict(unknown.estimates)) == ("not known", 7, 4, {})
    assert analysis.of("Sex")[:-1] == expected.of("Sex")
    p = [[test.interaction.p for test in each.tests if test.variable == "Sex"] for each in (analysis, expected)]
    assert p[0] == p[1]
    row = next(row for row in subgroup_table(analysis).rows if "not known" in row[0])
    assert row[1:4] == ("7", "4 / 3", "-")


def test_groups_under_ten_children_of_a_class_are_warned_of() -> None:
    model, participants = study()
    of_class = np.flatnonzero(model.labels == 1)
    participants["infantile_spasms"] = 0.0
    participants.loc[[model.subjects[at] for at in of_class[:9]], "infantile_spasms"] = 1.0
    participants.loc[[model.subjects[at] for at in np.flatnonzero(model.labels == 0)[:30]], "infantile_spasms"] = 1.0
    analysis = analyse_subgroups(model, participants)
    assert group(analysis, "Infantile spasms", "yes")["few"] and not group(analysis, "Infantile spasms", "no")["few"]
    assert "Infantile spasms yes (9 controlled, 30 uncontrolled)" in warnings_of(analysis)[0]
    titles = [row[0].strip() for row in subgroup_table(analysis).rows]
    assert "yes†" in titles and "no" in titles
    participants.loc[model.subjects[int(of_class[9])], "infantile_spasms"] = 1.0
    assert not group(analyse_subgroups(model, participants), "Infantile spasms", "yes")["few"]


def test_equal_scores_and_a_group_of_one_child_are_said_and_drawn() -> None:
    model, participants = study()
    participants["infantile_spasms"] = 0.0
    participants.iloc[0, participants.columns.get_loc("infantile_spasms")] = 1.0
    model = replace(model, scores=np.full(95, 0.6), decisions=np.ones(95, dtype=np.int64))
    analysis = analyse_subgroups(model, participants)
    assert analysis.overall.estimates["auc"].value == 0.5
    assert analysis.overall.estimates["slope"].reason == "all scores are equal"
    assert group(analysis, "Infantile spasms", "yes")["auc"].reason == "no uncontrolled child"  # type: ignore[attr-defined]
    for test in analysis.tests:
        assert test.interaction.p is None or test.interaction.p == 1.0
    assert "none of" in findings(analysis)
    forest_picture([analysis]).figure.savefig(io.BytesIO())


def test_order_of_rows_does_not_matter() -> None:
    model, participants = study()
    order = np.random.default_rng(3).permutation(95)
    turned = model.of([model.subjects[at] for at in order])
    expected = analyse_subgroups(model, participants).to_dict()
    assert analyse_subgroups(turned, participants.sample(frac=1, random_state=1)).to_dict() == expected


def test_holm_counts_the_tests_that_were_made() -> None:
    model, participants = study()
    tests = analyse_subgroups(model, participants).tests
    made = sorted((test.interaction.p, test.p_holm) for test in tests if test.interaction.p is not None)
    assert made[0][1] == pytest.approx(min(1.0, made[0][0] * len(made)))
    assert all(adjusted is not None and adjusted >= p for p, adjusted in made)


def test_difference_that_is_there_is_found_and_said() -> None:
    model, participants = study(400)
    participants["infantile_spasms"] = (np.arange(400) % 2).astype(float)
    spasms = (participants["infantile_spasms"] == 1).to_numpy()
    scores = np.where(spasms, model.scores, np.random.default_rng(1).permutation(model.scores))
    model = replace(model, scores=scores, decisions=(scores >= 0.5).astype(np.int64))
    words = findings(analyse_subgroups(model, participants))
    assert "differs between groups" in words and "AUC by infantile spasms" in words
    assert "none of" not in words


def test_spelled_levels_are_read_and_unknown_ones_refused() -> None:
    model, participants = study()
    expected = analyse_subgroups(model, participants).of("Sex")
    spelled = participants.assign(sex=np.where(participants["sex"] == 1, "M", "F"))
    assert analyse_subgroups(model, spelled).of("Sex") == expected
    spelled.iloc[4, spelled.columns.get_loc("sex")] = "X"
    with pytest.raises(InputError, match="case sub-004: sex is X; expected female, male, or not known"):
        analyse_subgroups(model, spelled)
    with pytest.raises(InputError, match=r"age_mri_months is -1\.0"):
        analyse_subgroups(model, participants.assign(age_mri_months=-1.0))


def test_columns_of_the_users_own_make_groups_too() -> None:
    model, participants = study()
    site = Variable("site", "Hospital", "categorical", levels=(Level("a", "North"), Level("b", "South")))
    participants["site"] = np.where(np.arange(95) % 2, "a", "b")
    assert [each.level for each in analyse_subgroups(model, participants, variables=[site]).of("Hospital")] == [
        "North",
        "South",
    ]
    with pytest.raises(InputError, match="tubers is continuous and has no bands"):
        analyse_subgroups(
            model, participants.assign(tubers=1.0), variables=[Variable("tubers", "Tubers", "continuous")]
        )


def test_absent_columns_are_named() -> None:
    model, participants = study()
    analysis = analyse_subgroups(model, participants.drop(columns=["gene", "sex"]))
    assert analysis.absent == ("Gene", "Sex") and analysis.variables == ("Infantile spasms", "Age at MRI")
    assert any("no column of: Gene, Sex" in note for note in subgroup_table(analysis).notes)
    empty = subgroup_section([model], participants[[]])
    assert len(empty.blocks) == 1 and isinstance(empty.blocks[0], Text) and "no groups" in empty.blocks[0].text


def test_children_that_are_not_among_the_participants_are_refused() -> None:
    model, participants = study()
    for wrong in (participants.iloc[1:], pd.concat([participants, participants.iloc[:1]])):
        with pytest.raises(InputError, match="do not hold each of the model's children once"):
            analyse_subgroups(model, wrong)


def test_section_holds_a_table_a_model_the_tests_and_a_picture() -> None:
    model, participants = study()
    models = [replace(model, name=f"model {number}") for number in range(6)]
    section = subgroup_section(models, participants[["sex"]])
    tables = [block for block in section.blocks if isinstance(block, Table)]
    assert [table.name for table in tables] == [
        *("subgroups", "subgroup_tests"),
        *(f"subgroups{number}" for number in range(2, 7)),
    ]
    assert len(interaction_table(analyse_subgroups(model, participants)).rows) == 16
    (picture,) = [block for block in section.blocks if isinstance(block, Picture)]
    assert "The first 4 of 6 models are drawn" in picture.caption
    picture.figure.savefig(io.BytesIO())


def test_analysis_is_written_as_json() -> None:
    model, participants = study()
    written = json.loads(json.dumps(analyse_subgroups(model, participants).to_dict(), allow_nan=False))
    assert len(written["tests"]) == 16 and written["groups"][0]["n"] == 95
