"""eTSC-Net: one classifier a modality, fused by a weighted average of their scores.

Eq. 2 of Zhao et al. 2026 (doi:10.1038/s41598-026-39728-5), S = sum_m w_m sigmoid(logit_m) with sum_m w_m = 1. The branches
share nothing. S is the score that seizures will be *controlled* after one year of medication.

Shapes: image (B, M, x, y, z) float32 in [0, 1], logits (B, M), pred (B, 1), all float32; M modalities in the order of
`modalities`.
"""

# No `from __future__ import annotations` here: TorchScript reads the annotations themselves.
from collections.abc import Callable, Sequence

import torch
from monai.inferers import SimpleInferer
from monai.networks.blocks.activation import MemoryEfficientSwish
from monai.networks.nets import EfficientNetBN
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from scripts.depthwise import DepthwiseConv3d
from scripts.recompute import recompute_blocks


def efficientnet3d_b0() -> nn.Module:
    """The paper's branch: one input channel, one logit, 4,689,661 parameters."""
    network = EfficientNetBN("efficientnet-b0", pretrained=False, spatial_dims=3, in_channels=1, num_classes=1)
    # MONAI draws the last layer from +-1 / sqrt(outputs), meant for 1000 classes: with one output the first logits are near 20.
    network._fc.reset_parameters()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            # MONAI's 0.01 is meant for many thousand steps. A cohort of 67 takes 17 an epoch: in evaluation the network would be
            # dead (logits near 1e-7) for hundreds of steps, whatever it has learnt.
            module.momentum = 0.1
    return network


class ETSCNet(nn.Module):
    """M independent branches and their weighted late fusion.

    Args:
        modalities: names of the input channels in their order, e.g. ("flair", "t2w").
        backbone: makes one branch, a module (B, 1, x, y, z) -> (B, 1) logits; called once a modality.
        activation_checkpointing: whether a training step keeps the inputs of the branches' blocks alone (`scripts.recompute`).

    Buffers, so that they travel in every checkpoint: `fusion_weights` (M,), `threshold` () of the decision "controlled",
    `spatial_size` (3,) the grid that the weights were trained on; zeros mean that nobody said.

    Raises:
        ValueError: no modality, or one named twice.
        InputError: activation checkpointing of a backbone without a block that is known.
    """

    __jit_unused_properties__ = ["modalities"]  # noqa: RUF012 TorchScript reads this very list
    fusion_weights: Tensor
    threshold: Tensor
    spatial_size: Tensor

    def __init__(
        self,
        modalities: Sequence[str],
        backbone: Callable[[], nn.Module] = efficientnet3d_b0,
        *,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if not modalities or len(set(modalities)) != len(modalities):
            raise ValueError(
                f"modalities must be one or more different names, e.g. ['flair', 't2w'], not {modalities!r}."
            )
        self.branches = nn.ModuleDict({modality: _prepared(backbone()) for modality in modalities})
        if activation_checkpointing:
            recompute_blocks(self.branches)
        self.register_buffer("fusion_weights", torch.full((len(modalities),), 1 / len(modalities)))
        self.register_buffer("threshold", torch.tensor(0.5))
        self.register_buffer("spatial_size", torch.zeros(3, dtype=torch.int64))

    @property
    def modalities(self) -> tuple[str, ...]:
        """The names of the input channels, in their order."""
        return tuple(self.branches)

    def forward(self, image: Tensor, return_logits: bool = False) -> Tensor:
        """image (B, M, x, y, z) -> pred (B, 1), the fused score; with `return_logits` the branches' logits (B, M)."""
        logits = []
        for channel, branch in enumerate(
            self.branches.values()
        ):  # one after the other: half the memory of both at once
            logits.append(branch(image[:, channel : channel + 1]).float())
        joined = torch.cat(logits, dim=1)
        return joined if return_logits else self.fuse(joined)

    def fuse(self, logits: Tensor) -> Tensor:
        """logits (B, M) -> pred (B, 1)."""
        return (torch.sigmoid(logits) * self.fusion_weights).sum(dim=1, keepdim=True)

    @torch.jit.unused
    def check_spatial_size(self, spatial_size: Sequence[int]) -> None:
        """Refuse images on another grid than the weights were trained on: their score would mean nothing.

        Raises:
            ValueError: the sizes differ. Weights that don't say (zeros) pass.
        """
        trained = tuple(self.spatial_size.tolist())
        if any(trained) and trained != tuple(spatial_size):
            raise ValueError(
                f"the weights were trained on images of {trained} voxels, this run prepares {tuple(spatial_size)}; "
                f'set --spatial_size "{list(trained)}" or load weights that were trained at this size.'
            )


def _prepared(branch: nn.Module) -> nn.Module:
    """The same function and parameters, but it exports, and its gradients are fast on a CPU."""
    DepthwiseConv3d.take_over(branch)
    for module in branch.modules():
        for name, child in module.named_children():
            if isinstance(child, MemoryEfficientSwish):
                setattr(module, name, nn.SiLU())  # as lean in memory, and it scripts
    return branch


class SwinClassifier(nn.Module):
    """The encoder of Swin UNETR (MONAI's SwinTransformer) with mean pooling and one linear output: (B, 1, x, y, z) -> (B, 1).

    Args:
        feature_size: channels of the first stage; the last has 16 times as many.
        depths, num_heads: blocks and attention heads of the four stages.
        window_size: edge of the attention window in patches of 2 x 2 x 2 voxels.
    """

    def __init__(
        self,
        feature_size: int = 24,
        *,
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (3, 6, 12, 24),
        window_size: int = 7,
    ) -> None:
        super().__init__()
        self.encoder = SwinTransformer(
            in_chans=1,
            embed_dim=feature_size,
            window_size=(window_size,) * 3,
            patch_size=(2, 2, 2),
            depths=depths,
            num_heads=num_heads,
            spatial_dims=3,
        )
        self.norm = nn.LayerNorm(16 * feature_size)
        self.head = nn.Linear(16 * feature_size, 1)

    def forward(self, image: Tensor) -> Tensor:
        """image (B, 1, x, y, z), each edge a multiple of 32 -> logit (B, 1)."""
        features = self.encoder(image)[-1]  # (B, 16 F, x/32, y/32, z/32)
        logit: Tensor = self.head(self.norm(features.flatten(2).mean(dim=2)))
        return logit


class LogitsInferer(SimpleInferer):
    """MONAI's SimpleInferer, but for the branches' logits (B, M); through `forward`, where data-parallel wrappers listen."""

    def __call__(self, inputs: Tensor, network: Callable[..., Tensor], *args: object, **kwargs: object) -> Tensor:
        return network(inputs, *args, return_logits=True, **kwargs)


class BranchLoss(nn.Module):
    """Binary cross-entropy of every branch's logit, averaged over the batch and summed over the branches.

    The sum gives each branch the gradient that it would have in a training of its own.
    """

    def forward(self, logits: Tensor, label: Tensor) -> Tensor:
        """logits (B, M), label (B, 1) of 0 or 1 -> loss ()."""
        target = label.to(logits).expand_as(logits)
        return nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=0).sum()
