"""Clinical variables, drawn given the outcome so that Table 1 of Zhao et al. 2026 is met.

Age at MRI is log-normal, cut to the table's range; its SD is not published: 0.80 (log) makes the age alone reach an AUC near
0.69, which a simulation from the table gave. Age at onset is a Beta share of it, so that no child is scanned before onset.
All else is independent given the outcome: Table 1 says nothing about how the variables hang together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, ndtr, ndtri

from scripts.phantom.outcome import PREVALENCE_UNCONTROLLED, Preset, intercept, normal_grid, spread

EEG_REGIONS = (
    "left_frontal",
    "right_frontal",
    "left_temporal",
    "right_temporal",
    "left_parieto_occipital",
    "right_parieto_occipital",
)
LOG_AGE_SD = 0.80


@dataclass(frozen=True)
class Group:
    """One column of Table 1. Ages in months; shares as fractions."""

    male: float
    age_onset_mean: float
    age_onset_range: tuple[float, float]
    age_mri_mean: float
    age_mri_range: tuple[float, float]
    infantile_spasms: float
    gene: tuple[float, float, float]  # negative, TSC1, TSC2
    three_or_more_medications: float
    eeg: tuple[float, ...]  # in the order of EEG_REGIONS


CONTROLLED = Group(
    male=24 / 39,
    age_onset_mean=31.17,
    age_onset_range=(2, 156),
    age_mri_mean=57.88,
    age_mri_range=(6, 190),
    infantile_spasms=4 / 39,
    gene=(5 / 39, 10 / 39, 24 / 39),
    three_or_more_medications=17 / 39,
    eeg=(17 / 39, 18 / 39, 15 / 39, 16 / 39, 5 / 39, 9 / 39),
)
UNCONTROLLED = Group(
    male=30 / 56,
    age_onset_mean=10.34,
    age_onset_range=(0, 96),
    age_mri_mean=35.94,
    age_mri_range=(6, 151),
    infantile_spasms=30 / 56,
    gene=(3 / 56, 7 / 56, 46 / 56),
    three_or_more_medications=0.623,  # as printed: 36 of 56 would be 0.643, 33 of 53 fits
    eeg=(29 / 56, 27 / 56, 25 / 56, 20 / 56, 25 / 56, 14 / 56),
)


@dataclass(frozen=True)
class Clinical:
    """What the clinic knows of a subject. Ages in months."""

    sex: str
    age_mri_months: float
    age_onset_months: float
    infantile_spasms: int
    gene: str
    three_or_more_medications: int
    eeg: tuple[int, ...]

    def to_dict(self) -> dict[str, object]:
        """Column -> value, a column `eeg_REGION` each."""
        row = asdict(self)
        row.pop("eeg")
        return row | {f"eeg_{region}": value for region, value in zip(EEG_REGIONS, self.eeg, strict=True)}


@lru_cache
def _log_age_mean(group: Group) -> float:
    """Location of the log-normal whose mean after cutting to the range is the table's."""
    low, high = np.log(group.age_mri_range)

    def excess(mu: float) -> float:
        a, b = (low - mu) / LOG_AGE_SD, (high - mu) / LOG_AGE_SD
        mass = ndtr(b) - ndtr(a)
        mean = np.exp(mu + LOG_AGE_SD**2 / 2) * (ndtr(b - LOG_AGE_SD) - ndtr(a - LOG_AGE_SD)) / mass
        return float(mean - group.age_mri_mean)

    return float(brentq(excess, 0.0, 6.0))


def _age_density(log_age: NDArray[np.float64], group: Group) -> NDArray[np.float64]:
    """Density of the log age, zero outside the range."""
    low, high = np.log(group.age_mri_range)
    mu = _log_age_mean(group)
    mass = ndtr((high - mu) / LOG_AGE_SD) - ndtr((low - mu) / LOG_AGE_SD)
    inside = (log_age >= low) & (log_age <= high)
    z = (log_age - mu) / LOG_AGE_SD
    return np.asarray(inside * np.exp(-0.5 * z**2) / (LOG_AGE_SD * np.sqrt(2 * np.pi) * mass))


def ideal_auc_with_age(preset: Preset) -> float:
    """AUC of an observer who knows the latents and the age at MRI: the ceiling from images, since age shows in them.

    Latents and age are independent given the outcome, so the scores add: linear predictor plus the log likelihood ratio.
    """
    if not preset.clinical_effect:
        return 0.5
    nodes, weights = normal_grid(601)
    p = expit(intercept(preset) + spread(preset) * nodes)
    low, high = np.log(CONTROLLED.age_mri_range)
    ages = np.linspace(low, high, 400)
    sick_age, well_age = _age_density(ages, UNCONTROLLED), _age_density(ages, CONTROLLED)
    ratio = np.log(np.maximum(sick_age, 1e-12)) - np.log(np.maximum(well_age, 1e-12))
    score = (spread(preset) * nodes[:, None] + ratio[None]).ravel()
    sick = ((weights * p)[:, None] * sick_age[None]).ravel()
    well = ((weights * (1 - p))[:, None] * well_age[None]).ravel()
    order = np.argsort(score, kind="stable")
    sick, well = sick[order] / sick.sum(), well[order] / well.sum()
    return float(sick @ (np.cumsum(well) - 0.5 * well))


def draw_clinical(rng: np.random.Generator, uncontrolled: bool, preset: Preset) -> Clinical:
    """Clinical variables given the outcome; in a preset without clinical effect, given another, sham outcome."""
    sham = bool(rng.random() < PREVALENCE_UNCONTROLLED)
    group = UNCONTROLLED if (uncontrolled if preset.clinical_effect else sham) else CONTROLLED
    mu = _log_age_mean(group)
    low, high = ndtr((np.log(group.age_mri_range) - mu) / LOG_AGE_SD)
    age_mri = float(np.exp(mu + LOG_AGE_SD * ndtri(rng.uniform(low, high))))
    share = group.age_onset_mean / group.age_mri_mean
    age_onset = float(np.clip(age_mri * rng.beta(3 * share, 3 * (1 - share)), *group.age_onset_range))
    return Clinical(
        sex="M" if rng.random() < group.male else "F",
        age_mri_months=round(age_mri, 1),
        age_onset_months=round(min(age_onset, age_mri), 1),
        infantile_spasms=int(rng.random() < group.infantile_spasms),
        gene=("negative", "TSC1", "TSC2")[int(np.searchsorted(np.cumsum(group.gene)[:2], rng.random()))],
        three_or_more_medications=int(rng.random() < group.three_or_more_medications),
        eeg=tuple(int(rng.random() < share) for share in group.eeg),
    )
