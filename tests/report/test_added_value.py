"""Images and clinical variables together: found on other children than those compared, and words that follow from numbers."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from scripts.errors import InputError
from scripts.fusion import fuse, search_threshold, search_weights
from scripts.report.added_value import added_value, fuse_across_folds, fuse_on_validation, in_words
from scripts.report.clinical import SplitBaseline
from scripts.report.study import Model
from scripts.stats.comparison import AucDifference, delong_test
from scripts.stats.draws import stratified_folds
from scripts.stats.roc import auc


def model(name: str, scores: ArrayLike, labels: ArrayLike, *, prefix: str = "t") -> Model:
    values, truth = np.array(scores, dtype=np.float64), np.array(labels, dtype=np.int64)
    subjects = tuple(f"sub-{prefix}{number:03}" for number in range(truth.size))
    half = np.full(truth.size, 0.5)
    return Model(name, None, None, ("1",), subjects, truth, values, {}, (values >= half).astype(np.int64), half)


def noisy(labels: NDArray[np.int64], strength: float, *, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return np.clip(0.5 + strength * (labels - 0.5) + rng.normal(0, 0.2, labels.size), 0, 1)


def split_of(seed: int, *, images: float = 0.3, clinical: float = 0.3) -> tuple[Model, Model, SplitBaseline]:
    """An image model's validation and testing predictions, and a clinical baseline of the same children."""
    rng = np.random.default_rng(seed)
    validation, testing = rng.permutation(np.repeat([1, 0], [8, 12])), rng.permutation(np.repeat([1, 0], [16, 24]))
    made = [
        model(name, noisy(labels, strength, seed=10 * seed + number), labels, prefix=prefix)
        for number, (name, strength, labels, prefix) in enumerate(
            [
                ("net", images, validation, "v"),
                ("net", images, testing, "t"),
                ("clinical", clinical, validation, "v"),
                ("clinical", clinical, testing, "t"),
            ]
        )
    ]
    return made[0], made[1], SplitBaseline(made[2], made[3], 1.0, {})


def rearranged(given: Model) -> Model:
    return given.of(given.subjects[::-1])


def test_weights_and_threshold_are_those_of_the_validation_part() -> None:
    validation, testing, clinical = split_of(0)
    found = fuse_on_validation(validation, testing, clinical)
    pairs = np.column_stack([validation.scores, clinical.validation.scores])
    weights = search_weights(pairs, validation.labels).weights
    threshold = search_threshold(fuse(pairs, weights), validation.labels).threshold
    assert (found.weights, found.thresholds) == ((weights,), (threshold,))
    expected = fuse(np.column_stack([testing.scores, clinical.testing.scores]), weights)
    np.testing.assert_array_equal(found.model.scores, expected)
    assert found.model.thresholds.tolist() == [threshold] * 40
    assert found.model.decisions.tolist() == (expected >= threshold).astype(int).tolist()
    np.testing.assert_array_equal(found.model.branches["clinical"], clinical.testing.scores)
    assert found.model.name == "images + clinical" and found.left_out == ()


def test_the_testing_part_has_no_say_in_weights_and_threshold() -> None:
    validation, testing, clinical = split_of(1)
    other = model("net", 1 - testing.scores, testing.labels)
    one, two = (fuse_on_validation(validation, given, clinical) for given in (testing, other))
    assert (one.weights, one.thresholds) == (two.weights, two.thresholds)
    assert not np.array_equal(one.model.scores, two.model.scores)


def test_the_order_of_the_rows_does_not_matter() -> None:
    validation, testing, clinical = split_of(2)
    one = fuse_on_validation(validation, testing, clinical)
    turned = SplitBaseline(rearranged(clinical.validation), rearranged(clinical.testing), 1.0, {})
    other = fuse_on_validation(rearranged(validation), testing, turned)
    assert one.model.subjects == other.model.subjects
    np.testing.assert_array_equal(one.model.scores, other.model.scores)
    first, second = (fuse_across_folds(given, clinical.testing) for given in (testing, rearranged(testing)))
    np.testing.assert_array_equal(first.model.scores, second.model.scores)


def test_a_child_whom_the_images_have_no_score_of_is_left_out_and_named() -> None:
    validation, testing, clinical = split_of(3)
    found = fuse_on_validation(validation, testing.of(testing.subjects[1:]), clinical)
    assert found.left_out == ("sub-t000",) and len(found.model.subjects) == 39
    assert fuse_across_folds(testing.of(testing.subjects[1:]), clinical.testing).left_out == ("sub-t000",)


