"""nnU-Net's U-Net as an ONNX graph, written layer by layer from `export.unet`: the same weights give the same bytes.

`image` (1, 1, z, y, x) -> `logits` (1, classes, z, y, x), one patch a run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from torch import nn

from export.graph import GraphWriter
from export.unet import ConvBlock, ResidualBlock, UNet


def unet_graph(network: UNet, patch_size: Sequence[int], *, notes: str = "") -> onnx.ModelProto:
    """The network as a graph.

    Args:
        network: with its weights.
        patch_size: (z, y, x).
        notes: the doc string of the model.
    """
    writer = GraphWriter()
    encoder, decoder = network.encoder, network.decoder
    x = "image"
    if encoder.stem is not None:
        x = _layers(writer, encoder.stem, x)
    skips = []
    for stage in encoder.stages:
        x = _layers(writer, stage, x)
        skips.append(x)
    for number, (up, stage) in enumerate(zip(decoder.transpconvs, decoder.stages, strict=True)):
        x = writer.node("Concat", _layers(writer, up, x), skips[-(number + 2)], axis=1)
        x = _layers(writer, stage, x)
    _layers(writer, decoder.seg_layers[-1], x, output="logits")
    shape = [1, 1, *patch_size]
    return writer.model({"image": shape}, {"logits": [1, network.classes, *patch_size]}, notes=notes)


def _layers(writer: GraphWriter, module: nn.Module, x: str, *, output: str = "") -> str:
    """A module's nodes; returns what it gives.

    Raises:
        TypeError: a module that `export.unet` does not make.
    """
    if isinstance(module, ResidualBlock):
        inner = _layers(writer, module.conv2, _layers(writer, module.conv1, x))
        return _layers(writer, module.nonlin2, writer.node("Add", inner, _layers(writer, module.skip, x)))
    if isinstance(module, ConvBlock):
        return _layers(writer, module.all_modules, x)
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        values = [module.weight] + [module.bias] * (module.bias is not None)
        constants = [writer.constant(value.detach().numpy()) for value in values if value is not None]
        operator, pads = (
            ("Conv", [*module.padding] * 2) if isinstance(module, nn.Conv3d) else ("ConvTranspose", [0] * 6)
        )
        return writer.node(
            operator,
            x,
            *constants,
            output=output,
            kernel_shape=[*module.kernel_size],
            strides=[*module.stride],
            pads=pads,
        )
    if isinstance(module, nn.InstanceNorm3d):
        return _normed(writer, module, x)
    if isinstance(module, nn.LeakyReLU):
        return writer.node("LeakyRelu", x, alpha=module.negative_slope)
    if isinstance(module, nn.AvgPool3d):
        return writer.node("AveragePool", x, kernel_shape=_edges(module.kernel_size), strides=_edges(module.stride))
    if isinstance(module, nn.Identity):
        return x
    children = list(module.children())
    if not children and not isinstance(module, nn.Sequential):
        raise TypeError(f"no operator for {type(module).__name__}.")
    for child in children:
        x = _layers(writer, child, x)
    return x


def _normed(writer: GraphWriter, module: nn.InstanceNorm3d, x: str) -> str:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift.

    Not as InstanceNormalization: ONNX Runtime adds up millions of float32 values in a row there, and logits of the stand-ins for
    HD-BET were off by up to 9e-4. Planes averaged first, then their means, are as exact as torch, for an eighth more time.
    """
    scale, shift = (
        writer.constant(value.detach().numpy().reshape(1, -1, 1, 1, 1)) for value in (module.weight, module.bias)
    )
    centred = writer.node("Sub", x, _mean(writer, x))
    variance = _mean(writer, writer.node("Mul", centred, centred))
    epsilon = writer.constant(np.array(module.eps, dtype=np.float32))
    deviation = writer.node("Sqrt", writer.node("Add", variance, epsilon))
    return writer.node("Add", writer.node("Mul", centred, writer.node("Div", scale, deviation)), shift)


def _mean(writer: GraphWriter, x: str) -> str:
    """(1, C, z, y, x) -> (1, C, 1, 1, 1)."""
    planes = writer.node("ReduceMean", x, writer.integers([3, 4]), keepdims=1)
    return writer.node("ReduceMean", planes, writer.integers([2]), keepdims=1)


def _edges(given: int | tuple[int, ...]) -> list[int]:
    return [given] * 3 if isinstance(given, int) else list(given)
