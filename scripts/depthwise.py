"""Depthwise 3-D convolution whose gradients are fast on a CPU.

torch computes the gradients of a grouped 3-D convolution on the CPU by a generic path that takes most of a training step. Here
the gradient of the input is itself a depthwise convolution (of the zero-interleaved output gradient with the mirrored kernel),
which has a fast kernel, and that of the weight is one product and sum a kernel position. Forward, evaluation, export and GPUs
are torch's own.
"""

# No `from __future__ import annotations` here: TorchScript reads the annotations themselves.
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class _DepthwiseConvolution(torch.autograd.Function):
    """x (B, C, X, Y, Z), weight (C, 1, k, k, k), no padding -> (B, C, X', Y', Z') with X' = (X - k) // stride + 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return functional.conv3d(x, weight, stride=stride, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        # One memory layout for all: elementwise work on two layouts is slow.
        x, grad = (tensor.contiguous(memory_format=torch.channels_last_3d) for tensor in (x, grad))
        x_grad = _input_gradient(grad, weight, x, ctx.stride) if ctx.needs_input_grad[0] else None
        weight_grad = _weight_gradient(grad, weight, x, ctx.stride) if ctx.needs_input_grad[1] else None
        return x_grad, weight_grad, None


def _input_gradient(grad: Tensor, weight: Tensor, x: Tensor, stride: int) -> Tensor:
    edge = weight.shape[-1] - 1
    full = [size + edge for size in x.shape[2:]]
    spread = grad.new_zeros((*grad.shape[:2], *full)).contiguous(memory_format=torch.channels_last_3d)
    inner = tuple(slice(edge, edge + stride * (size - 1) + 1, stride) for size in grad.shape[2:])
    spread[(slice(None), slice(None), *inner)] = grad
    return functional.conv3d(spread, weight.flip(2, 3, 4), groups=x.shape[1])


def _weight_gradient(grad: Tensor, weight: Tensor, x: Tensor, stride: int) -> Tensor:
    out = torch.empty_like(weight)
    span = [stride * (size - 1) + 1 for size in grad.shape[2:]]
    for i, j, k in product(range(weight.shape[-1]), repeat=3):
        patch = x[:, :, i : i + span[0] : stride, j : j + span[1] : stride, k : k + span[2] : stride]
        out[:, 0, i, j, k] = (patch * grad).sum(dim=(0, 2, 3, 4))
    return out


class DepthwiseConv3d(nn.Conv3d):
    """nn.Conv3d of one filter a channel, with the fast gradients in training on a CPU; same parameters, names and results."""

    @classmethod
    def take_over(cls, module: nn.Module) -> None:
        """Make every convolution in `module` that this class can compute one of this class; parameters stay where they are."""
        for child in module.modules():
            if type(child) is nn.Conv3d and _is_plain_depthwise(child):
                child.__class__ = cls

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not torch.jit.is_scripting():  # noqa: SIM102 TorchScript skips the inner condition only like this
            if self.training and torch.is_grad_enabled() and input.device.type == "cpu" and not torch.jit.is_tracing():
                return _DepthwiseConvolution.apply(input, weight, self.stride[0])  # type: ignore
        return functional.conv3d(input, weight, bias, self.stride, groups=self.groups)  # plain: no padding, no dilation


def _is_plain_depthwise(conv: nn.Conv3d) -> bool:
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and conv.bias is None
        and len(set(conv.kernel_size)) == len(set(conv.stride)) == 1
        and set(conv.dilation) == {1}
        and conv.padding in ((0, 0, 0), "valid")
    )
