"""A 3-D feature map as 2-D tensors: one for each plane along x while planes are large, one for all of them when they are small.

Large planes as tensors of their own need no slices, and a runtime that goes depth first keeps the few that it works on in the
cache. Small ones would cost more in operators than in arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.layers import Kernel, Layers

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Volume:
    """A feature map (1, C, D, H, W).

    Attributes:
        shape: (C, D, H, W).
        planes: D tensors (1, C, H, W), or one (D, C, H, W).
    """

    shape: tuple[int, int, int, int]
    planes: tuple[str, ...]

    @property
    def stacked(self) -> bool:
        """All planes are one tensor."""
        return len(self.planes) == 1 and self.shape[1] > 1

    def map(self, operation: Callable[[str], str]) -> Volume:
        """The same operation on every plane."""
        return Volume(self.shape, tuple(operation(plane) for plane in self.planes))


@dataclass(frozen=True)
class Kernel3d:
    """A 3-D convolution's constants: weight (C_out, C_in / group, kD, kH, kW), pads [front, top, left, back, bottom, right]."""

    weight: Array
    bias: Array | None
    strides: Sequence[int]
    pads: Sequence[int]
    group: int

    def slice(self, depth: int, *, bias: bool = True) -> Kernel:
        """The 2-D convolution of one position along the depth."""
        return self._flat(self.weight[:, :, depth], bias)

    def slab(self, first: int, last: int) -> Kernel:
        """The 2-D convolution over positions first ... last of a one-channel input, stacked as channels."""
        return self._flat(self.weight[:, 0, first : last + 1], True)

    def out_shape(self, shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """(C_in, D, H, W) -> (C_out, D', H', W')."""
        edges = [
            (edge + self.pads[axis] + self.pads[axis + 3] - self.weight.shape[axis + 2]) // self.strides[axis] + 1
            for axis, edge in enumerate(shape[1:])
        ]
        return (self.weight.shape[0], edges[0], edges[1], edges[2])

    def window(self, index: int, depth: int) -> list[tuple[int, int]]:
        """(input plane, position in the kernel) of all that output plane `index` sees of `depth` planes."""
        start = index * self.strides[0] - self.pads[0]
        return [(start + k, k) for k in range(self.weight.shape[2]) if 0 <= start + k < depth]

    def _flat(self, weight: Array, bias: bool) -> Kernel:
        _, top, left, _, bottom, right = self.pads
        return Kernel(weight, self.bias if bias else None, self.strides[1:], [top, left, bottom, right], self.group)


@dataclass(frozen=True)
class Convolution:
    """Writes 3-D convolutions of volumes.

    Args:
        layers: writes the 2-D operations.
        stack_below: planes of fewer voxels than this become one tensor.
    """

    layers: Layers
    stack_below: int

    def of_image(self, image: str, channel: int, shape: tuple[int, int, int, int], kernel: Kernel3d) -> Volume:
        """The convolution of one channel of the image (1, M, D, H, W), the planes that an output plane sees being its channels.

        Args:
            image: its planes as channels, (1, M * D, H, W): a view.
            channel: of M.
            shape: (1, D, H, W).
        """
        out, writer = kernel.out_shape(shape), self.layers.writer
        if out[2] * out[3] < self.stack_below:
            return Volume(out, (self._stacked_image(image, channel, shape, kernel),))
        planes = []
        for index in range(out[1]):
            window = kernel.window(index, shape[1])
            (first, k_first), (last, k_last) = window[0], window[-1]
            start, stop = (writer.integers([channel * shape[1] + edge]) for edge in (first, last + 1))
            slab = self.layers.cast(writer.node("Slice", image, start, stop, writer.integers([1])))  # (1, k, H, W)
            planes.append(self.layers.conv(slab, kernel.slab(k_first, k_last)))
        return self._volume(out, planes)

    def of_volume(
        self, volume: Volume, kernel: Kernel3d, *, addend: Volume | None = None, scale: str | None = None
    ) -> Volume:
        """The convolution of a volume, plus `addend`, of the input times `scale` (1, C): pointwise ones alone take the two."""
        out, (depth, height, width) = kernel.out_shape(volume.shape), kernel.weight.shape[2:]
        if depth == height == width == 1 and all(stride == 1 for stride in kernel.strides):
            addends = [None] * len(volume.planes) if addend is None else addend.planes
            pairs = zip(volume.planes, addends, strict=True)
            flat = kernel.slice(0)
            return Volume(out, tuple(self.layers.conv(x, flat, addend=y, scale=scale) for x, y in pairs))
        if volume.stacked:
            return Volume(out, (self._stacked(volume, kernel, out[1]),))
        planes = [self._chain(volume.planes, kernel, index) for index in range(out[1])]
        return self._volume(out, planes)

    def _chain(self, planes: Sequence[str], kernel: Kernel3d, index: int) -> str:
        """One output plane: the sum of the 2-D convolutions of the planes that it sees."""
        total = None
        for plane, k in kernel.window(index, len(planes)):
            total = self.layers.conv(planes[plane], kernel.slice(k, bias=total is None), addend=total)
        return str(total)

    def _stacked_image(self, image: str, channel: int, shape: tuple[int, int, int, int], kernel: Kernel3d) -> str:
        writer, (_, depth, height, width) = self.layers.writer, shape
        bounds = [writer.integers([edge]) for edge in (channel * depth, (channel + 1) * depth, 1)]
        planes = writer.node("Slice", image, *bounds)  # (1, D, H, W)
        planes = self.layers.cast(writer.node("Reshape", planes, writer.integers([depth, 1, height, width])))
        slab = writer.node(
            "Concat", *self._shifted(planes, kernel, kernel.out_shape(shape)[1]), axis=1
        )  # (D', kD, H, W)
        return self.layers.conv(slab, kernel.slab(0, kernel.weight.shape[2] - 1))

    def _stacked(self, volume: Volume, kernel: Kernel3d, depth: int) -> str:
        """The same of all planes at once: (D, C, H, W) -> (D', C', H', W'), the input shifted along the batch."""
        total = None
        for k, shifted in enumerate(self._shifted(volume.planes[0], kernel, depth)):
            total = self.layers.conv(shifted, kernel.slice(k, bias=total is None), addend=total)
        return str(total)

    def _shifted(self, planes: str, kernel: Kernel3d, depth: int) -> list[str]:
        """(D, C, H, W) -> for each position in the kernel, what it sees: (D', C, H, W)."""
        writer, stride, size = self.layers.writer, kernel.strides[0], kernel.weight.shape[2]
        pads = [kernel.pads[0], 0, 0, 0, kernel.pads[3], 0, 0, 0]
        padded = writer.node("Pad", planes, writer.integers(pads)) if any(pads) else planes
        ends = [(k, k + stride * (depth - 1) + 1, 0, stride) for k in range(size)]
        return [writer.node("Slice", padded, *(writer.integers([edge]) for edge in bounds)) for bounds in ends]

    def _volume(self, shape: tuple[int, int, int, int], planes: list[str]) -> Volume:
        if len(planes) > 1 and shape[2] * shape[3] < self.stack_below:
            return Volume(shape, (self.layers.writer.node("Concat", *planes, axis=0),))
        return Volume(shape, tuple(planes))
