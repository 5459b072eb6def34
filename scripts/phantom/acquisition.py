"""The scan of a subject: slices of a real thickness, the exact mask and labels on the same grid, coil shading, noise.

A slice is the mean over sub-slices across its 5 mm, sampled finely in plane; `kspace` brings it to the image's matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy
from scripts.phantom.head import Float32, Float64
from scripts.phantom.kspace import InPlane, draw_movement, draw_noise
from scripts.phantom.lesions import BRAIN, Lesion, label_volume
from scripts.phantom.mri import GREY, head_signal, lesion_at_age, signal
from scripts.phantom.pose import Pose
from scripts.phantom.protocol import SPACING_MM, THICKNESS_MM, Protocol, draw_affine

SNR = (35.0, 40.0)  # of adult grey matter
GREY_LEVEL = 320.0  # stored value of adult grey matter
LABEL_SHARE = 0.35  # of a voxel's thickness that a lesion must fill to be its label


@dataclass(frozen=True)
class Acquired:
    """One image with its truth, all (columns, rows, slices).

    Attributes:
        image: stored values, uint16.
        brain: brain mask, uint8.
        lesions: 0 none, 1 tuber, 2 cyst, 3 nodule, 4 migration line, uint8.
        affine: voxel to scanner (RAS+) mm, (4, 4).
    """

    image: NDArray[np.uint16]
    brain: NDArray[np.uint8]
    lesions: NDArray[np.uint8]
    affine: Float64


@dataclass(frozen=True)
class Subject:
    """What lies in the scanner."""

    anatomy: Anatomy
    pose: Pose
    lesions: list[Lesion]
    months: float


def acquire(rng: np.random.Generator, subject: Subject, protocol: Protocol) -> Acquired:
    """Scan a subject with a protocol."""
    affine = draw_affine(rng, protocol)
    anatomy = subject.anatomy
    volume = head_signal(anatomy, protocol.sequence, subject.months, rng.uniform())
    for lesion in subject.lesions:
        value = signal(lesion_at_age(lesion.tissue, subject.months), protocol.sequence)
        volume[lesion.box] += lesion.share * (np.float32(value) - volume[lesion.box])
    codes = np.pad(label_volume(anatomy, subject.lesions), 1)  # outside the grid is outside the brain

    step = max(protocol.acquired_mm, 0.75 * anatomy.voxel_mm)
    fine = tuple(2 * round(n * protocol.pixel_mm / step / 2) for n in protocol.shape[:2])
    subs = 4 if anatomy.voxel_mm < 1.5 else 3
    scan = InPlane(protocol, fine, anatomy.voxel_mm, draw_movement(rng))
    offsets = ((np.arange(subs) + 0.5) / subs - 0.5) * THICKNESS_MM / SPACING_MM

    columns, rows, slices = protocol.shape
    image = np.empty((slices, columns, rows), np.float32)
    brain = np.empty(image.shape, np.uint8)
    lesions = np.empty(image.shape, np.uint8)
    for k in range(slices):
        coarse, spans = _coarse_points(subject, affine, protocol, k + offsets)  # (3, subs, c, r)
        points = _spread(coarse, spans, fine)
        image[k] = scan(_sample(volume, points), float(rng.uniform(0, 2 * np.pi)))
        brain[k], lesions[k] = _labels(codes, _spread(coarse, spans, (columns, rows)))

    unit = signal(GREY, protocol.sequence)
    image *= _shading(rng, protocol)
    noise = unit / rng.uniform(*SNR)
    image = np.hypot(image + draw_noise(rng, protocol, noise), draw_noise(rng, protocol, noise))
    stored = np.clip(np.rint(image * (GREY_LEVEL / unit)), 0, 4095).astype(np.uint16)
    # (slices, columns, rows) -> (columns, rows, slices)
    return Acquired(np.moveaxis(stored, 0, -1), np.moveaxis(brain, 0, -1), np.moveaxis(lesions, 0, -1), affine)


def _coarse_points(
    subject: Subject, affine: Float64, protocol: Protocol, heights: Float64
) -> tuple[Float64, tuple[Float64, Float64]]:
    """Voxel coordinates of the anatomical grid at a few points of a slice, every 10 mm: the warp is smooth.

    Returns:
        points (3, heights, c, r) and the pixel positions of c and r.
    """
    spans = tuple(np.linspace(0, n - 1, round(n * protocol.pixel_mm / 10)) for n in protocol.shape[:2])
    grid = np.stack(np.meshgrid(heights, *spans, indexing="ij"))  # (slice, column, row)
    voxels = grid[[1, 2, 0]].reshape(3, -1)
    scanner = affine[:3, :3] @ voxels + affine[:3, 3:]
    head = subject.pose.to_head(scanner)
    anatomy = subject.anatomy
    points = head / anatomy.voxel_mm + anatomy.centre[:, None]
    return points.reshape(3, *grid.shape[1:]), (spans[0], spans[1])


def _spread(coarse: Float64, spans: tuple[Float64, Float64], size: tuple[int, ...]) -> Float32:
    """Bilinear interpolation of coordinates onto `size` evenly spaced points of the field of view, (3, s, C, R)."""
    weights = []
    for span, count in zip(spans, size, strict=True):
        extent = span[-1] + 1  # pixels across the field of view
        where = (np.arange(count) + 0.5) * (extent / count) - 0.5
        position = np.clip(where / (span[1] - span[0]), 0, len(span) - 1 - 1e-6)
        low = position.astype(int)
        matrix = np.zeros((count, len(span)), np.float32)
        matrix[np.arange(count), low] = 1 - (position - low)
        matrix[np.arange(count), low + 1] = position - low
        weights.append(matrix)
    return np.asarray(weights[0] @ coarse.astype(np.float32) @ weights[1].T, np.float32)


def _sample(volume: Float32, points: Float32) -> Float32:
    """Mean over the sub-slices of the volume at points (3, s, C, R): (C, R). Only where the head can be."""
    seen = np.zeros(points.shape[2:], np.float32)
    inside = np.ones(points.shape[1:], bool)
    for axis, size in enumerate(volume.shape):
        inside &= (points[axis] > -1) & (points[axis] < size)
    where = ndimage.find_objects(inside.any(0).astype(np.uint8))
    for box in where:
        for sub in range(points.shape[1]):
            seen[box] += ndimage.map_coordinates(volume, points[(slice(None), sub, *box)], order=1)
    return seen / np.float32(points.shape[1])


def _labels(codes: NDArray[np.uint8], points: Float32) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Brain mask and lesion label of a slice from the nearest codes at its sub-slices; uses up points (3, s, C, R)."""
    index = np.zeros(points.shape[1:], np.int32)
    for axis, size in enumerate(codes.shape):
        np.clip(points[axis], -1, size - 2, out=points[axis])
        index *= size
        index += (points[axis] + np.float32(1.5)).astype(np.int32)  # the codes have a border of one voxel
    found = codes.ravel()[index]  # (s, C, R)
    if not found.any():
        return np.zeros(found.shape[1:], np.uint8), np.zeros(found.shape[1:], np.uint8)
    subs = len(found)
    brain = (2 * (found >= BRAIN).sum(0) >= subs).astype(np.uint8)
    label = np.zeros(brain.shape, np.uint8)
    affected = (found > BRAIN).sum(0) >= LABEL_SHARE * subs
    most = np.zeros(brain.shape, np.uint8)
    for code in np.unique(found[found > BRAIN]):
        count = (found == code).sum(0).astype(np.uint8)
        better = count > most
        label[better], most[better] = code - BRAIN, count[better]
    return brain, label * affected * brain


def _working_shape(protocol: Protocol) -> tuple[int, int, int]:
    """Slices, columns, rows: the order in which slices are computed."""
    return protocol.shape[2], protocol.shape[0], protocol.shape[1]


def _shading(rng: np.random.Generator, protocol: Protocol) -> Float32:
    """Receive field of the coil after its normalisation: a smooth factor around 1, about +-12 %, (slices, columns, rows)."""
    control = (0.06 * rng.standard_normal((4, 4, 4))).astype(np.float32)
    steps = [np.linspace(0, 3, n) for n in _working_shape(protocol)]
    field = control
    for axis, where in enumerate(steps):  # separable cubic interpolation
        basis = ndimage.map_coordinates(np.eye(4), np.stack(np.meshgrid(where, np.arange(4), indexing="ij")), order=3)
        field = np.moveaxis(np.tensordot(basis.astype(np.float32), field, (1, axis)), 0, axis)
    return np.asarray(np.exp(field), np.float32)
