"""The searches of `scripts.fusion` on many samples of the same children at once.

Resampling repeats the search of weights and threshold thousands of times. Here a sample is a row of counts: how often each
of the N children is in it (0 or 1 in a fold, 0, 1, 2, ... in a bootstrap sample). Weights, thresholds and the rules for
ties are those of `scripts.fusion`, to the last bit: what is compared in whole numbers there is here too; where rounding
could decide between the few candidates that are left, they are compared by the same exact sums as there.

Checked against `fusion.search_weights` and `fusion.search_threshold`, sample by sample, ties included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.errors import InputError
from scripts.fusion import fuse, simplex
from scripts.stats.metrics import check_probabilities
from scripts.stats.roc import check_scores

_CLOSE = 1e-12  # Brier scores nearer than this are summed exactly before one is preferred
_CLOSE_GAP = 2e-12  # gaps are compared to 12 digits
_ROWS = 256  # samples at a time, so that the arrays stay small

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class SampleSearch:
    """Weights and threshold found on each of R samples.

    Attributes:
        grid: (G, M) weight vectors that were tried.
        fused: (G, N) fused score of every child under each of them.
        chosen: (R,) row of the grid.
        thresholds: (R,) operating threshold.
        concordance: (R,) twice the Mann-Whitney U of the sample under the chosen weights.
    """

    grid: Floats
    fused: Floats
    chosen: NDArray[np.int64]
    thresholds: Floats
    concordance: NDArray[np.int64]

    @property
    def scores(self) -> Floats:
        """(R, N): every child's fused score under each sample's weights."""
        return self.fused[self.chosen]

    @property
    def decisions(self) -> NDArray[np.bool_]:
        """(R, N): called controlled by each sample's weights and threshold."""
        return self.scores >= self.thresholds[:, None]


def search_samples(scores: ArrayLike, labels: ArrayLike, counts: ArrayLike, *, step: float = 0.1) -> SampleSearch:
    """The weights and the threshold that `fusion.search_weights` and `search_threshold` find on each sample.

    Args:
        scores: (N, M) probabilities of the branches.
        labels: (N,), 0 or 1.
        counts: (R, N) whole numbers >= 0, how often each child is in each sample.
        step: of the grid of weights.

    Raises:
        InputError: as of `fusion.search_weights`; counts that do not fit; a sample with one class alone.
    """
    grid = simplex(np.asarray(scores).shape[-1], step)
    fused = np.stack([fuse(scores, weights) for weights in grid])  # (G, N)
    branches = np.asarray(scores, dtype=np.float64)
    y, _ = check_scores(labels, branches[:, 0])
    check_probabilities(branches)
    taken = check_counts(counts, y)
    pairs = np.stack([sample_concordance(y, row, taken) for row in fused], axis=1)  # (R, G)
    chosen = _choose(pairs, _Problem(y, branches, grid, fused, taken))
    thresholds = np.empty(len(taken))
    for candidate in np.unique(chosen):
        rows = np.flatnonzero(chosen == candidate)
        thresholds[rows] = sample_thresholds(y, fused[candidate], taken[rows])
    return SampleSearch(grid, fused, chosen, thresholds, pairs[np.arange(len(taken)), chosen])


def check_counts(counts: ArrayLike, labels: Labels) -> Counts:
    """Counts as (R, N) int64.

    Raises:
        InputError: another shape, no whole numbers >= 0, or a sample with one class alone.
    """
    c = np.asarray(counts)
    if c.ndim != 2 or c.shape[1] != labels.size or c.shape[0] == 0 or c.dtype.kind not in "iub" or (c < 0).any():
        raise InputError(
            f"counts have shape {c.shape} and type {c.dtype} for {labels.size} children",
            expected="whole numbers >= 0 of shape (R, N), R 1 or more",
            remedy="Give how often each child is in each sample.",
        )
    taken = c.astype(np.int64)
    controlled = taken @ labels
    alone = (controlled == 0) | (controlled == taken.sum(axis=1))
    if alone.any():
        raise InputError(
            f"sample {int(np.argmax(alone))} holds one class alone",
            expected="controlled and uncontrolled children in every sample",
            remedy="Draw within the classes.",
        )
    return taken


def sample_concordance(labels: Labels, scores: Floats, counts: Counts) -> NDArray[np.int64]:
    """`roc.concordance` of R samples (R, N) of children with one score (N,): AUC = this / (2 m n)."""
    order, starts = _groups(scores)
    controlled = labels[order]
    pairs = np.empty(len(counts), dtype=np.int64)
    for first in range(0, len(counts), _ROWS):
        sample = counts[first : first + _ROWS, order]
        p = np.add.reduceat(sample * controlled, starts, axis=1)  # (r, D): a column a distinct score, rising
        q = np.add.reduceat(sample * (1 - controlled), starts, axis=1)
        below = 2 * q.cumsum(axis=1) - q  # twice the uncontrolled below, and once those with the same score
        pairs[first : first + _ROWS] = (p * below).sum(axis=1)
    return pairs


