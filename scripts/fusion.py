"""Late fusion, and the search of its weights and of the operating threshold, on the validation split alone.

Conventions: `scores` (N, M) are the branches' probabilities, one column a modality; `weights` (M,) have sum 1; `labels`
(N,) are 1 = controlled, 0 = uncontrolled; a case is called controlled if its fused score >= threshold.

Source: Zhao et al., Sci Rep 16:8410 (2026), Eq. 1 (two modalities: S = w1 T2w + w2 FLAIR, weights 0.1 ... 0.9 in steps
of 0.1, chosen on the validation set) and Eq. 2 (n modalities). The paper does not say how ties are broken. With nine
validation cases there are 20 pairs and many ties, so the rules are stated here, and none of them is the order of the
candidates.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scripts.errors import InputError
from scripts.stats.metrics import brier, check_probabilities
from scripts.stats.roc import auc, check_scores, concordance

_MOST = 1_000_000  # candidates; four modalities in steps of 0.1 have 84


@dataclass(frozen=True)
class Candidate:
    """One weight vector and what it achieves on the validation split."""

    weights: tuple[float, ...]
    auc: float
    brier: float


@dataclass(frozen=True)
class FusionSearch:
    """The best weights, and all that were tried."""

    weights: tuple[float, ...]
    auc: float
    brier: float
    branch_auc: tuple[float, ...]  # of each modality by itself
    table: tuple[Candidate, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class ThresholdSearch:
    """The operating threshold and what it achieves on the validation split."""

    threshold: float
    youden: float  # sensitivity + specificity - 1
    sensitivity: float
    specificity: float
    gap: float  # between the two neighbouring scores whose midpoint the threshold is; 0 where all scores are equal

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return asdict(self)


def simplex(modalities: int, step: float = 0.1) -> NDArray[np.float64]:
    """All weight vectors on the grid with every weight >= step and sum 1: shape (n, M); [[1.0]] for one modality.

    Each weight is k / steps with whole numbers k whose sum is steps = 1 / step, the float64 nearest to that decimal.
    """
    parts = _compositions(modalities, step)
    return np.array(parts, dtype=np.float64) / sum(parts[0])


def fuse(scores: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """S = Σ_m w_m · score_m: (N, M) and (M,) -> (N,) float64, in the network and here.

    Correctly rounded sums: the result does not depend on the order of the modalities, so neither do ties in the search.

    Raises:
        InputError: shapes that do not fit, a score that is not finite, weights that are negative or whose sum is not 1.
    """
    s, w = _matrix(scores), np.asarray(weights, dtype=np.float64)
    if w.shape != (s.shape[1],) or not np.isfinite(w).all() or (w < 0).any() or abs(w.sum() - 1) > 1e-6:
        raise InputError(
            f"weights are {w.tolist()} for scores of shape {s.shape}",
            expected="one weight a column, none negative, with sum 1",
            remedy="Give the weights in the order of the modalities.",
        )
    return np.array([math.fsum(row) for row in s * w])  # (N, M) -> (N,)


def search_weights(scores: ArrayLike, labels: ArrayLike, *, step: float = 0.1) -> FusionSearch:
    """The weights on the grid with the highest AUC of the fused score.

    Ties, in this order: lower Brier score of the fused score; smaller distance to equal weights; more weight on the
    modalities with the higher AUC of their own (the larger Σ w_m · AUC_m). What is still tied after that (with two
    modalities: both have the same AUC and, as follows from the ties before, the same Brier score) the validation split
    cannot tell apart: the first modality gets the larger weight, the only rule that looks at their order.

    Args:
        scores: (N, M) probabilities of the branches on the validation split.
        labels: (N,), 0 or 1.
        step: of the grid; 1 / step is a whole number.

    Raises:
        InputError: as of `roc.check_scores`; scores outside [0, 1]; a step that does not fit.
    """
    s = _matrix(scores)
    y, _ = check_scores(labels, s[:, 0])
    check_probabilities(s)
    grid = _compositions(s.shape[1], step)
    steps, m = sum(grid[0]), int(y.sum())
    own_concordance = [concordance(y, column) for column in s.T]

    table, rank = [], []
    for parts in grid:
        fused = fuse(s, np.array(parts) / steps)
        pairs, error = concordance(y, fused), brier(y, fused)
        table.append(Candidate(tuple(k / steps for k in parts), pairs / (2 * m * (y.size - m)), error))
        rank.append(
            (
                pairs,
                -error,
                -sum((s.shape[1] * k - steps) ** 2 for k in parts),
                sum(k * c for k, c in zip(parts, own_concordance, strict=True)),
                parts,
            )
        )
    best = table[max(range(len(rank)), key=rank.__getitem__)]
    return FusionSearch(best.weights, best.auc, best.brier, tuple(auc(y, column) for column in s.T), tuple(table))


def search_threshold(scores: ArrayLike, labels: ArrayLike) -> ThresholdSearch:
    """The threshold with the highest Youden index J = sensitivity + specificity - 1 (Youden WJ, Cancer 1950;3:32).

    Candidates: the midpoints between neighbouring distinct scores. Ties, in this order: the widest gap between the two
    scores (least likely to be crossed by a new case like these), nearest to 0.5, lower. All scores equal: they say
    nothing about a threshold, it is 0.5 with J = 0.

    Args:
        scores: (N,) fused scores on the validation split.
        labels: (N,), 0 or 1.

    Raises:
        InputError: as of `roc.check_scores`.
    """
    y, s = check_scores(labels, scores)
    m, n = int(y.sum()), int(y.size - y.sum())
    distinct = np.unique(s)
    ranked = []
    for low, high in zip(distinct[:-1].tolist(), distinct[1:].tolist(), strict=True):
        middle = low + (high - low) / 2
        threshold = middle if middle > low else high  # neighbouring floats have nothing between them
        tp, tn = int((s[y == 1] >= threshold).sum()), int((s[y == 0] < threshold).sum())
        gap = high - low
        # J in whole numbers, distances to 12 digits: ties are ties and not rounding.
        ranked.append(((tp * n + tn * m, round(gap, 12), -round(abs(threshold - 0.5), 12), -threshold), tp, tn, gap))
    if not ranked:
        positive = float(distinct[0] >= 0.5)
        return ThresholdSearch(0.5, 0.0, sensitivity=positive, specificity=1 - positive, gap=0.0)
    (youden, _, _, threshold), tp, tn, gap = max(ranked)
    return ThresholdSearch(-threshold, (youden - m * n) / (m * n), sensitivity=tp / m, specificity=tn / n, gap=gap)


def _compositions(modalities: int, step: float) -> list[tuple[int, ...]]:
    """All ways to write steps = 1 / step as an ordered sum of `modalities` whole numbers >= 1, in ascending order."""
    steps = round(1 / step) if step > 0 else 0
    if not (modalities >= 1 and steps >= modalities and math.isclose(steps * step, 1, rel_tol=1e-9)):
        raise InputError(
            f"{modalities} modalities with step {step}",
            expected="1 / step a whole number, no less than the number of modalities, which is 1 or more",
            remedy="Give step=0.1, or 1/20 = 0.05 for a finer grid.",
        )
    if math.comb(steps - 1, modalities - 1) > _MOST:
        raise InputError(
            f"{modalities} modalities with step {step} have {math.comb(steps - 1, modalities - 1)} weight vectors",
            expected=f"no more than {_MOST}",
            remedy="Give a larger step.",
        )
    cuts = combinations(range(1, steps), modalities - 1)
    return [tuple(b - a for a, b in zip((0, *cut), (*cut, steps), strict=True)) for cut in cuts]


def _matrix(scores: ArrayLike) -> NDArray[np.float64]:
    s = np.asarray(scores, dtype=np.float64)
    if s.ndim != 2 or s.size == 0:
        raise InputError(
            f"scores have shape {s.shape}",
            expected="(N, M), neither 0",
            remedy="Give one row a case, one column a modality.",
        )
    if not np.isfinite(s).all():
        raise InputError(
            f"scores hold a value that is not finite, at (case, modality) {np.argwhere(~np.isfinite(s))[0].tolist()}",
            expected="finite numbers",
            remedy="Leave failed cases out before.",
        )
    return s
