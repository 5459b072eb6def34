"""The 2-D operations that a lowered graph is made of, in ONNX's standard operators.

A plane is a tensor (N, C, H, W), a vector one value a channel, (1, C). `export.blocked` writes the same operations for ONNX
Runtime's blocked layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from export.graph import GraphWriter

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Kernel:
    """A 2-D convolution's constants.

    Attributes:
        weight: (C_out, C_in / group, kH, kW) float32.
        bias: (C_out,) or None.
        strides, pads: [H, W] and [top, left, bottom, right].
        group: 1, or the number of channels.
    """

    weight: Array
    bias: Array | None
    strides: Sequence[int]
    pads: Sequence[int]
    group: int

    def attributes(self) -> dict[str, Any]:
        """Those of an ONNX Conv."""
        return {
            "kernel_shape": list(self.weight.shape[2:]),
            "strides": list(self.strides),
            "pads": list(self.pads),
            "group": self.group,
        }


class Layers:
    """Writes operations on planes and vectors.

    Args:
        writer: takes the nodes.
        half: planes and their weights are float16. Means, vectors and everything behind them stay float32: a float16 sum over
            a large plane overflows.
        fold_scale: a squeeze-excite scale goes into the projection's weights (a small product) instead of onto its input
            (a pass over every voxel). Runtimes that want constant weights need False.
    """

    def __init__(self, writer: GraphWriter, *, half: bool = False, fold_scale: bool = True) -> None:
        self.writer, self.fold_scale = writer, fold_scale
        self.dtype = np.float16 if half else np.float32

    def cast(self, plane: str) -> str:
        """float32 -> the planes' own type."""
        return self._to(plane, TensorProto.FLOAT16) if self.dtype == np.float16 else plane

    def conv(self, plane: str, kernel: Kernel, *, addend: str | None = None, scale: str | None = None) -> str:
        """A 2-D convolution, plus `addend` of the output's shape, of the input times `scale`, a float32 vector (1, C_in)."""
        weight = self.writer.constant(kernel.weight.astype(self.dtype))
        if scale is not None:
            factor = self._typed(self.writer.node("Reshape", scale, self.writer.integers([1, -1, 1, 1])))
            if self.fold_scale:
                weight = self.writer.node("Mul", weight, factor)
            else:
                plane = self.writer.node("Mul", plane, factor)
        bias = [] if kernel.bias is None else [self.writer.constant(kernel.bias.astype(self.dtype))]
        out = self.writer.node("Conv", plane, weight, *bias, **kernel.attributes())
        return out if addend is None else self.add(out, addend)

    def add(self, first: str, second: str) -> str:
        """The sum of two tensors of one shape."""
        return self.writer.node("Add", first, second)

    def silu(self, plane: str) -> str:
        """x * sigmoid(x)."""
        return self.writer.node("Mul", plane, self.writer.node("Sigmoid", plane))

    def mean(self, planes: Sequence[str], shape: tuple[int, int, int]) -> str:
        """Planes (n, C, H, W) of one size -> their mean (1, C), float32: over groups of rows, then over groups and planes.

        ONNX Runtime sums one value after the other: the more at once, the more digits are lost.

        Args:
            planes: the tensors.
            shape: (C, H, W).
        """
        groups = row_groups(*shape[1:])
        means = [self.group_means(plane, shape, groups) for plane in planes]
        joined = means[0] if len(means) == 1 else self.writer.node("Concat", *means, axis=0)
        apart = self.writer.node("Reshape", joined, self.writer.integers(self.grouped(shape[0], groups)))
        mean = self.writer.node("ReduceMean", apart, self.writer.integers([0, 2]), keepdims=0)
        return self.writer.node("Reshape", mean, self.writer.integers([1, shape[0]]))

    def group_means(self, plane: str, shape: tuple[int, int, int], groups: int) -> str:
        """(n, C, H, W) -> (n, C * groups, 1, 1) float32."""
        channels, height, width = shape
        plane = self._to(plane, TensorProto.FLOAT) if self.dtype == np.float16 else plane
        if groups > 1:
            parts = self.writer.integers([-1, channels * groups, height // groups, width])
            plane = self.writer.node("Reshape", plane, parts)
        return self.writer.node("GlobalAveragePool", plane)

    def grouped(self, channels: int, groups: int) -> list[int]:
        """The shape that all the planes' `group_means` together are brought to: planes and groups are its axes 0 and 2."""
        return [-1, channels, groups]

    def _typed(self, vector: str) -> str:
        return self._to(vector, TensorProto.FLOAT16) if self.dtype == np.float16 else vector

    def _to(self, tensor: str, kind: int) -> str:
        return self.writer.node("Cast", tensor, to=kind)


def row_groups(height: int, width: int) -> int:
    """Into how many groups the rows of a plane are parted, so that none has more than 512 voxels, or as few as halving gives."""
    groups = 1
    while (height // groups) * width > 512 and height % (2 * groups) == 0:
        groups *= 2
    return groups
