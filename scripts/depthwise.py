"""Depthwise 3-D convolution whose gradients are fast on a CPU.

torch computes the gradients of a grouped 3-D convolution on the CPU by a generic path that takes most of a training step. Here
the gradient of the input is itself a depthwise convolution (of the zero-interleaved output gradient with the mirrored kernel),
which has a fast kernel, and that of the weight is one product and sum a kernel position. MONAI pads by a layer of its own before
the convolution, whose backward throws the gradient of the margin away: it is left 0 here, which at the small levels, where a
margin of 4 surrounds 2 or 4 voxels, is most of the work. Forward, evaluation, export and GPUs are torch's own.
"""

# No `from __future__ import annotations` here: TorchScript reads the annotations themselves.
from itertools import product
from typing import Any

import torch
from monai.networks.nets.efficientnet import MBConvBlock
from torch import Tensor, nn
from torch.nn import functional

Margin = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
NONE: Margin = ((0, 0), (0, 0), (0, 0))


class _DepthwiseConvolution(torch.autograd.Function):
    """x (B, C, X, Y, Z), weight (C, 1, k, k, k), no padding -> (B, C, X', Y', Z') with X' = (X - k) // stride + 1.

    margin: what a padding layer has put around x, (before, after) an axis; the gradient there is 0, whatever it would be.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, margin: Margin) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.margin = stride, margin
        return functional.conv3d(x, weight, stride=stride, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        # One memory layout for all: elementwise work on two layouts is slow.
        x, grad = (tensor.contiguous(memory_format=torch.channels_last_3d) for tensor in (x, grad))
        x_grad = _input_gradient(grad, weight, x, ctx.stride, ctx.margin) if ctx.needs_input_grad[0] else None
        weight_grad = _weight_gradient(grad, weight, x, ctx.stride) if ctx.needs_input_grad[1] else None
        return x_grad, weight_grad, None, None


def _input_gradient(grad: Tensor, weight: Tensor, x: Tensor, stride: int, margin: Margin) -> Tensor:
    edge = weight.shape[-1] - 1
    inner = [size - sum(sides) for size, sides in zip(x.shape[2:], margin, strict=True)]
    shape = (*grad.shape[:2], *(size + edge for size in inner))
    spread = torch.empty(shape, dtype=grad.dtype, device=grad.device, memory_format=torch.channels_last_3d).zero_()
    places, parts = [], []
    for size, full, (before, _) in zip(grad.shape[2:], shape[2:], margin, strict=True):
        # Where the first output's gradient stands; what stands before 0 or behind the end reaches no inner voxel.
        start = edge - before
        first = max(0, -(start // stride))
        count = min(size - first, (full - 1 - start) // stride - first + 1)
        parts.append(slice(first, first + count))
        places.append(slice(start + stride * first, start + stride * (first + count - 1) + 1, stride))
    spread[(slice(None), slice(None), *places)] = grad[(slice(None), slice(None), *parts)]
    x_grad = functional.conv3d(spread, weight.flip(2, 3, 4), groups=x.shape[1])
    return functional.pad(x_grad, [size for sides in reversed(margin) for size in sides])


def _weight_gradient(grad: Tensor, weight: Tensor, x: Tensor, stride: int) -> Tensor:
    out = torch.empty_like(weight)
    span = [stride * (size - 1) + 1 for size in grad.shape[2:]]
    for i, j, k in product(range(weight.shape[-1]), repeat=3):
        patch = x[:, :, i : i + span[0] : stride, j : j + span[1] : stride, k : k + span[2] : stride]
        out[:, 0, i, j, k] = (patch * grad).sum(dim=(0, 2, 3, 4))
    return out


class DepthwiseConv3d(nn.Conv3d):
    """nn.Conv3d of one filter a channel, with the fast gradients in training on a CPU; same parameters, names and results.

    `margin`: of the padding layer in front of it, which it does not send a gradient to.
    """

    margin: Margin = NONE

    @classmethod
    def take_over(cls, module: nn.Module) -> None:
        """Make every convolution in `module` that this class can compute one of this class; parameters stay where they are."""
        for child in module.modules():
            if type(child) is nn.Conv3d and _is_plain_depthwise(child):
                child.__class__ = cls
        for block in module.modules():
            conv = getattr(block, "_depthwise_conv", None)
            if isinstance(block, MBConvBlock) and isinstance(conv, cls):
                conv.margin = _margin(block._depthwise_conv_padding)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 TorchScript skips the inner condition only like this
            if self.training and torch.is_grad_enabled() and input.device.type == "cpu" and not torch.jit.is_tracing():
                return _DepthwiseConvolution.apply(input, weight, self.stride[0], self.margin)  # type: ignore
        return functional.conv3d(input, weight, bias, self.stride, groups=self.groups)  # plain: no padding, no dilation


def _margin(padding: nn.Module) -> Margin:
    """Of MONAI's static padding, which is nn.Identity where nothing is to be padded."""
    if not isinstance(padding, nn.ConstantPad3d):
        return NONE
    z0, z1, y0, y1, x0, x1 = padding.padding  # torch names the last axis first
    return (x0, x1), (y0, y1), (z0, z1)


def _is_plain_depthwise(conv: nn.Conv3d) -> bool:
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and len(set(conv.kernel_size)) == len(set(conv.stride)) == 1
        and set(conv.dilation) == {1}
        and conv.padding in ((0, 0, 0), "valid")
    )
