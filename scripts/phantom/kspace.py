"""In-plane encoding: from a finely sampled slice to the image through the part of k-space that was acquired.

The Fourier series with a smooth window gives the point spread, ringing and noise correlation of a zero-filled acquisition; the
head's movement while the phase axis is encoded gives blur and ghosts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scripts.phantom.head import Float32, Float64
from scripts.phantom.protocol import Protocol


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


def draw_movement(rng: np.random.Generator) -> Movement:
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


def draw_noise(rng: np.random.Generator, protocol: Protocol, sd: float) -> Float32:
    """One channel of Gaussian noise of the acquired k-space in the image, (slices, columns, rows)."""
    size = [round(n * protocol.pixel_mm / protocol.acquired_mm) for n in protocol.shape[:2]]
    raw = rng.standard_normal((protocol.shape[2], *size), np.float32)
    left, right = (_real_series(n, m, protocol, 0.0) for n, m in zip(protocol.shape[:2], size, strict=True))
    return np.asarray((left * np.float32(sd)) @ raw @ right.T, np.float32)
