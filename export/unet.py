"""nnU-Net's U-Net in torch, built from a plan's numbers: plain, or with residual blocks in the encoder; deep supervision off.

Modules are named as in nnU-Net, aliases included (`all_modules`, `decoder.encoder`), so that its state dictionaries are loaded
strictly: a network of other layers is refused by its names or shapes. Source: dynamic_network_architectures 0.4.4
(MIC-DKFZ, Apache-2.0), which can't be depended upon: it needs torchvision, of which there is no CPU build.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

Edges = tuple[int, int, int]
ONE: Edges = (1, 1, 1)


@dataclass(frozen=True)
class UNetPlan:
    """The numbers of a network.

    Attributes:
        residual: residual blocks in the encoder, plain convolutions otherwise.
        features: channels of each stage, from the full resolution down.
        kernels: of each stage, three edges.
        strides: of each stage's first convolution.
        blocks: convolutions, or residual blocks, of each stage.
        decoder_blocks: convolutions of each stage of the decoder, from the lowest resolution up.
        classes: channels of the output.
        bias: whether convolutions have one.
        epsilon: of the instance norms.
        slope: of the leaky ReLU below 0.
        dropout: whether the network was trained with dropout, which takes a place in the names.
    """

    residual: bool
    features: tuple[int, ...]
    kernels: tuple[Edges, ...]
    strides: tuple[Edges, ...]
    blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    classes: int
    bias: bool = True
    epsilon: float = 1e-5
    slope: float = 0.01
    dropout: bool = False


class ConvBlock(nn.Module):
    """Convolution, instance norm and, where it is active, leaky ReLU."""

    def __init__(
        self,
        channels: tuple[int, int],
        plan: UNetPlan,
        *,
        kernel: Edges,
        stride: Edges = ONE,
        inner: bool = True,
    ) -> None:
        super().__init__()
        a, b, c = kernel
        bias = plan.bias and inner  # a projection of a residual block has none
        self.conv = nn.Conv3d(*channels, kernel, stride, padding=((a - 1) // 2, (b - 1) // 2, (c - 1) // 2), bias=bias)
        self.norm = nn.InstanceNorm3d(channels[1], eps=plan.epsilon, affine=True)
        self.all_modules = nn.Sequential(self.conv, *[nn.Identity()] * plan.dropout, self.norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) -> (B, C', z / stride, y / stride, x / stride), normalised."""
        normed: Tensor = self.all_modules(x)
        return normed


class ActiveBlock(ConvBlock):
    """A ConvBlock with its activation."""

    def __init__(
        self,
        channels: tuple[int, int],
        plan: UNetPlan,
        *,
        kernel: Edges,
        stride: Edges = ONE,
    ) -> None:
        super().__init__(channels, plan, kernel=kernel, stride=stride)
        self.nonlin = nn.LeakyReLU(plan.slope)
        self.all_modules.append(self.nonlin)


class Blocks(nn.Module):
    """Several active blocks, the first with a stride."""

    def __init__(
        self,
        channels: tuple[int, int],
        plan: UNetPlan,
        *,
        count: int,
        kernel: Edges,
        stride: Edges = ONE,
    ) -> None:
        super().__init__()
        first = ActiveBlock(channels, plan, kernel=kernel, stride=stride)
        others = [ActiveBlock((channels[1], channels[1]), plan, kernel=kernel) for _ in range(count - 1)]
        self.convs = nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) -> (B, C', z / stride, y / stride, x / stride)."""
        y: Tensor = self.convs(x)
        return y


class ResidualBlock(nn.Module):
    """ResNet-D's basic block: two convolutions beside a mean over the stride and, where channels change, a projection."""

    def __init__(self, channels: tuple[int, int], plan: UNetPlan, *, kernel: Edges, stride: Edges) -> None:
        super().__init__()
        self.conv1 = ActiveBlock(channels, plan, kernel=kernel, stride=stride)
        self.conv2 = _undropped((channels[1], channels[1]), plan, kernel=kernel)
        self.nonlin2 = nn.LeakyReLU(plan.slope)
        skip: list[nn.Module] = []
        if any(step != 1 for step in stride):
            skip.append(nn.AvgPool3d(stride, stride))
        if channels[0] != channels[1]:
            skip.append(_undropped(channels, plan, kernel=ONE, inner=False))
        self.skip = nn.Sequential(*skip)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) -> (B, C', z / stride, y / stride, x / stride)."""
        y: Tensor = self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))
        return y


