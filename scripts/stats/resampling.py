"""What small samples do to an estimate: nested cross-validation, optimism, and test sets that are drawn anew.

All of it works on scores of children whom no network was trained on. What is found from the scores, and so can be
too good on the children it was found on, are the fusion weights and the operating threshold (`scripts.fusion`). They are
found inside each sample (`fusion_samples`).

Children are taken in the order of their names and draws are made within the classes, so that a result depends on the
seed and not on the order of rows, and two models of the same children get the same folds.

Sources: Varma S, Simon R, BMC Bioinformatics 2006;7:91 (nested cross-validation); Harrell FE, Lee KL, Mark DB, Stat Med
1996;15:361 (optimism by bootstrap); Airola A et al., Comput Stat Data Anal 2011;55:1828 (pooled AUCs of cross-validation
are biased downwards, means over folds are not).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.errors import InputError
from scripts.stats.draws import bootstrap_counts, stratified_draws, stratified_folds
from scripts.stats.fusion_samples import SampleSearch, sample_concordance, search_samples
from scripts.stats.metrics import check_probabilities
from scripts.stats.roc import check_scores, placements

METRICS = ("auc", "acc", "sensitivity", "specificity", "balanced_accuracy")
TEST, VALIDATION = (8, 11), (4, 5)  # controlled, uncontrolled in the paper's 7:1:2 split of 95 children

Floats = NDArray[np.float64]
Values = Mapping[str, Floats]  # of METRICS -> (R,)


@dataclass(frozen=True)
class Children:
    """Scores of children whom no network was trained on, in the order of their names; made by `in_order`.

    Attributes:
        labels: (N,) 1 = controlled, 0 = uncontrolled.
        branches: (N, M) probabilities of the modalities.
        fused: (N,) the model's own fused score.
        called: (N,) called controlled by the model itself.
    """

    labels: NDArray[np.int64]
    branches: Floats
    fused: Floats
    called: NDArray[np.bool_]


@dataclass(frozen=True)
class Nested:
    """Repeated stratified k-fold; weights and threshold found on each fold's training part, used on its held-out part.

    Attributes:
        pooled: metric -> (repeats,), all children's held-out scores and decisions together.
        mean: metric -> (repeats,), mean over the folds.
        weights: (repeats * folds, M) that were found.
        thresholds: (repeats * folds,) that were found.
    """

    folds: int
    repeats: int
    seed: int
    pooled: Values
    mean: Values
    weights: Floats
    thresholds: Floats

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the distributions by their mean, 2.5 % and 97.5 %."""
        return {
            "folds": self.folds,
            "repeats": self.repeats,
            "seed": self.seed,
            "pooled": {name: spread(values) for name, values in self.pooled.items()},
            "mean": {name: spread(values) for name, values in self.mean.items()},
            "thresholds": spread(self.thresholds),
            "weights": self.weights.mean(axis=0).tolist(),
        }


@dataclass(frozen=True)
class Optimism:
    """What weights and threshold achieve on the children they were found on, and by how much that is too good.

    Attributes:
        apparent: metric -> value on the children they were found on.
        optimism: metric -> (draws,) value on a bootstrap sample less that on all children, both with what was found on
            the bootstrap sample.
        corrected: metric -> apparent less the mean optimism.
    """

    draws: int
    seed: int
    apparent: Mapping[str, float]
    optimism: Values
    corrected: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "draws": self.draws,
            "seed": self.seed,
            "apparent": dict(self.apparent),
            "optimism": {name: float(values.mean()) for name, values in self.optimism.items()},
            "corrected": dict(self.corrected),
        }


@dataclass(frozen=True)
class Redrawn:
    """What test sets of the paper's size give when they are drawn anew from the same children.

    Attributes:
        test: controlled and uncontrolled children in a test set.
        validation: the same of the validation set on which weights and threshold were found; None where they are the
            model's own.
        values: metric -> (draws,).
    """

    draws: int
    seed: int
    test: tuple[int, int]
    validation: tuple[int, int] | None
    values: Values

    def share_from(self, metric: str, printed: float) -> float:
        """Share of the draws with at least a value that was printed with three digits."""
        return float((self.values[metric] >= printed - 0.0005).mean())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = {name: spread(values) for name, values in self.values.items()}
        return {"draws": self.draws, "seed": self.seed, "test": list(self.test), "values": values} | {
            "validation": None if self.validation is None else list(self.validation)
        }


def in_order(
    subjects: Sequence[str], labels: ArrayLike, *, branches: ArrayLike, fused: ArrayLike, decisions: ArrayLike
) -> Children:
    """Children in the order of their names.

    Args:
        subjects: (N,) names.
        labels: (N,), 0 or 1.
        branches: (N, M) probabilities; of a model without branches its score alone, (N, 1).
        fused: (N,) the model's own fused score.
        decisions: (N,) 1 = called controlled by the model itself.

    Raises:
        InputError: as of `roc.check_scores`; scores outside [0, 1]; other shapes; a name that is there twice.
    """
    scores, s, decided = np.asarray(branches, dtype=np.float64), np.asarray(fused), np.asarray(decisions)
    n = len(subjects)
    shapes = (scores.shape[:1], s.shape, decided.shape)
    if scores.ndim != 2 or not scores.size or shapes != ((n,),) * 3 or len(set(subjects)) != n:
        raise InputError(
            f"{n} names, {len(set(subjects))} of them distinct, branches {scores.shape}, scores {s.shape}, "
            f"decisions {decided.shape}",
            expected="one name and one row a child, one column a modality",
            remedy="Give each child once.",
        )
    for column in (s, *scores.T):
        y, checked = check_scores(labels, column)
        check_probabilities(checked)
    order = sorted(range(n), key=subjects.__getitem__)
    return Children(y[order], scores[order], s[order].astype(np.float64), decided[order] == 1)