def test_predictions_that_do_not_fit_are_refused() -> None:
    validation, testing, clinical = split_of(4)
    with pytest.raises(InputError, match=r"sub-t000.*are in the image model's validation and testing"):
        fuse_on_validation(testing, testing, clinical)
    with pytest.raises(InputError, match="no child of the testing part in common"):
        fuse_on_validation(validation, model("net", [0.1, 0.9], [0, 1], prefix="x"), clinical)
    with pytest.raises(InputError, match=r"case sub-t000.*different outcomes"):
        fuse_on_validation(validation, model("net", testing.scores, 1 - testing.labels), clinical)
    with pytest.raises(InputError, match="16 controlled and 24 uncontrolled children, 17 folds"):
        fuse_across_folds(testing, clinical.testing, folds=17)


def test_across_folds_each_child_is_fused_by_the_others_weights() -> None:
    _, testing, clinical = split_of(5)
    found = fuse_across_folds(testing, clinical.testing, folds=4, seed=2)
    pairs, labels = np.column_stack([testing.scores, clinical.testing.scores]), testing.labels
    (fold,) = stratified_folds(labels, folds=4, repeats=1, seed=2)
    assert len(found.weights) == len(found.thresholds) == 4
    for number in range(4):
        held_out = fold == number
        weights = search_weights(pairs[~held_out], labels[~held_out]).weights
        threshold = search_threshold(fuse(pairs[~held_out], weights), labels[~held_out]).threshold
        assert (found.weights[number], found.thresholds[number]) == (weights, threshold)
        np.testing.assert_array_equal(found.model.scores[held_out], fuse(pairs[held_out], weights))
        assert set(found.model.thresholds[held_out]) == {threshold}


def test_added_value_is_delongs_test_on_the_common_children() -> None:
    validation, testing, clinical = split_of(6)
    combined = fuse_on_validation(validation, testing.of(testing.subjects[2:]), clinical).model
    found = added_value(clinical.testing, combined)
    alone = clinical.testing.of(combined.subjects)
    assert found.difference == delong_test(combined.labels, combined.scores, alone.scores)
    assert found.combined_auc - found.clinical_auc == pytest.approx(found.difference.difference, abs=1e-12)
    assert (found.clinical_auc, found.controlled + found.uncontrolled) == (auc(alone.labels, alone.scores), 38)
    assert found.text.startswith("On 38 children, adding the images")


@pytest.mark.parametrize(
    ("images", "clinical", "verdict"),
    [
        (0.9, 0.05, "in these data the images add to the clinical variables."),
        (0.0, 0.0, "do not show that images add anything, nor that they add nothing."),
    ],
)
def test_the_verdict_follows_from_the_data(images: float, clinical: float, verdict: str) -> None:
    validation, testing, baseline = split_of(7, images=images, clinical=clinical)
    assert added_value(baseline.testing, fuse_on_validation(validation, testing, baseline).model).text.endswith(verdict)


def test_images_that_say_nothing_leave_the_auc_where_it_was() -> None:
    validation, testing, clinical = split_of(8)
    flat_validation, flat_testing = (
        model("net", np.full(m.labels.size, 0.5), m.labels, prefix=p) for m, p in ((validation, "v"), (testing, "t"))
    )
    found = added_value(clinical.testing, fuse_on_validation(flat_validation, flat_testing, clinical).model)
    assert f"left the AUC at {found.clinical_auc:.3f}. The change cannot be tested" in found.text
    assert found.text.endswith("these data do not show that images add anything.")


def change(
    difference: float, interval: tuple[float, float] | None, p: float | None, reason: str | None = None
) -> AucDifference:
    return AucDifference(difference, 0.0, interval, None, p, 0.95, reason)


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (
            change(0.03, (-0.10, 0.16), 0.65),
            "On 19 children, adding the images to the clinical variables changed the AUC from 0.800 to 0.830, by +0.030"
            " (95 % -0.100 to +0.160, p 0.650): these data do not show that images add anything, nor that they add nothing.",
        ),
        (change(0.1, (0.02, 0.18), 0.014), "raised the AUC.*p 0.014.*in these data the images add to the clinical"),
        (change(0.012, (0.005, 0.019), 0.0004), "raised.*p < 0.001.*images add.*, though by less than 0.02"),
        (change(-0.1, (-0.18, -0.02), 0.014), "lowered the AUC.*by -0.100.*worse with the images than without"),
        (change(0.001, (-0.01, 0.012), 0.86), "do not show.*whatever they change is less than 0.02 either way"),
        (
            change(0.0, None, 1.0, "no case differs"),
            r"left the AUC at 0.800. The change cannot be tested \(no case differs",
        ),
        (
            change(0.2, None, None, "no variance"),
            r"changed the AUC from .* cannot be tested \(no variance\).*do not show",
        ),
    ],
)
def test_words_follow_from_the_numbers(difference: AucDifference, said: str) -> None:
    text = in_words(difference, before=0.8, after=0.8 + difference.difference, n=19)
    assert text == said if said.startswith("On 19") else re.search(said, text)
