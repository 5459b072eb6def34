"""The section on small samples: its numbers are those of the parts, its words follow from them, and what cannot be is said."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.errors import InputError
from scripts.report.document import Picture, Table, Text
from scripts.report.sample_worth import PAPER, SampleWorth, assess_sample, children_of
from scripts.report.small_sample import findings, redrawn_table, search_table, small_sample_section, width_table
from scripts.report.study import Model, read_model
from scripts.stats.precision import delong_components, hanley_mcneil, interval_of
from scripts.stats.resampling import nested_cross_validation, redraw_test_sets
from scripts.stats.roc import auc
from tests.report.on_paper import write_cohort, write_predictions


@pytest.fixture
def model(tmp_path: Path) -> Model:
    labels = write_cohort(tmp_path / "cohort")
    write_predictions(tmp_path / "a.csv", labels)
    return read_model(tmp_path / "a.csv", dict(labels), name="net")


def assess(model: Model, **more: object) -> SampleWorth:
    return assess_sample(model, repeats=4, draws=50, **more)  # type: ignore[arg-type]


def only(model: Model, controlled: int, uncontrolled: int) -> Model:
    """The same model for so many children."""
    kept = [np.flatnonzero(model.labels == label)[:n] for label, n in ((1, controlled), (0, uncontrolled))]
    return model.of([model.subjects[at] for at in sorted(np.concatenate(kept))])


def test_values_are_those_of_the_parts(model: Model) -> None:
    found = assess(model, seed=3)
    nested = nested_cross_validation(children_of(model), repeats=4, seed=3)
    drawn = redraw_test_sets(children_of(model), draws=50, seed=3)
    assert found.nested is not None and found.nested.to_dict() == nested.to_dict()
    assert found.redrawn is not None and found.redrawn.to_dict() == drawn.to_dict()
    assert found.area == auc(model.labels, model.scores)
    variance = delong_components(model.labels, model.scores)(8, 11)
    assert found.widths[0].auc == interval_of(found.area, variance)
    assert found.widths[0].paper_auc == interval_of(0.833, hanley_mcneil(0.833)(8, 11))
    row = search_table(found).rows[0]
    assert row[1] == f"{found.optimism.apparent['auc']:.3f}" and row[4].startswith(
        f"{nested.pooled['auc'].mean():.3f} ("
    )
    share = float((drawn.values["auc"] >= 0.8325).mean())
    assert redrawn_table(found).rows[1][-1] == f"{100 * share:.1f} %"
    assert f"{100 * share:.0f} % of the draws give the paper's AUC of 0.833" in findings(found)[1]


def test_intervals_grow_narrower_with_children_and_say_how_many_are_needed(model: Model) -> None:
    found = assess(model)
    for name in ("auc", "paper_auc", "sensitivity", "specificity"):
        widths = [np.ptp(getattr(width, name)) for width in found.widths]
        assert widths == sorted(widths, reverse=True)
    assert found.needed[2] is not None and f"for an AUC of 0.833 {found.needed[2]} test children" in findings(found)[2]
    assert [width.n for width in found.widths] == [19, 50, 95, 200, 500] and (PAPER.auc, PAPER.acc) == (0.833, 0.9)


def test_order_of_the_children_does_not_matter(model: Model) -> None:
    order = np.random.default_rng(0).permutation(len(model.subjects))
    turned = model.of([model.subjects[at] for at in order])
    assert assess(turned).to_dict() == assess(model).to_dict()


def test_correlation_is_that_with_the_second_model(model: Model) -> None:
    other = replace(model, name="other", scores=model.branches["flair"])
    alone, both = assess(model), assess(model, other=other)
    assert alone.power[0].correlation == 0.5 and alone.correlation_from is None
    assert 0.5 < both.power[0].correlation < 1 and both.correlation_from == "other"
    order = list(reversed(model.subjects))
    assert assess(model, other=other.of(order)).to_dict() == both.to_dict()
    constant = assess(model, other=replace(model, name="constant", scores=np.full(95, 0.5)))
    assert constant.power[0].correlation == 0.5 and "equal scores" in constant.reasons["correlation"]
    with pytest.raises(InputError, match="not about the same children"):
        assess(model, other=other.of(other.subjects[1:]))


def test_model_without_branches_finds_its_threshold_alone(model: Model) -> None:
    found = assess(replace(model, branches={}))
    assert found.modalities == () and found.nested is not None and found.nested.weights.shape[1] == 1
    assert found.optimism.apparent["auc"] == found.area
    assert findings(found)[0].startswith("The threshold is found from the scores.")
    with_branches = findings(assess(model))[0]
    assert with_branches.startswith("Weights (FLAIR, T2w) and threshold are found from the scores.")


def test_nineteen_children_give_no_other_draw_and_the_rest_stays(model: Model) -> None:
    found = assess(only(model, 8, 11))
    assert found.redrawn is None and found.searched is None and found.nested is not None
    assert findings(found)[1].endswith("cannot be drawn anew: 8 controlled children, 8 a draw.")
    names = [block.name for block in small_sample_section([only(model, 8, 11)]).blocks if not isinstance(block, Text)]
    assert names == ["small_sample_search", "small_sample_width", "interval_width", "small_sample_power"]


def test_children_for_a_test_set_but_none_for_validation(model: Model) -> None:
    found = assess(only(model, 10, 30))
    assert found.redrawn is not None and found.searched is None
    assert any("10 controlled children, 12 a draw" in note for note in redrawn_table(found).notes)


def test_a_class_of_four_has_no_folds(model: Model) -> None:
    found = assess(only(model, 4, 20))
    assert found.nested is None and "4 children in the smaller class" in found.reasons["nested"]
    table = search_table(found)
    assert table.rows[0][-2:] == ("-", "-") and any("No nested estimate" in note for note in table.notes)


def test_separated_or_equal_scores_have_no_width_of_their_own(model: Model) -> None:
    separated = assess(replace(model, scores=np.where(model.labels == 1, 0.8, 0.3), decisions=model.labels))
    equal = assess(replace(model, scores=np.full(95, 0.5)))
    for found, reason in ((separated, "the classes are separated"), (equal, "all scores are equal")):
        assert found.reasons["widths"] == reason and found.needed[0] is None
        assert all(width.auc is None for width in found.widths)
        assert width_table(found).rows[0][2] == "-" and any(reason in note for note in width_table(found).notes)
        json.dumps(found.to_dict(), allow_nan=False)
    assert separated.needed[1] is None and equal.needed[1] is not None


def test_one_child_of_a_class_is_enough_for_what_needs_no_variance(model: Model) -> None:
    found = assess(only(model, 1, 12))
    assert found.nested is None and found.redrawn is None and "1 controlled" in found.reasons["widths"]


def test_one_class_alone_is_refused(model: Model) -> None:
    alone = model.of([name for name, label in zip(model.subjects, model.labels, strict=True) if label])
    with pytest.raises(InputError, match="net is tested on no uncontrolled child"):
        assess(alone)


def test_proportions_that_cannot_be_are_named(model: Model) -> None:
    # Of the paper's 0.900, 0.875 and 0.917 only 7/8 is a fraction of its 19, 8 and 11 test children.
    note = redrawn_table(assess(model)).notes[1]
    assert "Accuracy 0.900 is no fraction of 19; specificity 0.917 is no fraction of 11" in note and "0.875" not in note


def test_section_is_drawn(model: Model) -> None:
    section = small_sample_section([model, replace(model, name="other", scores=model.branches["t2w"])])
    assert sum(isinstance(block, Text) for block in section.blocks) == 3
    assert sum(isinstance(block, Table) for block in section.blocks) == 4
    for block in section.blocks:
        if isinstance(block, Picture):
            block.figure.savefig(io.BytesIO(), format="png", dpi=50)
