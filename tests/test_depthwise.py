"""The depthwise convolution with gradients of its own gives torch's results."""

from __future__ import annotations

import copy
import io
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from scripts.depthwise import NONE, DepthwiseConv3d
from scripts.network import ETSCNet

CHANNELS = 3
SIZES = ((9, 8, 7), (12, 11, 5))  # odd and even edges: with stride 2 some planes at the end belong to no output
CASES = list(product((3, 5), (1, 2), (torch.contiguous_format, torch.channels_last_3d), SIZES))


def pair(kernel: int, stride: int, dtype: torch.dtype) -> tuple[nn.Conv3d, nn.Conv3d]:
    """torch's layer and ours with the same weights."""
    torch.manual_seed(kernel + stride)
    reference = nn.Conv3d(CHANNELS, CHANNELS, kernel, stride=stride, groups=CHANNELS, bias=False, dtype=dtype)
    ours = copy.deepcopy(reference)
    DepthwiseConv3d.take_over(ours)
    assert type(ours) is DepthwiseConv3d and type(reference) is nn.Conv3d
    return reference, ours


def results(layer: nn.Conv3d, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Output, and the gradients of input and weight for an uneven loss."""
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    output = layer(x)
    torch.manual_seed(1)
    (output * torch.randn(output.shape, dtype=output.dtype)).sum().backward()
    assert x.grad is not None and layer.weight.grad is not None
    return output.detach(), x.grad, layer.weight.grad


@pytest.mark.parametrize(("kernel", "stride", "memory_format", "size"), CASES)
def test_output_and_gradients_are_torchs(
    kernel: int, stride: int, memory_format: torch.memory_format, size: tuple[int, int, int]
) -> None:
    reference, ours = pair(kernel, stride, torch.float64)
    torch.manual_seed(0)
    x = torch.randn(2, CHANNELS, *size, dtype=torch.float64).to(memory_format=memory_format)
    for expected, value in zip(results(reference, x), results(ours, x), strict=True):
        # float64 sums of at most 2 x 660 terms of order 1: their order moves the last of 16 digits, three at most
        assert torch.allclose(value, expected, rtol=0, atol=1e-12)
        assert value.shape == expected.shape


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 2)])
def test_float32_is_as_exact_as_torchs(kernel: int, stride: int) -> None:
    reference, ours = pair(kernel, stride, torch.float32)
    exact, _ = pair(kernel, stride, torch.float64)
    exact.load_state_dict(reference.state_dict())
    x = torch.randn(2, CHANNELS, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    # the loss's weights are drawn anew for float64, so both are compared with the same draw
    torch.manual_seed(1)
    for truth, value in zip(_float_results(exact, x.double()), _float_results(ours, x), strict=True):
        # float32 has 7 digits; sums of 2 x 1000 terms of order 1 reach about 100 and lose some more: 1e-4
        assert torch.allclose(value.double(), truth, rtol=1e-5, atol=1e-4)


def _float_results(layer: nn.Conv3d, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x = x.detach().clone().requires_grad_()
    output = layer(x)
    (output * torch.linspace(-1, 1, output.numel(), dtype=x.dtype).view_as(output)).sum().backward()
    assert x.grad is not None and layer.weight.grad is not None
    return output.detach(), x.grad, layer.weight.grad


def test_a_margin_of_padding_changes_no_gradient_of_the_network() -> None:
    torch.manual_seed(0)
    ours = ETSCNet(["flair"]).double().train()
    depthwise = [module for module in ours.modules() if isinstance(module, DepthwiseConv3d)]
    assert len(depthwise) == 16 and all(module.margin != NONE for module in depthwise)
    reference = copy.deepcopy(ours)
    for stock in reference.modules():
        if isinstance(stock, DepthwiseConv3d):
            stock.__class__ = nn.Conv3d  # type: ignore[assignment]  # its base class: the same state, torch's own gradient
    image = torch.rand(2, 1, 64, 64, 32, dtype=torch.float64)
    for network in (ours, reference):
        torch.manual_seed(1)  # of drop-connect and dropout
        network(image, return_logits=True).square().sum().backward()
    for (name, expected), value in zip(reference.named_parameters(), ours.parameters(), strict=True):
        assert expected.grad is not None and value.grad is not None
        scale = float(expected.grad.abs().max())
        # float64 through 80 layers, batch norm over as few as 8 values among them: about 10 of 16 digits stay
        assert torch.allclose(value.grad, expected.grad, rtol=0, atol=1e-9 * scale + 1e-12), name


def test_gradients_by_finite_differences() -> None:
    """Checked against the definition, not only against torch's implementation."""
    _, ours = pair(3, 2, torch.float64)
    x = torch.randn(1, CHANNELS, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ours, (x,))
    assert torch.autograd.gradcheck(
        lambda weight: torch.func.functional_call(ours, {"weight": weight}, (x.detach(),)), (ours.weight,)
    )


def test_training_uses_the_own_gradients_and_evaluation_torchs() -> None:
    _, ours = pair(3, 1, torch.float32)
    x = torch.randn(1, CHANNELS, 5, 5, 5)
    assert "Depthwise" in type(ours(x).grad_fn).__name__
    assert "Convolution" in type(ours.eval()(x).grad_fn).__name__ and "Depthwise" not in type(ours(x).grad_fn).__name__
    with torch.no_grad():
        assert ours.train()(x).grad_fn is None


def test_taking_over_keeps_names_parameters_and_values() -> None:
    model = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.Sequential(nn.Conv3d(4, 4, 3, groups=4, bias=False), nn.BatchNorm3d(4))
    )
    before = {name: (id(value), value.clone()) for name, value in model.named_parameters()}
    state = list(model.state_dict())
    DepthwiseConv3d.take_over(model)
    assert list(model.state_dict()) == state
    for name, value in model.named_parameters():
        assert id(value) == before[name][0] and torch.equal(value, before[name][1])


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv3d(4, 4, 3),
        nn.Conv3d(4, 4, 3, groups=2, bias=False),
        nn.Conv3d(4, 8, 3, groups=4, bias=False),
        nn.Conv3d(4, 4, 3, groups=4),
        nn.Conv3d(4, 4, 3, groups=4, bias=False, padding=1),
        nn.Conv3d(4, 4, 3, groups=4, bias=False, dilation=2),
        nn.Conv3d(4, 4, (3, 3, 1), groups=4, bias=False),
        nn.Conv3d(4, 4, 3, groups=4, bias=False, stride=(1, 1, 2)),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),
    ],
    ids=str,
)
def test_other_convolutions_are_left_alone(conv: nn.Module) -> None:
    kind = type(conv)
    DepthwiseConv3d.take_over(conv)
    assert type(conv) is kind


def test_it_scripts_with_torchs_results() -> None:
    reference, ours = pair(3, 2, torch.float32)
    x = torch.randn(1, CHANNELS, 9, 8, 7, generator=torch.Generator().manual_seed(0))
    content = io.BytesIO()
    torch.jit.save(torch.jit.script(ours.eval()), content)
    content.seek(0)
    # 1e-6: the same kernel in float32, or one with another order of 27 terms
    assert torch.allclose(torch.jit.load(content)(x), reference(x), rtol=0, atol=1e-6)
