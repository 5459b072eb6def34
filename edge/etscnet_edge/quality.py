"""What one modality of a study looks like in numbers, and how unlike the training cohort that is, by the manifest's reference.

The same numbers as the bundle's own (`scripts.likeness`), by which the reference was made: intensities of the prepared image
inside the brain, geometry of the original grid. The distance of the network's features is not computed here.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge.errors import InputError

INSIDE = 1e-3  # of the range of intensities: more than rounding, less than tissue
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.50, "q75": 0.75, "q95": 0.95}
AXES = ("x", "y", "z")
SHOWN = 3  # statistics in a warning
Image = NDArray[np.float32]
Mask = NDArray[np.bool_]
Statistics = dict[str, float]


def judge(measured: Mapping[str, Statistics], reference: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What the result says of the study's statistics, and the warnings.

    Args:
        measured: modality -> its statistics.
        reference: of the manifest; {"reason": ...} where the weights have none.

    Returns:
        {"flagged", "p", "limit", "statistics": {modality: {statistic: {"value", "z", "flagged"}}}}, or
        {"flagged": None, "reason"}; and a sentence where it is flagged.

    Raises:
        InputError: a statistic of the reference that is not known here.
    """
    if "statistics" not in reference:
        return {"flagged": None, "reason": reference["reason"]}, []
    calibration, limit = reference["calibration"], reference["limit"]
    statistics: dict[str, dict[str, Any]] = {}
    for modality, summaries in reference["statistics"].items():
        unknown = set(summaries) - set(measured[modality])
        if unknown:
            found = f"the reference holds {sorted(unknown)}"
            raise InputError(found, expected="what is measured here", remedy="Update etscnet-edge.")
        values = measured[modality]
        statistics[modality] = {name: _judged(values[name], summary, limit) for name, summary in summaries.items()}
    score = max(abs(one["z"]) for values in statistics.values() for one in values.values())
    larger = len(calibration) - bisect.bisect_left(calibration, score)
    p = (1 + larger) / (len(calibration) + 1)
    quality = {"flagged": score > limit, "p": p, "limit": limit, "statistics": statistics}
    return quality, _sentences(quality, reference) if quality["flagged"] else []


def case_statistics(image: Image, spacing: Sequence[float], matrix: Sequence[int]) -> Statistics:
    """Every statistic of one modality, by name; see `scripts.likeness.quality` of the eTSC-Net repository for what each is.

    Args:
        image: (x, y, z), the prepared channel in [0, 1].
        spacing: (3,) mm, of the original voxels along x, y, z in RAS.
        matrix: (3,) original voxels along x, y, z in RAS.

    Raises:
        InputError: no voxel lies inside the brain.
    """
    inside = image > INSIDE
    if not inside.any():
        found, remedy = "the prepared image holds no brain", "Look at the images and the masks."
        raise InputError(found, expected=f"voxels above {INSIDE:g}", remedy=remedy)
    fov = [edge * voxel for edge, voxel in zip(matrix, spacing, strict=True)]
    share = float(inside.mean())
    box = tuple(_extent(inside, axis) for axis in range(3))  # less to go through
    image, inside = image[box], inside[box]
    values = image[inside].astype(np.float64)
    mean, spread = float(values.mean()), float(values.std())
    quantiles = np.quantile(values, list(QUANTILES.values()))
    return {
        "mean": mean,
        "sd": spread,
        **{name: float(value) for name, value in zip(QUANTILES, quantiles, strict=True)},
        "brain_share": share,
        "sharpness": _sharpness(image, inside, spread),
        "noise": _noise(image, inside),
        **{f"tilt_{name}": _tilt(image, inside, axis) for axis, name in enumerate(AXES)},
        **{f"voxel_{axis}_mm": float(edge) for axis, edge in zip(AXES, spacing, strict=True)},
        **{f"matrix_{axis}": float(edge) for axis, edge in zip(AXES, matrix, strict=True)},
        **{f"fov_{axis}_mm": float(edge) for axis, edge in zip(AXES, fov, strict=True)},
        "brain_grid_ml": share * float(np.prod(fov)) / 1000,
    }


def ras_grid(affine: NDArray[np.float64], shape: Sequence[int]) -> tuple[list[float], list[int]]:
    """Voxel edges (3,) in mm and voxels (3,) along the array's axes nearest to x, y, z of RAS."""
    from nibabel.orientations import io_orientation

    edges = np.linalg.norm(affine[:3, :3], axis=0)
    spacing, matrix = [0.0] * 3, [0] * 3
    for axis, ras in enumerate(io_orientation(affine)[:, 0].astype(int)):
        spacing[ras], matrix[ras] = float(edges[axis]), int(shape[axis])
    return spacing, matrix


def _judged(value: float, summary: Mapping[str, float], limit: float) -> dict[str, Any]:
    away = value - summary["q50"]
    z = away / summary["above" if away > 0 else "below"]
    return {"value": value, "z": z, "flagged": abs(z) > limit}


def _sentences(quality: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    flagged = []
    for modality, statistics in quality["statistics"].items():
        for name, one in statistics.items():
            if one["flagged"]:
                summary = reference["statistics"][modality][name]
                text = f"{modality} {name} {one['value']:.4g} (training {summary['min']:.4g} to {summary['max']:.4g})"
                flagged.append((-abs(one["z"]), text))
    furthest = [text for _, text in sorted(flagged)]
    more = f" and {len(furthest) - SHOWN} more" if len(furthest) > SHOWN else ""
    return [f"Unlike the training cohort (p = {quality['p']:.2g}): {', '.join(furthest[:SHOWN])}{more}."]


def _sharpness(image: Image, inside: Mask, spread: float) -> float:
    steps = []
    for axis in range(3):
        first, second = _shifted(axis, None, -1), _shifted(axis, 1, None)
        pairs = inside[first] & inside[second]
        if pairs.any():
            steps.append(float(np.abs(image[second][pairs] - image[first][pairs]).mean(dtype=np.float64)))
    return float(np.mean(steps)) / spread if steps and spread > 0 else 0.0


def _noise(image: Image, inside: Mask) -> float:
    low, middle, high = _shifted(0, None, -2), _shifted(0, 1, -1), _shifted(0, 2, None)
    all_three = inside[low] & inside[middle] & inside[high]
    triples = np.abs(image[low][all_three] - 2 * image[middle][all_three] + image[high][all_three])
    return float(np.median(triples)) / (0.6745 * 6**0.5) if triples.size else 0.0


def _tilt(image: Image, inside: Mask, axis: int) -> float:
    others = tuple(other for other in range(3) if other != axis)
    counts = inside.sum(axis=others, dtype=np.float64)  # (edge,) brain voxels of each plane
    sums = image.sum(axis=others, dtype=np.float64, where=inside)
    position = np.arange(counts.size, dtype=np.float64)
    position -= (counts * position).sum() / counts.sum()
    spread = float(np.sqrt((counts * position**2).sum() / counts.sum()))
    covariance = float((sums * position).sum() / counts.sum())  # the positions' mean is 0
    return covariance / (spread * float(sums.sum() / counts.sum())) if spread > 0 else 0.0


def _extent(inside: Mask, axis: int) -> slice:
    (planes,) = np.nonzero(inside.any(axis=tuple(other for other in range(3) if other != axis)))
    return slice(int(planes[0]), int(planes[-1]) + 1)


def _shifted(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    return tuple(slice(start, stop) if number == axis else slice(None) for number in range(3))
