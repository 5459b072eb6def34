"""The 2-D operations in ONNX Runtime's blocked layout (N, C / block, H, W, block), written out instead of left to its optimizer.

ONNX Runtime rewrites standard convolutions into this layout by itself, but goes back and forth wherever an operation between
them (SiLU, a product of weights) is none that it knows. Written out, a plane stays blocked from the stem to the mean. The
operators are internal to ONNX Runtime (domain com.microsoft.nchwc, no promise of stability): `export.parity` proves the form on
every export, and the manifest names the version that it was proven with. Source: core/optimizer/nchwc_transformer.cc and
core/mlas/lib/reorder.cpp in onnxruntime.

Channels are filled up with zeros to a multiple of the block. Weights are OIHW with O and I blocked: (O/b, I/b, H, W, b of I,
b of O); depthwise ones and those of a plain (not blocked) input have O blocked alone: (O/b, I, H, W, b of O).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from export.graph import GraphWriter
from export.layers import Kernel, Layers

Array = NDArray[np.generic]
NCHWC_DOMAIN = "com.microsoft.nchwc"
MICROSOFT_DOMAIN = "com.microsoft"


class BlockedLayers(Layers):
    """Writes operations on blocked planes; the planes of the image, which have fewer channels than a block, are plain.

    Args:
        writer: takes the nodes.
        block: 16 where ONNX Runtime has AVX-512 kernels, 8 with AVX2.
    """

    def __init__(self, writer: GraphWriter, block: int) -> None:
        super().__init__(writer)
        self.block = block
        writer.domains.update({NCHWC_DOMAIN: 1, MICROSOFT_DOMAIN: 1})

    def conv(self, plane: str, kernel: Kernel, *, addend: str | None = None, scale: str | None = None) -> str:
        """A 2-D convolution, plus `addend` of the output's shape, of the input times `scale`, a float32 vector (1, C_in)."""
        out, into = kernel.weight.shape[:2]
        block, filled = self.block, self._filled(out)
        plain = kernel.group > 1 or into < block
        weight = np.zeros((filled, into if plain else self._filled(into), *kernel.weight.shape[2:]), np.float32)
        weight[:out, :into] = kernel.weight
        shape = weight.shape
        name = self.writer.constant(_blocked(weight, block, outputs_alone=plain))
        if scale is not None:
            name = self._scaled(name, shape, self._fill(scale, into))
        bias = np.zeros(filled, np.float32)
        if kernel.bias is not None:
            bias[:out] = kernel.bias
        attributes = kernel.attributes()
        attributes["group"] = filled if kernel.group > 1 else 1
        inputs = [plane, name, self.writer.constant(bias)] + ([] if addend is None else [addend])
        return self.writer.node("Conv", *inputs, domain=NCHWC_DOMAIN, **attributes)

    def silu(self, plane: str) -> str:
        """x * sigmoid(x)."""
        return self.writer.node("QuickGelu", plane, domain=MICROSOFT_DOMAIN, alpha=1.0)

    def mean(self, planes: Sequence[str], shape: tuple[int, int, int]) -> str:
        """Planes (n, C, H, W) of one size -> their mean (1, C)."""
        channels, filled = shape[0], self._filled(shape[0])
        mean = super().mean(planes, (filled, *shape[1:]))
        if channels == filled:
            return mean
        bounds = [self.writer.integers([edge]) for edge in (0, channels, 1)]
        return self.writer.node("Slice", mean, *bounds)

    def group_means(self, plane: str, shape: tuple[int, int, int], groups: int) -> str:
        """(n, C, H, W) blocked -> (n * C / block * groups, block, 1, 1): one voxel a channel, so that blocked is plain.

        In memory a plane is (n, C / block, H, W, block), so that a group of rows of a block of channels is a tensor by itself.
        """
        parts = self.writer.integers([-1, self.block, shape[1] // groups, shape[2]])
        return self.writer.node("GlobalAveragePool", self.writer.node("Reshape", plane, parts), domain=NCHWC_DOMAIN)

    def grouped(self, channels: int, groups: int) -> list[int]:
        """Planes, blocks of channels, groups of rows, channels of a block."""
        return [-1, channels // self.block, groups, self.block]

    def _scaled(self, weight: str, shape: tuple[int, ...], scale: str) -> str:
        """Blocked weights (O, I, 1, 1) times a vector (1, I)."""
        out, into, block = shape[0], shape[1], self.block
        parts = self.writer.node("Reshape", weight, self.writer.integers([out // block, into // block, block, block]))
        factor = self.writer.node("Reshape", scale, self.writer.integers([1, into // block, block, 1]))
        return self.writer.node("Reshape", self.writer.node("Mul", parts, factor), self.writer.integers(list(shape)))

    def _fill(self, vector: str, channels: int) -> str:
        missing = self._filled(channels) - channels
        return self.writer.node("Pad", vector, self.writer.integers([0, 0, 0, missing])) if missing else vector

    def _filled(self, channels: int) -> int:
        return -(-channels // self.block) * self.block


def _blocked(weight: Array, block: int, *, outputs_alone: bool) -> Array:
    """(O, I, H, W) -> the same shape, its values in blocked order."""
    out, into, height, width = weight.shape
    if outputs_alone:
        order = weight.reshape(out // block, block, into, height, width).transpose(0, 2, 3, 4, 1)
    else:
        parts = weight.reshape(out // block, block, into // block, block, height, width)
        order = parts.transpose(0, 2, 4, 5, 3, 1)
    return np.ascontiguousarray(order).reshape(weight.shape)
