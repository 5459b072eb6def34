"""Tissue to signal: the spin-echo equations, relaxation at 3 T, and myelination by age.

    T2-TSE: PD (1 - exp(-(TR - Tt) / T1)) exp(-TE / T2)
    FLAIR:  PD |1 - 2 exp(-TI / T1) + exp(-(TR - Tt) / T1)| exp(-TE / T2)

with Tt the length of the echo train. All times in ms. The T2w sequence restores a part of the transverse magnetisation at the
end of the train (flip-back), which brightens fluid; FLAIR suppresses fat. Both are usual on the scanner of the paper, and both
are assumptions here.

Relaxation of young grey and white matter follows exp(-age / 11 months), later in the periphery and the frontal lobe, so that
the contrast between white and grey matter turns over in the first two years (Leppert 2009, Deoni 2012). The 11 months, the
amplitudes and the values of tubers, cysts and nodules are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scripts.phantom.anatomy import LAG_STEPS, Anatomy
from scripts.phantom.head import TISSUES, Float32, Float64


@dataclass(frozen=True)
class Tissue:
    """Relaxation times in ms, proton density relative to fluid, magnetisation left by the transfer of multislice TSE."""

    t1: float
    t2: float
    pd: float
    transfer: float = 1.0


GREY = Tissue(1400, 90, 0.82, 0.86)
WHITE = Tissue(880, 72, 0.70, 0.80)
FLUID = Tissue(4400, 1800, 1.0)
FAT = Tissue(370, 130, 0.9)
MUSCLE = Tissue(1410, 45, 0.75)
BONE = Tissue(900, 8, 0.15)
TUBER = Tissue(1500, 124, 0.77)
CYST = Tissue(3700, 450, 1.0)  # nearly fluid: dark in FLAIR within a bright rim
NODULE = Tissue(1000, 62, 0.75, 0.85)

# What is added to a newborn's tissue, times exp(-age / MYELINATION_MONTHS).
MYELINATION_MONTHS = 11.0
YOUNG_GREY = Tissue(500, 48, 0.06, 0.07)
YOUNG_WHITE = Tissue(1300, 115, 0.20, 0.15)


@dataclass(frozen=True)
class Sequence:
    """Timing of a sequence.

    Attributes:
        tr, te, ti: ms; ti is None without inversion.
        train: length of the echo train, ms.
        restore: share of the transverse magnetisation flipped back at the end of the train.
        fat: share of the fat signal that is left by its suppression.
    """

    tr: float
    te: float
    ti: float | None = None
    train: float = 200.0
    restore: float = 0.0
    fat: float = 1.0


FLAIR = Sequence(tr=9000, te=132, ti=2500, fat=0.1)
T2W = Sequence(tr=2790, te=93, restore=0.55)


def signal(tissue: Tissue, sequence: Sequence) -> float:
    """Magnitude of the signal relative to the proton density of fluid."""
    recovery = np.exp(-(sequence.tr - sequence.train) / tissue.t1)
    if sequence.ti is None:
        left = sequence.restore * np.exp(-sequence.train / tissue.t2)
        longitudinal = (1 - recovery) / (1 - recovery * left)
    else:
        longitudinal = abs(1 - 2 * np.exp(-sequence.ti / tissue.t1) + recovery)
    return float(tissue.pd * tissue.transfer * longitudinal * np.exp(-sequence.te / tissue.t2))


def immaturity(months: float, lag: Float64 | float = 0.0) -> Float64:
    """exp(-age / tau): 1 at birth, near 0 at school age; tau from 8.8 months in the depth to 13.2 where myelin comes last.

    Args:
        months: age.
        lag: 0 (early) to 1 (late).
    """
    return np.asarray(np.exp(-months / (MYELINATION_MONTHS * (0.8 + 0.4 * np.asarray(lag)))))


def at_age(adult: Tissue, young: Tissue, degree: float) -> Tissue:
    """Adult tissue with the share `degree` of what a newborn has more."""
    return Tissue(
        adult.t1 + degree * young.t1,
        adult.t2 + degree * young.t2,
        adult.pd + degree * young.pd,
        adult.transfer + degree * young.transfer,
    )


def lesion_at_age(tissue: Tissue, months: float) -> Tissue:
    """A lesion holds more water in an infant, else it would vanish in young white matter: 45 % longer T2 at birth (assumed)."""
    degree = float(immaturity(months, 0.5))
    return Tissue(tissue.t1 * (1 + 0.2 * degree), tissue.t2 * (1 + 0.45 * degree), tissue.pd, tissue.transfer)


def head_signal(anatomy: Anatomy, sequence: Sequence, months: float, pulsation: float = 0.0) -> Float32:
    """Signal of the head without lesions on the anatomical grid, (X, Y, Z).

    Args:
        anatomy: the head.
        sequence: timing.
        months: age.
        pulsation: strength 0 ... 1 of the fluid's flow artefact: lost signal in T2w, fluid that missed the inversion in FLAIR.
    """
    degrees = immaturity(months, np.linspace(0, 1, LAG_STEPS))
    by_lag = {
        "gm": np.array([signal(at_age(GREY, YOUNG_GREY, d), sequence) for d in degrees], np.float32),
        "wm": np.array([signal(at_age(WHITE, YOUNG_WHITE, d), sequence) for d in degrees], np.float32),
    }
    constant = {
        "csf": signal(FLUID, sequence),
        "vent": signal(FLUID, sequence),
        "fat": signal(FAT, sequence) * sequence.fat,
        "bone": signal(BONE, sequence),
        "muscle": signal(MUSCLE, sequence),
    }
    total = np.zeros(anatomy.brain.shape, np.float32)
    for share, name in zip(anatomy.maps, TISSUES, strict=True):
        if name in by_lag:
            total += by_lag[name][anatomy.lag] * share
        else:
            total += np.float32(constant[name]) * share
    flow = -0.6 * signal(FLUID, sequence) if sequence.ti is None else 0.15 * FLUID.pd
    total += np.float32(pulsation * flow) * anatomy.pulsation
    total *= 1 - anatomy.voids * np.float32(1 / 255)
    return total / np.float32(255)
