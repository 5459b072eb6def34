"""Fusion weights and threshold from score histograms: what a site may tell of its children's scores, and what follows from it.

A histogram counts the children of each outcome by their score: (..., 2, bins), [0] uncontrolled, [1] controlled. Sums over
sites are histograms of all their children. Where the bins lie is asked before (`Spread`): a young network's scores all lie within
0.01 of each other, and bins over [0, 1] would see one score. Sites tell number, sum and sum of squares, and the server lays the
bins over mean ± 3 SD of all of them, by row; what lies beyond is in the first or last bin. They are narrow at the mean and wide
at the ends (evenly spaced in the inverse hyperbolic sine): a few scores far out make the SD large, and most lie close together.

From a histogram everything is computed as if each child had the score in the middle of its bin. Pairs in different bins are
then in their true order, pairs in one bin count 1/2, which is wrong by 1/2 at most:

    |AUC of the histogram - AUC of the scores| <= sum_b p_b n_b / (2 m n)

with p_b of m controlled and n_b of n uncontrolled children in bin b: `bound`, known to the server exactly. A threshold on an
edge of a bin, or inside an empty one, decides on every child as it would on the true score.

What a histogram tells: with few children most bins hold none or one, so that it is the list of scores, rounded to a bin, by
outcome, without names; those of all weight vectors together nearly give each (unnamed) child's scores of both modalities. No
image and no name can be had from it. Fewer bins tell less, and `min_children` keeps small sites out.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.fusion import fuse, search_threshold, simplex
from scripts.stats.roc import auc, concordance

Counts = NDArray[np.int64]
Edges = NDArray[np.float64]  # (K, bins + 1), rising in each row
REACH = 3.0  # standard deviations at either side of the mean
FOCUS = 5.0  # the widest bin is cosh(5) = 74 times as wide as the narrowest, of which 50 have 0.008 SD
NARROWEST = 1e-6  # standard deviation: float32 scores tell no less apart


@dataclass(frozen=True)
class Spread:
    """Where a site's scores lie.

    Attributes:
        number: of children.
        total, squares: (K,) sums of the scores and of their squares.
    """

    number: int
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, scores: ArrayLike) -> Spread:
        """Of scores (N, K)."""
        s = np.asarray(scores, np.float64)
        return cls(len(s), s.sum(axis=0), (s**2).sum(axis=0))

    def to_message(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"number": self.number, "total": self.total.tolist(), "squares": self.squares.tolist()}

    def __add__(self, other: Spread) -> Spread:
        return Spread(self.number + other.number, self.total + other.total, self.squares + other.squares)

    def edges(self, bins: int) -> Edges:
        """Of the bins of each row."""
        mean = self.total / self.number
        deviation = np.maximum(np.sqrt(np.maximum(self.squares / self.number - mean**2, 0)), NARROWEST)
        places = REACH * np.sinh(FOCUS * np.linspace(-1, 1, bins + 1)) / np.sinh(FOCUS)
        return np.asarray(mean[:, None] + deviation[:, None] * places)


def understood_spread(message: Any, *, rows: int, number: int) -> Spread | str:
    """What a site said of the place of its scores, or why it cannot be used."""
    try:
        found = Spread(
            int(message["number"]), *(np.asarray(message[name], np.float64) for name in ("total", "squares"))
        )
    except (TypeError, KeyError, ValueError) as error:
        return f"nothing about its scores ({type(error).__name__})"
    sums = [found.total, found.squares]
    if found.number != number or any(one.shape != (rows,) or not ((one >= 0) & (one <= number)).all() for one in sums):
        return f"sums of scores that cannot be those of {number} children"
    return found


@dataclass(frozen=True)
class Told:
    """What a site tells of one part: no child's score, no name.

    Attributes:
        counts: (K, 2, bins) of K scores a child: of the branches, or of the fused score by weight vector.
        squared_error: (K,) sum over the children of (score - label)²: the Brier score's.
        log_loss: (K,) sum of the cross-entropies.
    """

    counts: Counts
    squared_error: NDArray[np.float64]
    log_loss: NDArray[np.float64]

    def to_message(self) -> dict[str, Any]:
        """Plain lists, for a message or JSON."""
        return {name: np.asarray(value).tolist() for name, value in vars(self).items()}

    def __add__(self, other: Told) -> Told:
        return Told(
            self.counts + other.counts,
            self.squared_error + other.squared_error,
            self.log_loss + other.log_loss,
        )


@dataclass(frozen=True)
class FederatedFusion:
    """Weights and threshold that all sites' histograms gave together.

    Attributes:
        weights, auc, brier: of the best candidate; the Brier score is exact.
        auc_bound: |auc - AUC of the scores themselves| at most.
        branch_auc, branch_auc_bound: of each modality by itself.
        threshold, youden, sensitivity, specificity: as of `fusion.search_threshold`; exact for these children.
        children: (uncontrolled, controlled).
    """

    weights: tuple[float, ...]
    auc: float
    auc_bound: float
    brier: float
    branch_auc: tuple[float, ...]
    branch_auc_bound: tuple[float, ...]
    threshold: float
    youden: float
    sensitivity: float
    specificity: float
    bins: int
    children: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def tell(scores: ArrayLike, labels: ArrayLike, edges: ArrayLike) -> Told:
    """Histograms of K scores a child.

    Args:
        scores: (N, K) in [0, 1].
        labels: (N,), 0 or 1.
        edges: (K, bins + 1); a score on one belongs to the bin above it.
    """
    s, y, sides = np.asarray(scores, np.float64), np.asarray(labels, np.int64), np.asarray(edges, np.float64)
    counts = np.zeros((s.shape[1], 2, sides.shape[1] - 1), np.int64)
    for column, row in enumerate(sides):
        np.add.at(counts[column], (y, np.searchsorted(row[1:-1], s[:, column], side="right")), 1)
    right = np.where(y[:, None] == 1, s, 1 - s)
    return Told(counts, ((1 - right) ** 2).sum(axis=0), -np.log(np.maximum(right, np.finfo(float).tiny)).sum(axis=0))


def fused_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """The fused score for every weight vector of the search's grid (`fusion.simplex`), in its order: (N, M) -> (N, K)."""
    s = np.asarray(scores, np.float64)
    return np.stack([fuse(s, weights) for weights in simplex(s.shape[1])], axis=1)


