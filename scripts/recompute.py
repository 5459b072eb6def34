"""Activation checkpointing: a block keeps its input alone, and the backward pass computes what is inside of it again.

Less memory for about one more forward pass a step (Chen et al. 2016, arXiv:1604.06174), by torch.utils.checkpoint. Three things
must not change by the second pass: the gradients (drop-connect is drawn from the same random state), batch norm's running
statistics (moved once a step), and the names of the weights. Evaluation, scripting and export don't pass here.
"""

# No `from __future__ import annotations` here: TorchScript reads the annotations themselves.
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from monai.networks.nets.densenet import _DenseLayer
from monai.networks.nets.efficientnet import MBConvBlock
from monai.networks.nets.resnet import ResNetBlock, ResNetBottleneck
from monai.networks.nets.swin_unetr import SwinTransformerBlock
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from scripts.errors import InputError

BLOCKS = (MBConvBlock, ResNetBlock, ResNetBottleneck, _DenseLayer, SwinTransformerBlock)
_CLASSES: dict[type[nn.Module], type[nn.Module]] = {}  # a block's class -> the one that computes twice


def recompute_blocks(network: nn.Module) -> int:
    """Let every block of `BLOCKS` in the network compute its inside again in the backward pass; parameters stay where they are.

    Returns:
        Their number.

    Raises:
        InputError: there is none.
    """
    blocks: list[nn.Module] = [module for module in network.modules() if isinstance(module, BLOCKS)]
    for block in blocks:
        block.__class__ = _recomputed(type(block))
    if not blocks:
        raise InputError(
            "activation_checkpointing is asked for, and the backbone has no block that it knows",
            expected="one of " + ", ".join(block.__name__.strip("_") for block in BLOCKS),
            remedy="Leave --activation_checkpointing False, or name the backbone's block in scripts/recompute.py.",
        )
    return len(blocks)


class Recomputed(nn.Module):
    """Mixed into a block's class: `forward` stays the block's own, so that it scripts; the call is what differs."""

    def __call__(self, *inputs: Any) -> Any:
        """As the block, at any time but a training step."""
        run: Callable[..., Any] = super().__call__
        if not self.training or not torch.is_grad_enabled() or torch.jit.is_tracing():
            return run(*inputs)
        return checkpoint(run, *inputs, use_reentrant=False, context_fn=partial(_contexts, self))


def _recomputed(block: type[nn.Module]) -> type[nn.Module]:
    if block not in _CLASSES and not issubclass(block, Recomputed):
        _CLASSES[block] = type(f"Recomputed{block.__name__}", (Recomputed, block), {})
    return _CLASSES.get(block, block)


def _contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Around the first pass, and around the second."""
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    """Batch norm moves copies of its running statistics, which are thrown away, and their count too.

    (Without any it would keep fewer tensors for the backward pass than the first time, which torch refuses.)
    """
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm)]
    kept = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    try:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer.clone())
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            for name, buffer in buffers.items():
                setattr(norm, name, buffer)