def nested_cross_validation(children: Children, *, folds: int = 5, repeats: int = 200, seed: int = 0) -> Nested:
    """Weights and threshold found inside each fold's training part and applied to the children held out.

    The networks are not trained again: this is the honest estimate of what the searches add to given branch scores.

    Raises:
        InputError: fewer than 2 folds or 1 repeat, or a class with fewer children than folds.
    """
    y = children.labels
    fewest = int(min(y.sum(), (1 - y).sum()))
    if not 2 <= folds <= fewest or repeats < 1:
        raise InputError(
            f"{folds} folds, {repeats} repeats, {fewest} children in the smaller class",
            expected="2 folds or more, no more than children in the smaller class, 1 repeat or more",
            remedy="Give fewer folds, or more children.",
        )
    fold = stratified_folds(y, folds=folds, repeats=repeats, seed=seed)  # (repeats, N)
    held_out = (fold[:, None, :] == np.arange(folds)[:, None]).reshape(-1, y.size)  # (repeats * folds, N)
    found = search_samples(children.branches, y, (~held_out).astype(np.int64))
    own = np.arange(repeats)[:, None], fold, np.arange(y.size)  # each child in the fold that holds it out
    scores, decisions = found.scores.reshape(repeats, folds, -1)[own], found.decisions.reshape(repeats, folds, -1)[own]
    each = _performance(y, found, held_out.astype(np.int64))
    return Nested(
        folds,
        repeats,
        seed,
        pooled={"auc": _auc_by_row(y, scores), **_rates(y, decisions, np.ones_like(fold))},
        mean={name: values.reshape(repeats, folds).mean(axis=1) for name, values in each.items()},
        weights=found.grid[found.chosen],
        thresholds=found.thresholds,
    )


def optimism(children: Children, *, draws: int = 1000, seed: int = 0) -> Optimism:
    """Harrell's bootstrap: apparent performance less the mean optimism of `draws` samples, stratified by outcome."""
    y = children.labels
    everyone = np.ones((1, y.size), dtype=np.int64)
    apparent = _performance(y, search_samples(children.branches, y, everyone), everyone)
    counts = bootstrap_counts(y, draws=draws, seed=seed)
    found = search_samples(children.branches, y, counts)
    inside, outside = _performance(y, found, counts), _performance(y, found, np.repeat(everyone, draws, axis=0))
    excess = {name: inside[name] - outside[name] for name in METRICS}
    return Optimism(
        draws,
        seed,
        apparent={name: float(apparent[name][0]) for name in METRICS},
        optimism=excess,
        corrected={name: float(apparent[name][0] - excess[name].mean()) for name in METRICS},
    )


def redraw_test_sets(children: Children, *, draws: int = 2000, seed: int = 0) -> Redrawn:
    """Test sets of the paper's size, drawn anew, under the model's own fused scores and decisions.

    Drawn without replacement, as a split is: from 95 children, of whom 19 are a fifth, the values vary a tenth less than
    those of new children would.

    Raises:
        InputError: a class has no more children than a draw takes.
    """
    y = children.labels
    counts = stratified_draws(y, [TEST], draws=draws, seed=seed)[0]
    area = sample_concordance(y, children.fused, counts) / (2 * TEST[0] * TEST[1])
    called = np.broadcast_to(children.called, counts.shape)
    return Redrawn(draws, seed, TEST, None, {"auc": area, **_rates(y, called, counts)})


def redraw_splits(children: Children, *, draws: int = 2000, seed: int = 0) -> Redrawn:
    """As `redraw_test_sets`, weights and threshold found on a validation set of the paper's size drawn with each test set."""
    y = children.labels
    test, validation = stratified_draws(y, [TEST, VALIDATION], draws=draws, seed=seed)
    found = search_samples(children.branches, y, validation)
    return Redrawn(draws, seed, TEST, VALIDATION, _performance(y, found, test))


def spread(values: Floats) -> dict[str, float]:
    """Mean and the range of the middle 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def _performance(labels: NDArray[np.int64], found: SampleSearch, counts: NDArray[np.int64]) -> dict[str, Floats]:
    """Of the weights and thresholds found on R samples, on R others (R, N)."""
    pairs = np.empty(len(counts), dtype=np.int64)
    for candidate in np.unique(found.chosen):
        rows = np.flatnonzero(found.chosen == candidate)
        pairs[rows] = sample_concordance(labels, found.fused[candidate], counts[rows])
    controlled = counts @ labels
    area = pairs / (2 * controlled * (counts.sum(axis=1) - controlled))
    return {"auc": area, **_rates(labels, found.decisions, counts)}


def _rates(labels: NDArray[np.int64], called: NDArray[np.bool_], counts: NDArray[np.int64]) -> dict[str, Floats]:
    m, n = counts @ labels, counts @ (1 - labels)
    right_controlled, right_uncontrolled = (counts * called) @ labels, (counts * ~called) @ (1 - labels)
    sensitivity, specificity = right_controlled / m, right_uncontrolled / n
    return {
        "acc": (right_controlled + right_uncontrolled) / (m + n),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced_accuracy": (sensitivity + specificity) / 2,
    }


def _auc_by_row(labels: NDArray[np.int64], scores: Floats) -> Floats:
    """AUC of each row (R, N) of scores."""
    of_positives, of_negatives = placements(labels, scores)
    pairs: Floats = of_positives.sum(axis=1) / (2 * of_positives.shape[1] * of_negatives.shape[1])
    return pairs
