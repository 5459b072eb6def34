"""The scanner: slices of a real thickness on a grid of their own, band-limited in plane, with coil shading and noise.

A slice is the mean over sub-slices across its 5 mm; in plane the object is sampled finely and brought to the image matrix by
the Fourier series that the acquired k-space holds, with a smooth window, so that point spread, ringing and noise correlation
are those of a zero-filled acquisition. Grids are oblique and differ between FLAIR and T2w, voxel axes are L, P, S.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from scripts.phantom.anatomy import Anatomy
from scripts.phantom.head import Float32, Float64
from scripts.phantom.lesions import BRAIN, Lesion, label_volume
from scripts.phantom.mri import FLAIR, GREY, T2W, Sequence, head_signal, lesion_at_age, signal
from scripts.phantom.pose import Pose, rotation

THICKNESS_MM, SPACING_MM = 5.0, 6.0  # 1 mm gap
SNR = (35.0, 40.0)  # of adult grey matter
GREY_LEVEL = 320.0  # stored value of adult grey matter
LABEL_SHARE = 0.35  # of a voxel's thickness that a lesion must fill to be its label


@dataclass(frozen=True)
class Protocol:
    """A sequence and its grid.

    Attributes:
        suffix: BIDS suffix.
        sequence: timing.
        pixel_mm: edge of an image pixel.
        shape: columns (left-right), rows (front-back), slices.
        acquired_mm: edge of a pixel as acquired, before zero filling.
    """

    suffix: str
    sequence: Sequence
    pixel_mm: float
    shape: tuple[int, int, int]
    acquired_mm: float


PROTOCOLS = (
    Protocol("FLAIR", FLAIR, 0.7, (278, 328, 26), 0.85),  # 194 x 230 mm
    Protocol("T2w", T2W, 0.6, (416, 430, 27), 0.70),  # 250 x 258 mm
)


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


def draw_affine(rng: np.random.Generator, protocol: Protocol) -> Float64:
    """Voxel to scanner mm: axial, tilted back as planned on the corpus callosum, a few mm and degrees off every time."""
    angles = np.radians(np.array([-8.0, 0.0, 0.0]) + np.array([3.0, 1.0, 1.5]) * rng.standard_normal(3))
    axes = rotation(angles) @ np.diag([-protocol.pixel_mm, -protocol.pixel_mm, SPACING_MM])
    centre = np.array([1.0, 2.0, 1.5]) * rng.standard_normal(3)
    affine = np.eye(4)
    affine[:3, :3] = axes
    affine[:3, 3] = centre - axes @ ((np.array(protocol.shape) - 1) / 2)
    return affine


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
    scan = InPlane(protocol, fine, anatomy.voxel_mm, _movement(rng))
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
    image = np.hypot(image + _noise(rng, protocol, noise), _noise(rng, protocol, noise))
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


def _harmonics(pixels: int, protocol: Protocol, samples: int) -> Float64:
    """Orders of the Fourier series that were acquired over a field of view of that many pixels."""
    highest = min(int(pixels * protocol.pixel_mm / (2 * protocol.acquired_mm)), samples // 2 - 1)
    return np.arange(-highest, highest + 1, dtype=np.float64)


@lru_cache(maxsize=16)
def _series(
    pixels: int, samples: int, protocol: Protocol, grid_mm: float
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """From samples of the object to k-space, (k, samples), and from k-space to pixels of the image, (pixels, k).

    The window is Tukey's; with `grid_mm` it also makes up for the linear interpolation of a grid of that spacing.
    """
    k = _harmonics(pixels, protocol, samples)
    share = np.abs(k) / (k.max() + 1)
    window = 0.5 + 0.5 * np.cos(np.pi * np.clip((share - 0.7) / 0.3, 0, 1))
    if grid_mm:
        window *= np.minimum(1 / np.maximum(np.sinc(k / (pixels * protocol.pixel_mm) * grid_mm) ** 2, 1e-3), 1.7)
    into = np.exp(-2j * np.pi * np.outer(k, (np.arange(samples) + 0.5) / samples)) / samples
    out = np.exp(2j * np.pi * np.outer((np.arange(pixels) + 0.5) / pixels, k)) * window
    return into.astype(np.complex64), out.astype(np.complex64)


@dataclass(frozen=True)
class Movement:
    """The head's movement along the phase axis while k-space is filled: three slow waves.

    Attributes:
        size: mm, one a wave.
        waves: periods over the whole of k-space.
    """

    size: Float64
    waves: Float64


def _movement(rng: np.random.Generator) -> Movement:
    """Mostly below 0.2 mm; about one subject in ten moves half a millimetre or more."""
    size = 0.12 * np.exp(0.8 * rng.standard_normal())
    return Movement(size * np.abs(rng.standard_normal(3)), rng.uniform(1.5, 9.0, 3))


@dataclass(frozen=True)
class InPlane:
    """The in-plane encoding of a protocol: columns are the phase axis, which movement blurs, rows the readout."""

    protocol: Protocol
    samples: tuple[int, ...]
    grid_mm: float
    movement: Movement

    def __call__(self, seen: Float32, phase: float) -> Float32:
        """Image (C, R) of a slice sampled at (c, r); `phase` is where in its movement the head is, in radians."""
        columns, rows, _ = self.protocol.shape
        into, out = _series(columns, self.samples[0], self.protocol, self.grid_mm)
        readout = _real_series(rows, self.samples[1], self.protocol, self.grid_mm)
        k = _harmonics(columns, self.protocol, self.samples[0])
        waves = np.sin(np.outer(k / (2 * k.max()) * 2 * np.pi, self.movement.waves) + phase * np.array([1, 2, 3]))
        shift = waves @ self.movement.size / (columns * self.protocol.pixel_mm)  # in fields of view
        moved = np.exp(-2j * np.pi * k * shift).astype(np.complex64)
        half = seen @ readout.T  # (c, R)
        lines = (into.real @ half + 1j * (into.imag @ half)) * moved[:, None]
        real = out.real @ lines.real - out.imag @ lines.imag
        imaginary = out.real @ lines.imag + out.imag @ lines.real
        return np.asarray(np.hypot(real, imaginary), np.float32)


@lru_cache(maxsize=16)
def _real_series(pixels: int, samples: int, protocol: Protocol, grid_mm: float) -> Float32:
    """Both steps of `_series` in one matrix (pixels, samples), where nothing happens in between."""
    into, out = _series(pixels, samples, protocol, grid_mm)
    return np.ascontiguousarray((out @ into).real)


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


def _noise(rng: np.random.Generator, protocol: Protocol, sd: float) -> Float32:
    """One channel of Gaussian noise of the acquired k-space in the image, (slices, columns, rows)."""
    size = [round(n * protocol.pixel_mm / protocol.acquired_mm) for n in protocol.shape[:2]]
    raw = rng.standard_normal((protocol.shape[2], *size), np.float32)
    left, right = (_real_series(n, m, protocol, 0.0) for n, m in zip(protocol.shape[:2], size, strict=True))
    return np.asarray((left * np.float32(sd)) @ raw @ right.T, np.float32)
