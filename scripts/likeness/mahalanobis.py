"""How far a feature vector lies from those of the training cases: Mahalanobis' distance under probabilistic PCA.

Each feature is standardised by the training cases' mean and SD. The covariance of F features from N < F cases is singular;
probabilistic PCA gives one that is not: along the k first principal axes the variance l_i of the training cases, in every other
direction the mean s2 of what is left,

    d2(x) = sum_i (x . u_i)^2 / l_i + |residual|^2 / s2

Source: Mahalanobis PC, Proc Natl Inst Sci India 1936;2:49; Tipping ME, Bishop CM, J R Stat Soc B 1999;61:611; on a network's
features at several depths Lee K et al., NeurIPS 2018. No torch.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scripts.errors import InputError

COMPONENTS = 20  # at most; and ten training cases for each
STORED = 12_800  # numbers of the axes at most, 70 KB as text: ten axes of EfficientNet-B0's 1280 features
REMEDY = "Write it again: python -m scripts reference."
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Subspace:
    """The training cases' features.

    Attributes:
        mean, sd: (F,) float32.
        axes: (k, F) float32, u_i / sqrt(l_i): a training case has variance 1 along each.
        spread: (k,) l_i.
        residual: s2, the variance along every other direction.
    """

    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    axes: NDArray[np.float32]
    spread: Vector
    residual: float

    def distance(self, features: NDArray[np.float32]) -> Vector:
        """(N, F) -> (N,): the square root of d2.

        Raises:
            InputError: another number of features, or one that is not finite.
        """
        x = np.asarray(features, dtype=np.float64)
        if x.ndim != 2 or x.shape[1] != self.mean.size or not np.isfinite(x).all():
            found = f"features of shape {x.shape}" if np.isfinite(x).all() else "features that are not finite"
            raise InputError(found, expected=f"(N, {self.mean.size}), finite", remedy="Take the weights' own network.")
        centred = (x - self.mean) / self.sd
        along = centred @ self.axes.T.astype(np.float64)  # (N, k)
        # The residual itself, not the difference of two squares: the axes' rounding would be larger than it.
        residual = centred - (along * self.spread) @ self.axes.astype(np.float64)  # (N, F)
        distance: Vector = np.sqrt((along**2).sum(axis=1) + (residual**2).sum(axis=1) / self.residual)
        return distance

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the vectors as base64 of little-endian float32, half of their digits' size."""
        return {
            "features": int(self.mean.size),
            "components": len(self.axes),
            "mean": _packed(self.mean),
            "sd": _packed(self.sd),
            "axes": _packed(self.axes),
            "spread": self.spread.tolist(),
            "residual": self.residual,
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Subspace:
        """What `to_dict` gave.

        Raises:
            InputError: it is damaged.
        """
        try:
            size, components = int(said["features"]), int(said["components"])
            mean, sd = (_unpacked(said[name], (size,)) for name in ("mean", "sd"))
            axes = _unpacked(said["axes"], (components, size))
            spread, residual = np.array(said["spread"], dtype=np.float64), float(said["residual"])
            sound = spread.shape == (components,) and bool((sd > 0).all()) and 0 < residual < np.inf
            if not (sound and all(bool(np.isfinite(part).all()) for part in (mean, sd, axes, spread))):
                raise ValueError("numbers that can't be")
        except (LookupError, TypeError, ValueError) as error:  # binascii.Error is a ValueError
            found = f"a damaged description of the features ({type(error).__name__}: {error})"
            raise InputError(found, expected="what a training writes", remedy=REMEDY) from error
        return cls(mean, sd, axes, spread, residual)


def fit_subspace(features: NDArray[np.float32]) -> Subspace:
    """The subspace of the training cases: as many components as there are tens of cases, `COMPONENTS` at most.

    Args:
        features: (N, F).

    Raises:
        InputError: fewer than three cases, features that are not finite, or that do not vary in more directions than are kept.
    """
    x = np.asarray(features, dtype=np.float64)
    if x.ndim != 2 or len(x) < 3 or not np.isfinite(x).all():
        found = f"features of shape {x.shape}" if np.isfinite(x).all() else "features that are not finite"
        raise InputError(found, expected="(N, F), N 3 or more, finite", remedy="Train on more cases.")
    x = x[np.lexsort(x.T[::-1])]  # the sums' last digits must not depend on the order of the cases
    mean, sd = x.mean(axis=0), x.std(axis=0, ddof=1)
    varies = sd > 1e-6 * np.abs(x).max()  # below it is float32's rounding
    kept = min(COMPONENTS, max(1, len(x) // 10), max(1, STORED // x.shape[1]), x.shape[1] - 1)
    if kept < 1 or varies.sum() <= kept:
        found = f"{varies.sum()} of {varies.size} features vary among {len(x)} cases"
        raise InputError(found, expected=f"more than {kept}", remedy="Train longer, or on more cases.")
    sd = np.maximum(
        sd, 1e-3 * np.median(sd[varies])
    )  # a feature that never fired is far off when it does, not infinitely
    mean, sd = mean.astype(np.float32), sd.astype(np.float32)
    _, singular, directions = np.linalg.svd((x - mean) / sd, full_matrices=False)
    variances = singular**2 / (len(x) - 1)
    left = float(variances[kept:].sum() / (x.shape[1] - kept))
    if not left > 1e-9:  # of a mean variance of 1
        found = f"the features of {len(x)} cases vary along {kept} directions alone"
        raise InputError(found, expected="more directions", remedy="Train on more cases.")
    spread = np.maximum(variances[:kept], left)
    signs = np.sign(directions[np.arange(kept), np.abs(directions[:kept]).argmax(axis=1)])  # the SVD leaves them open
    axes = directions[:kept] * (signs / np.sqrt(spread))[:, None]
    return Subspace(mean, sd, axes.astype(np.float32), spread, left)


def _packed(values: NDArray[np.float32]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    values = np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")
    return values.reshape(shape).astype(np.float32)