class ResidualBlocks(nn.Module):
    """Several residual blocks, the first with a stride."""

    def __init__(self, channels: tuple[int, int], plan: UNetPlan, *, count: int, kernel: Edges, stride: Edges) -> None:
        super().__init__()
        first = ResidualBlock(channels, plan, kernel=kernel, stride=stride)
        others = [ResidualBlock((channels[1], channels[1]), plan, kernel=kernel, stride=ONE) for _ in range(count - 1)]
        self.blocks = nn.Sequential(first, *others)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, z, y, x) -> (B, C', z / stride, y / stride, x / stride)."""
        y: Tensor = self.blocks(x)
        return y


class Encoder(nn.Module):
    """(B, 1, z, y, x) -> the features of every stage."""

    def __init__(self, plan: UNetPlan) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        self.stem = None
        before = 1
        if plan.residual:
            before = plan.features[0]
            self.stem = Blocks((1, before), plan, count=1, kernel=plan.kernels[0])
        for features, kernel, stride, count in zip(plan.features, plan.kernels, plan.strides, plan.blocks, strict=True):
            channels = (before, features)
            if plan.residual:
                stages.append(ResidualBlocks(channels, plan, count=count, kernel=kernel, stride=stride))
            else:
                stages.append(nn.Sequential(Blocks(channels, plan, count=count, kernel=kernel, stride=stride)))
            before = features
        self.stages = nn.Sequential(*stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, 1, z, y, x) -> the features of every stage, each (B, C, z', y', x'), from fine to coarse."""
        if self.stem is not None:
            x = self.stem(x)
        found = []
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        return found


class Decoder(nn.Module):
    """The features of every stage -> logits (B, classes, z, y, x)."""

    def __init__(self, encoder: Encoder, plan: UNetPlan) -> None:
        super().__init__()
        self.encoder = encoder
        stages, ups, heads = [], [], []
        ways = list(pairwise(reversed(list(zip(plan.features, plan.kernels, plan.strides, strict=True)))))
        for ((below, _, stride), (features, kernel, _)), count in zip(ways, plan.decoder_blocks, strict=True):
            ups.append(nn.ConvTranspose3d(below, features, stride, stride, bias=plan.bias))
            stages.append(Blocks((2 * features, features), plan, count=count, kernel=kernel))
            heads.append(nn.Conv3d(features, plan.classes, 1))  # all but the last are of deep supervision
        self.stages, self.transpconvs, self.seg_layers = nn.ModuleList(stages), nn.ModuleList(ups), nn.ModuleList(heads)

    def forward(self, skips: list[Tensor]) -> Tensor:
        """The features of every stage, from fine to coarse -> logits (B, classes, z, y, x)."""
        x = skips[-1]
        for number, (up, stage) in enumerate(zip(self.transpconvs, self.stages, strict=True)):
            x = stage(torch.cat((up(x), skips[-(number + 2)]), 1))
        logits: Tensor = self.seg_layers[-1](x)
        return logits


class UNet(nn.Module):
    """(B, 1, z, y, x) -> logits (B, classes, z, y, x)."""

    def __init__(self, plan: UNetPlan) -> None:
        super().__init__()
        self.classes = plan.classes
        self.encoder = Encoder(plan)
        self.decoder = Decoder(self.encoder, plan)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, z, y, x) -> logits (B, classes, z, y, x)."""
        logits: Tensor = self.decoder(self.encoder(x))
        return logits


def _undropped(channels: tuple[int, int], plan: UNetPlan, *, kernel: Edges, inner: bool = True) -> ConvBlock:
    """A block in a place where nnU-Net never has dropout."""
    return ConvBlock(channels, replace(plan, dropout=False), kernel=kernel, inner=inner)
