"""Whether images add anything to the clinical variables: both fused by the paper's Eq. 2, compared with clinical alone, in words.

Weights and threshold are found on children other than those that are compared: the validation part, or where there are no
predictions for it the other folds of the test predictions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError
from scripts.fusion import fuse, search_threshold, search_weights
from scripts.report.cells import p_value
from scripts.report.clinical import SplitBaseline
from scripts.report.study import Model
from scripts.stats.comparison import AucDifference, delong_test
from scripts.stats.draws import stratified_folds
from scripts.stats.roc import auc

SMALL = 0.02  # of an AUC: an interval within it either way is called a small change
INPUTS = ("images", "clinical")


@dataclass(frozen=True)
class Combined:
    """Images and clinical variables, late fusion.

    Attributes:
        model: fused score; its branches are "images" and "clinical".
        weights: of INPUTS, one pair a search: one from a validation part, or one a fold.
        thresholds: one a search.
        left_out: children of the clinical baseline's testing part whom the image model has no score of.
    """

    model: Model
    weights: tuple[tuple[float, ...], ...]
    thresholds: tuple[float, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class AddedValue:
    """What the images change, on the same children.

    Attributes:
        controlled, uncontrolled: children compared.
        clinical_auc, combined_auc: of each.
        difference: images + clinical minus clinical alone, DeLong.
        text: the same in words.
    """

    controlled: int
    uncontrolled: int
    clinical_auc: float
    combined_auc: float
    difference: AucDifference
    text: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "difference": self.difference.to_dict()}


def fuse_on_validation(
    validation: Model, testing: Model, clinical: SplitBaseline, *, name: str = "images + clinical", step: float = 0.1
) -> Combined:
    """Weights and threshold from the validation part, scores of the testing part.

    Args:
        validation, testing: what the image model said of the two parts.
        clinical: learned from the training part alone.
        name: of the fused model.
        step: of the weights' grid.

    Raises:
        InputError: a part has no child whom both have scored, or not of both outcomes; a child is in both parts.
    """
    both = sorted(set(validation.subjects) & set(testing.subjects))
    if both:
        raise InputError(
            f"{', '.join(both[:10])} are in the image model's validation and testing predictions",
            expected="two parts without a common child",
            remedy="Give the predictions of the two parts of one datalist.",
        )
    found_on, found_labels, _ = _pair(validation, clinical.validation, "validation")
    scored, _, subjects = _pair(testing, clinical.testing, "testing")
    search = search_weights(found_on, found_labels, step=step)
    threshold = search_threshold(fuse(found_on, search.weights), found_labels).threshold
    fused = fuse(scored, search.weights)
    model = _fused_model(testing.of(subjects), name, scored, fused, np.full(fused.size, threshold))
    left_out = tuple(sorted(set(clinical.testing.subjects) - set(subjects)))
    return Combined(model, (search.weights,), (threshold,), left_out)


def fuse_across_folds(
    images: Model, clinical: Model, *, name: str = "images + clinical", folds: int = 5, seed: int = 0, step: float = 0.1
) -> Combined:
    """Weights and threshold of each fold from the other folds: where there are no predictions for a validation part.

    Args:
        images, clinical: of the same children, each scored by models that did not know the child.
        name: of the fused model.
        folds: stratified; the order of the rows does not matter.
        seed: of the folds.
        step: of the weights' grid.

    Raises:
        InputError: no child in common, or an outcome has fewer children than folds.
    """
    scored, labels, subjects = _pair(images, clinical, "testing")
    controlled = int(labels.sum())
    if not 2 <= folds <= min(controlled, labels.size - controlled):
        raise InputError(
            f"{controlled} controlled and {labels.size - controlled} uncontrolled children, {folds} folds",
            expected="2 folds or more, each with a child of both outcomes",
            remedy="Give fewer folds, or predictions of more children.",
        )
    (fold,) = stratified_folds(labels, folds=folds, repeats=1, seed=seed)
    fused, thresholds, weights, cuts = np.empty(labels.size), np.empty(labels.size), [], []
    for number in range(folds):
        held_out = fold == number
        search = search_weights(scored[~held_out], labels[~held_out], step=step)
        cut = search_threshold(fuse(scored[~held_out], search.weights), labels[~held_out]).threshold
        fused[held_out], thresholds[held_out] = fuse(scored[held_out], search.weights), cut
        weights.append(search.weights)
        cuts.append(cut)
    model = _fused_model(images.of(subjects), name, scored, fused, thresholds)
    left_out = tuple(sorted(set(clinical.subjects) - set(subjects)))
    return Combined(model, tuple(weights), tuple(cuts), left_out)


def added_value(clinical: Model, combined: Model, *, level: float = 0.95) -> AddedValue:
    """Images + clinical against clinical alone, on the children that both have, by DeLong's paired test.

    Raises:
        InputError: they have no child in common, or not of both outcomes.
    """
    pair, labels, _ = _pair(combined, clinical, "testing")
    difference = delong_test(labels, pair[:, 0], pair[:, 1], level=level)
    after, before = (auc(labels, column) for column in pair.T)
    controlled = int(labels.sum())
    text = in_words(difference, before=before, after=after, n=labels.size)
    return AddedValue(controlled, labels.size - controlled, before, after, difference, text)


def in_words(difference: AucDifference, *, before: float, after: float, n: int) -> str:
    """What follows from the numbers, and no more.

    Args:
        difference: images + clinical minus clinical alone.
        before: AUC of the clinical variables alone.
        after: AUC of both.
        n: children.
    """
    change = difference.difference
    head = f"On {n} children, adding the images to the clinical variables"
    aucs = f"from {before:.3f} to {after:.3f}"
    undecided = "these data do not show that images add anything"
    if difference.interval is None or difference.p is None:
        moved = f"changed the AUC {aucs}" if change else f"left the AUC at {before:.3f}"
        return f"{head} {moved}. The change cannot be tested ({difference.reason}): {undecided}."
    low, high = difference.interval
    verb = "raised" if low > 0 else "lowered" if high < 0 else "changed"
    numbers = f"{change:+.3f} ({100 * difference.level:g} % {low:+.3f} to {high:+.3f}, p {p_value(difference.p)})"
    start = f"{head} {verb} the AUC {aucs}, by {numbers}:"
    if low > 0:
        small = f", though by less than {SMALL:g}" if high < SMALL else ""
        return f"{start} in these data the images add to the clinical variables{small}."
    if high < 0:
        return f"{start} in these data the score is worse with the images than without them."
    if low > -SMALL and high < SMALL:
        return f"{start} {undecided}; whatever they change is less than {SMALL:g} either way."
    return f"{start} {undecided}, nor that they add nothing."


def _pair(images: Model, clinical: Model, part: str) -> tuple[NDArray[np.float64], NDArray[np.int64], tuple[str, ...]]:
    """Scores (N, 2) of the children whom both have, in the order of their names, their labels and names."""
    subjects = tuple(sorted(set(images.subjects) & set(clinical.subjects)))
    if not subjects:
        raise InputError(
            f"{images.name} and {clinical.name} have no child of the {part} part in common",
            expected="predictions of the same children",
            remedy="Give the predictions that were made with the datalist that the clinical baseline was made with.",
        )
    first, second = images.of(subjects), clinical.of(subjects)
    if (first.labels != second.labels).any():
        at = subjects[int(np.argmax(first.labels != second.labels))]
        raise InputError(
            f"{images.name} and {clinical.name} have different outcomes",
            expected="one outcome a child",
            remedy="Read both with the same participants.tsv.",
            case=at,
        )
    return np.column_stack([first.scores, second.scores]), first.labels, subjects


def _fused_model(
    images: Model, name: str, scored: NDArray[np.float64], fused: NDArray[np.float64], thresholds: NDArray[np.float64]
) -> Model:
    return replace(
        images,
        name=name,
        scores=fused,
        branches={part: scored[:, column] for column, part in enumerate(INPUTS)},
        decisions=(fused >= thresholds).astype(np.int64),
        thresholds=thresholds,
        calibrated=None,  # the images' alone was
    )
