"""Tubers, cysts, subependymal nodules and migration lines: where they lie, how large they are, what they are made of.

A tuber is a blob of cortex with a wedge below it that narrows towards the ventricle, its border irregular and softer in the
white matter. Sizes are mm in the subject, not in the stored head. How the latents are made visible is this project's own
choice (monotone in each latent):

- count: negative-binomial quantile, mean 18.4, SD 11.8 (Table 1 of Zhao et al. 2026);
- size: median radius 6 mm x exp(0.40 z), and 20 % from tuber to tuber;
- cyst share: expit(-1.6 + 1.7 z), the share of tubers that hold a cyst, by which they are swollen to 1.2 times the radius;
- contrast: T2 124 ms, SD 13 ms, of which 90 % between subjects, and 4 % of proton density a SD;
- nodules: Poisson quantile, mean 6.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import expit, ndtr

from scripts.phantom.anatomy import Anatomy
from scripts.phantom.head import Float32, Float64
from scripts.phantom.mri import CYST, NODULE, TUBER, Tissue
from scripts.phantom.outcome import Latents

COUNT_MEAN, COUNT_SD, COUNT_MAX = 18.4, 11.8, 60
NODULES_MEAN = 6.0
RADIUS_MM, RADIUS_SD_SUBJECT, RADIUS_SD_TUBER = 6.0, 0.40, 0.20
CYST_SWELLING = 1.2
TUBER_SPACING_MM = 11.0
T2_SD_MS = 13.0
PD_PER_SD = 0.04
T2_SHARE_SUBJECT = 0.9  # of the SD
MIGRATION_SHARE = 1 / 3

BRAIN, TUBER_LABEL, CYST_LABEL, NODULE_LABEL, LINE_LABEL = 1, 2, 3, 4, 5  # codes of the label volume; 0 is outside


@dataclass(frozen=True)
class Lesion:
    """One lesion on the anatomical grid.

    Attributes:
        box: the part of the grid it touches.
        share: fraction of each voxel that it replaces, float32 of the box's shape.
        label: its code.
        tissue: what it is made of.
    """

    box: tuple[slice, slice, slice]
    share: Float32
    label: int
    tissue: Tissue


def tuber_count(z: float) -> int:
    """Negative-binomial quantile of the latent."""
    size = COUNT_MEAN**2 / (COUNT_SD**2 - COUNT_MEAN)
    return int(min(stats.nbinom.ppf(ndtr(z), size, size / (size + COUNT_MEAN)), COUNT_MAX))


def nodule_count(z: float) -> int:
    """Poisson quantile of the latent."""
    return int(stats.poisson.ppf(ndtr(z), NODULES_MEAN))


def draw_lesions(rng: np.random.Generator, latents: Latents, anatomy: Anatomy, scale: float) -> list[Lesion]:
    """All lesions of a subject, in the order in which they are laid down: lines, tubers, cysts, nodules.

    Args:
        rng: the subject's own stream.
        latents: what the outcome depends on.
        anatomy: the head they are put in.
        scale: the subject's size relative to that head; lengths in mm are divided by it.
    """
    count = tuber_count(latents.tuber_count)
    radii = RADIUS_MM * np.exp(RADIUS_SD_SUBJECT * latents.tuber_size + RADIUS_SD_TUBER * rng.standard_normal(count))
    radii = np.clip(radii, 2.5, 14.0) / scale
    sites = _spread_sites(rng, anatomy, count, TUBER_SPACING_MM / scale)
    cysts = rng.permutation(count) < round(count * float(expit(-1.6 + 1.7 * latents.cyst_share)))
    radii = np.where(cysts, CYST_SWELLING * radii, radii)
    inner = np.sqrt(1 - T2_SHARE_SUBJECT**2) * rng.standard_normal(count)

    lines, tubers, holes = [], [], []
    for site, radius, cyst, own in zip(sites, radii[: len(sites)], cysts, inner, strict=False):
        z = T2_SHARE_SUBJECT * latents.tuber_contrast + own
        tissue = replace(
            TUBER, t2=max(TUBER.t2 + T2_SD_MS * float(z), 80.0), pd=TUBER.pd * float(np.exp(PD_PER_SD * z))
        )
        start = anatomy.tuber_sites[site].astype(float)
        towards = anatomy.inward[site] - start
        reach = float(np.linalg.norm(towards)) * anatomy.voxel_mm
        direction = towards / max(float(np.linalg.norm(towards)), 1e-6)
        tubers.append(_wedge(rng, anatomy, start, direction, radius, tissue))
        if cyst:
            middle = start + direction * 0.45 * radius / anatomy.voxel_mm
            holes.append(_ball(rng, anatomy, middle, rng.uniform(0.58, 0.76) * radius, CYST_LABEL, CYST))
        if rng.random() < MIGRATION_SHARE:
            lines.append(_line(anatomy, start, direction, reach - 2.0, tissue))

    nodules = []
    for _ in range(nodule_count(latents.nodules)):
        site = anatomy.nodule_sites[rng.integers(len(anatomy.nodule_sites))].astype(float)
        radius = float(np.clip(2.3 * np.exp(0.3 * rng.standard_normal()), 1.3, 5.0)) / scale
        nodules.append(_ball(rng, anatomy, site, radius, NODULE_LABEL, NODULE))
    return lines + tubers + holes + nodules


def label_volume(anatomy: Anatomy, lesions: list[Lesion]) -> NDArray[np.uint8]:
    """Codes on the anatomical grid: 0 outside, 1 brain, 2 tuber, 3 cyst, 4 nodule, 5 migration line."""
    codes = anatomy.brain.astype(np.uint8)
    for lesion in lesions:
        least = 0.3 if lesion.label == LINE_LABEL else 0.5
        view = codes[lesion.box]
        view[(lesion.share >= least) & (view > 0)] = lesion.label
    return codes


def _spread_sites(rng: np.random.Generator, anatomy: Anatomy, count: int, spacing: float) -> list[int]:
    """Random sites at least `spacing` mm apart; fewer than `count` where no more fit."""
    chosen: list[int] = []
    points = np.empty((0, 3))
    for site in rng.integers(len(anatomy.tuber_sites), size=4000):
        if len(chosen) == count:
            break
        point = anatomy.tuber_sites[site] * anatomy.voxel_mm
        if ((points - point) ** 2).sum(1).min(initial=np.inf) >= spacing**2:
            chosen.append(int(site))
            points = np.vstack([points, point])
    return chosen


def _patch(
    anatomy: Anatomy, low: Float64, high: Float64, origin: Float64
) -> tuple[tuple[slice, slice, slice], tuple[Float32, Float32, Float32]]:
    """The box between two voxel positions, cut to the grid, and x, y, z in mm from `origin` in it, open grids."""
    shape = np.array(anatomy.brain.shape)
    start = np.clip(np.floor(low), 0, shape - 1).astype(int)
    stop = np.clip(np.ceil(high) + 1, start + 1, shape).astype(int)
    box = (slice(start[0], stop[0]), slice(start[1], stop[1]), slice(start[2], stop[2]))
    x, y, z = (
        ((np.arange(a, b) - o) * anatomy.voxel_mm).astype(np.float32)
        for a, b, o in zip(start, stop, origin, strict=True)
    )
    return box, (x[:, None, None], y[None, :, None], z[None, None, :])


def _ripple(rng: np.random.Generator, grid: tuple[Float32, Float32, Float32], wavelength: float) -> Float32:
    """Smooth noise of unit amplitude: the sum of four plane waves, so that no border is a perfect sphere."""
    total = np.zeros(1, np.float32)
    for _ in range(4):
        k = rng.standard_normal(3)
        k *= 2 * np.pi / (wavelength * rng.uniform(0.7, 1.6) * np.linalg.norm(k))
        phase = rng.uniform(0, 2 * np.pi)
        total = total + np.sin(sum(np.float32(a) * g for a, g in zip(k, grid, strict=True)) + np.float32(phase))
    return np.asarray(total / 2, np.float32)


def _parenchyma(anatomy: Anatomy, box: tuple[slice, slice, slice]) -> Float32:
    """Fraction of each voxel that a tuber can replace: grey and white matter and the narrowed sulci within."""
    gm, wm, csf = (anatomy.maps[c][box].astype(np.float32) for c in range(3))
    share = np.clip((gm + wm + 0.35 * csf) / 255, 0, 1) * anatomy.tuber_region[box]
    return np.asarray(share, np.float32)


def _wedge(
    rng: np.random.Generator, anatomy: Anatomy, centre: Float64, direction: Float64, radius: float, tissue: Tissue
) -> Lesion:
    """A tuber: half an ellipsoid of cortex, below it a wedge that narrows over 2.2 radii."""
    length = 2.2 * radius
    tip = centre + direction * length / anatomy.voxel_mm
    margin = (1.3 * radius + 2) / anatomy.voxel_mm
    box, grid = _patch(anatomy, np.minimum(centre, tip) - margin, np.maximum(centre, tip) + margin, centre)
    x, y, z = grid
    along = x * np.float32(direction[0]) + y * np.float32(direction[1]) + z * np.float32(direction[2])
    across = np.sqrt(np.maximum(x**2 + y**2 + z**2 - along**2, 0))
    cap = np.sqrt(np.clip(1 - (np.minimum(along, 0) / radius) ** 2, 0, 1))
    narrowing = np.clip(1 - 0.85 * np.maximum(along, 0) / length, 0, 1) * (along < length)
    border = radius * cap * narrowing - across + 0.16 * radius * _ripple(rng, grid, 2.2 * radius)
    soft = 0.5 + 0.9 * np.clip(along / length, 0, 1)
    share = expit(border / soft) * (1 - 0.35 * np.clip(along / length, 0, 1)) * _parenchyma(anatomy, box)
    return Lesion(box, share.astype(np.float32), TUBER_LABEL, tissue)


def _ball(
    rng: np.random.Generator, anatomy: Anatomy, centre: Float64, radius: float, label: int, tissue: Tissue
) -> Lesion:
    """A cyst or a nodule: an irregular ball, clipped to the brain (a cyst also to the tubers' region)."""
    margin = (1.2 * radius + 2) / anatomy.voxel_mm
    box, grid = _patch(anatomy, centre - margin, centre + margin, centre)
    distance = np.sqrt(grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2)
    border = radius - distance + 0.12 * radius * _ripple(rng, grid, 2 * radius)
    inside = anatomy.brain[box] if label == NODULE_LABEL else _parenchyma(anatomy, box)
    return Lesion(box, (expit(border / 0.4) * inside).astype(np.float32), label, tissue)


def _line(anatomy: Anatomy, centre: Float64, direction: Float64, length: float, tissue: Tissue) -> Lesion:
    """A radial migration line from the tuber to the ventricle, 2.4 mm thick, at half strength."""
    tip = centre + direction * length / anatomy.voxel_mm
    box, (x, y, z) = _patch(anatomy, np.minimum(centre, tip) - 3, np.maximum(centre, tip) + 3, centre)
    along = x * np.float32(direction[0]) + y * np.float32(direction[1]) + z * np.float32(direction[2])
    across = np.sqrt(np.maximum(x**2 + y**2 + z**2 - along**2, 0))
    wm = anatomy.maps[1][box].astype(np.float32) / 255
    share = 0.6 * expit((1.2 - across) / 0.3) * (along > 0) * (along < length) * wm
    return Lesion(box, share.astype(np.float32), LINE_LABEL, tissue)