def understood(message: Any, *, rows: int, bins: int, children: tuple[int, int]) -> Told | str:
    """What a site told, or why it cannot be used.

    Args:
        message: of `Told.to_message`.
        rows: K.
        bins: of a histogram.
        children: (uncontrolled, controlled) that the site declared.
    """
    try:
        told = Told(
            np.asarray(message["counts"]),
            np.asarray(message["squared_error"], np.float64),
            np.asarray(message["log_loss"], np.float64),
        )
    except (TypeError, KeyError, ValueError) as error:
        return f"no histogram ({type(error).__name__})"
    if told.counts.shape != (rows, 2, bins) or told.counts.dtype.kind != "i" or (told.counts < 0).any():
        return f"a histogram of {told.counts.dtype} {told.counts.shape}, not of counts {(rows, 2, bins)}"
    if (told.counts.sum(axis=2) != np.array(children)).any():
        return (
            f"a histogram of other children than the {children[1]} controlled and {children[0]} uncontrolled declared"
        )
    sums = np.stack([told.squared_error, told.log_loss])
    return told if sums.shape == (2, rows) and np.isfinite(sums).all() else "losses that are no finite numbers"


def middles(counts: Counts, edges: ArrayLike | None = None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and scores (N,) of one histogram's children, each in the middle of its bin: (2, bins) -> (N,), (N,).

    Without edges (bins + 1,) the scores are the bins' numbers: their order is all that an AUC needs.
    """
    sides = np.arange(counts.shape[1] + 1.0) if edges is None else np.asarray(edges, np.float64)
    scores = np.concatenate([np.repeat((sides[:-1] + sides[1:]) / 2, row) for row in counts])
    return np.repeat(np.arange(2), counts.sum(axis=1)), scores


def bound(counts: Counts) -> float:
    """How far the AUC of one histogram (2, bins) can be from that of the scores."""
    m, n = counts.sum(axis=1)[[1, 0]].tolist()
    return float((counts[0] * counts[1]).sum() / (2 * m * n))


def search(fused: Told, branches: Told, edges: ArrayLike) -> FederatedFusion:
    """Weights and threshold by the rules of `fusion.search_weights` and `fusion.search_threshold`, from sums over sites.

    Args:
        fused: of all weight vectors of the grid (`fused_scores`).
        branches: of the M modalities.
        edges: (K, bins + 1) of the fused histograms.

    Raises:
        InputError: all children are of one outcome.
    """
    modalities, bins = len(branches.counts), branches.counts.shape[2]
    grid, sides = simplex(modalities), np.asarray(edges, np.float64)
    children = branches.counts[0].sum(axis=1)
    own = [concordance(*middles(row)) for row in branches.counts]
    rank = [
        (
            concordance(*middles(row)),
            -round(float(error), 12),
            -round(float(((weights - 1 / modalities) ** 2).sum()), 12),
            round(float(weights @ own), 6),
            weights.tolist(),
        )
        for row, error, weights in zip(fused.counts, fused.squared_error, grid, strict=True)
    ]
    best = max(range(len(rank)), key=rank.__getitem__)
    labels, scores = middles(fused.counts[best], sides[best])
    found = search_threshold(scores, labels)
    return FederatedFusion(
        weights=tuple(grid[best].tolist()),
        auc=auc(labels, scores),
        auc_bound=bound(fused.counts[best]),
        brier=float(fused.squared_error[best] / children.sum()),
        branch_auc=tuple(auc(*middles(row)) for row in branches.counts),
        branch_auc_bound=tuple(bound(row) for row in branches.counts),
        threshold=_between_bins(found.threshold, fused.counts[best], sides[best]),
        youden=found.youden,
        sensitivity=found.sensitivity,
        specificity=found.specificity,
        bins=bins,
        children=(int(children[0]), int(children[1])),
    )


def _between_bins(threshold: float, counts: Counts, edges: NDArray[np.float64]) -> float:
    """The middle of what lies between the filled bins at both sides of a threshold: an edge, or a place in empty bins.

    A midpoint of two bins' middles lies inside the wider of them, and would part its children. Where one bin is filled alone
    there is nothing between: the threshold stays.
    """
    filled = np.flatnonzero(counts.sum(axis=0))
    centres = (edges[filled] + edges[filled + 1]) / 2
    above = int(np.searchsorted(centres, threshold))
    if not 0 < above < filled.size:
        return threshold
    return float((edges[filled[above - 1] + 1] + edges[filled[above]]) / 2)