def sample_thresholds(labels: Labels, scores: Floats, counts: Counts) -> Floats:
    """The threshold of `fusion.search_threshold` for R samples (R, N) of children with one fused score (N,)."""
    return np.concatenate(
        [_thresholds(labels, scores, counts[first : first + _ROWS]) for first in range(0, len(counts), _ROWS)]
    )


def _thresholds(labels: Labels, scores: Floats, counts: Counts) -> Floats:
    order, starts = _groups(scores)
    sample, controlled, values = counts[:, order], labels[order], scores[order][starts]
    p = np.add.reduceat(sample * controlled, starts, axis=1)  # (r, D)
    q = np.add.reduceat(sample * (1 - controlled), starts, axis=1)
    m, n = p.sum(axis=1, keepdims=True), q.sum(axis=1, keepdims=True)
    present = (p + q) > 0
    last = values.size  # stands for: no higher score in the sample
    here = np.where(present, np.arange(last), last)
    after = np.full_like(here, last)  # the next higher score that the sample holds
    after[:, :-1] = np.minimum.accumulate(here[:, ::-1], axis=1)[:, ::-1][:, 1:]
    candidate = present & (after < last)
    youden = np.where(candidate, (m - p.cumsum(axis=1)) * n + q.cumsum(axis=1) * m, -1)  # J · m n + m n
    gap = np.append(values, 0.0)[after] - values
    left = candidate & (youden == youden.max(axis=1, keepdims=True))
    left &= gap >= np.where(left, gap, -np.inf).max(axis=1, keepdims=True) - _CLOSE_GAP
    thresholds = np.full(len(counts), 0.5)  # of a sample whose scores are all equal
    for row in np.flatnonzero(candidate.any(axis=1)):
        at = np.flatnonzero(left[row])
        ranked = [_ranked(float(values[low]), float(values[after[row, low]])) for low in at]
        thresholds[row] = -max(ranked)[-1]
    return thresholds


def _ranked(low: float, high: float) -> tuple[float, float, float]:
    """The order of `fusion.search_threshold` among thresholds with the same Youden index; the last is -threshold."""
    middle = low + (high - low) / 2
    threshold = middle if middle > low else high
    return round(high - low, 12), -round(abs(threshold - 0.5), 12), -threshold


@dataclass(frozen=True)
class _Problem:
    labels: Labels
    branches: Floats  # (N, M)
    grid: Floats  # (G, M)
    fused: Floats  # (G, N)
    counts: Counts  # (R, N)


def _choose(pairs: NDArray[np.int64], problem: _Problem) -> NDArray[np.int64]:
    """Highest concordance, then lower Brier score; what rounding could decide, and further ties, one by one."""
    errors = problem.counts @ ((problem.fused - problem.labels) ** 2).T  # (R, N) @ (N, G) -> (R, G)
    errors /= problem.counts.sum(axis=1, keepdims=True)
    left = pairs == pairs.max(axis=1, keepdims=True)
    left &= errors <= np.where(left, errors, np.inf).min(axis=1, keepdims=True) + _CLOSE
    chosen: NDArray[np.int64] = left.argmax(axis=1)
    tied = np.flatnonzero(left.sum(axis=1) > 1)
    if tied.size:
        own = np.stack(
            [sample_concordance(problem.labels, c, problem.counts[tied]) for c in problem.branches.T], axis=1
        )
        for row, concordances in zip(tied, own.tolist(), strict=True):
            chosen[row] = _exactly(problem, np.flatnonzero(left[row]), problem.counts[row], concordances)
    return chosen


def _exactly(problem: _Problem, candidates: NDArray[np.intp], counts: Counts, own: list[int]) -> int:
    """The order of `fusion.search_weights` among candidates with the same concordance."""
    steps = round(1 / problem.grid.min())  # every grid holds a vector with the smallest weight
    children = np.repeat(np.arange(counts.size), counts)
    ranked = []
    for candidate in candidates.tolist():
        parts = np.rint(problem.grid[candidate] * steps).astype(int).tolist()
        error = math.fsum((problem.fused[candidate, children] - problem.labels[children]) ** 2) / children.size
        uneven = sum((len(parts) * k - steps) ** 2 for k in parts)
        ranked.append((-error, -uneven, sum(k * c for k, c in zip(parts, own, strict=True)), parts, candidate))
    return int(max(ranked)[-1])


def _groups(scores: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The order of the scores, and where in it each distinct one begins."""
    order = np.argsort(scores, kind="stable")
    rising = scores[order]
    return order, np.flatnonzero(np.r_[True, rising[1:] > rising[:-1]])
