"""Latents of a subject and the outcome that depends on them: the known truth of the synthetic cohort.

Five independent standard-normal latents drive what is seen in the images. The outcome is logistic in them,
`P(uncontrolled) = expit(intercept + effect * coefficients @ latents)`, with the intercept set so that 56 of 95 are
uncontrolled, as in Zhao et al. 2026, Table 1. The ideal-observer AUC therefore follows by integration over one normal variable.

Convention of the paper: label 1 = controlled, 0 = uncontrolled. Larger latents make "uncontrolled" more probable.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from scripts.errors import InputError

PREVALENCE_UNCONTROLLED = 56 / 95
BLOCK = 19  # subjects; 5 blocks hold 11 or 12 uncontrolled each and 56 together

LATENTS = ("tuber_count", "tuber_size", "cyst_share", "tuber_contrast", "nodules")
COEFFICIENTS = (0.14, 1.2, 0.9, 1.0, 0.2)  # log odds of "uncontrolled" per SD of the latent, preset `paper`


@dataclass(frozen=True)
class Preset:
    """How strongly the outcome depends on what is seen.

    Attributes:
        effect: factor on `COEFFICIENTS`; 0 makes the outcome independent of every latent.
        clinical_effect: whether age at MRI and the other variables of Table 1 depend on the outcome.
    """

    effect: float
    clinical_effect: bool


PRESETS: dict[str, Preset] = {
    "paper": Preset(effect=1.0, clinical_effect=True),
    "easy": Preset(effect=2.0, clinical_effect=True),
    "null": Preset(effect=0.0, clinical_effect=False),
}


@dataclass(frozen=True)
class Latents:
    """Independent standard-normal causes of what the images show."""

    tuber_count: float
    tuber_size: float
    cyst_share: float
    tuber_contrast: float
    nodules: float

    def to_dict(self) -> dict[str, float]:
        """Name -> value, of all latents."""
        return asdict(self)


def preset_named(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        InputError: there is no such preset.
    """
    if name not in PRESETS:
        raise InputError(f"preset {name!r}", expected=f"one of {', '.join(PRESETS)}", remedy="Choose one of them.")
    return PRESETS[name]


def spread(preset: Preset) -> float:
    """SD of the linear predictor."""
    return preset.effect * float(np.linalg.norm(COEFFICIENTS))


def normal_grid(points: int = 4001, reach: float = 8.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights, each of shape (points,), of a standard-normal variable: trapezoid rule, error far below 1e-9 here."""
    nodes = np.linspace(-reach, reach, points)
    weights = np.exp(-0.5 * nodes**2)
    return nodes, weights / weights.sum()


@lru_cache
def intercept(preset: Preset) -> float:
    """Log odds of "uncontrolled" at latents 0, so that the prevalence is 56/95."""
    nodes, weights = normal_grid()
    eta = spread(preset) * nodes
    return float(brentq(lambda b: weights @ expit(b + eta) - PREVALENCE_UNCONTROLLED, -5, 5, xtol=1e-12))


def probability_uncontrolled(latents: Latents, preset: Preset) -> float:
    """P(uncontrolled | latents)."""
    values = np.array([getattr(latents, name) for name in LATENTS])
    return float(expit(intercept(preset) + preset.effect * np.dot(COEFFICIENTS, values)))


def ideal_auc(preset: Preset) -> float:
    """AUC of an observer who knows the latents: P(score of an uncontrolled > score of a controlled), ties counted half."""
    nodes, weights = normal_grid()
    p = expit(intercept(preset) + spread(preset) * nodes)
    sick, well = weights * p, weights * (1 - p)
    sick, well = sick / sick.sum(), well / well.sum()
    below = np.cumsum(well) - 0.5 * well
    return float(sick @ below) if preset.effect else 0.5


def is_uncontrolled(index: int, seed: int) -> bool:
    """Outcome of subject `index` (from 0): blocks of 19 with 11 or 12 uncontrolled in seeded random order.

    Every prefix of the cohort is close to 56/95, 95 subjects hold exactly 56, and no subject depends on the cohort's size.
    """
    block, position = divmod(index, BLOCK)
    quota = (56 * (block + 1)) // 5 - (56 * block) // 5  # 11.2 a block
    order = np.random.default_rng(np.random.SeedSequence((seed, 19_000, block))).permutation(BLOCK)
    return bool(order[position] < quota)


def draw_latents(rng: np.random.Generator, uncontrolled: bool, preset: Preset) -> Latents:
    """Latents given the outcome, by rejection: exactly the conditional of the logistic model."""
    while True:
        latents = Latents(*rng.standard_normal(len(LATENTS)).tolist())
        if (rng.random() < probability_uncontrolled(latents, preset)) == uncontrolled:
            return latents
