"""The bytes of all tensors that live at once in a training step, counted without computing one: on torch's device "meta".

What is counted is what torch's allocator is asked for: weights, gradients, optimizer, activations, and whatever an operator
returns X
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from scripts.depthwise import DepthwiseConv3d, _DepthwiseConvolution
from scripts.network import BranchLoss, ETSCNet

BLOCK = 512  # bytes: torch's CUDA allocator gives no less, nor a part of one


@dataclass(frozen=True)
class Counted:
    """Bytes of a training step from the second on, when the optimizer has its moments.

    Attributes:
        state: before the step: weights, buffers, gradients' places empty, optimizer, the images.
        kept: what the forward pass leaves for the backward pass, the state not included.
        peak: the most at once, the state included.
    """

    state: int
    kept: int
    peak: int

    def to_dict(self) -> dict[str, int]:
        """For a record."""
        return asdict(self)


class Live(TorchDispatchMode):
    """Counts the storages that the operators under it make.

    Attributes:
        now, peak: bytes; `peak` can be set back to `now`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._sizes:
            self._sizes[storage._cdata] = -(-storage.nbytes() // BLOCK) * BLOCK
            self.now += self._sizes[storage._cdata]
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._gone, storage._cdata)

    def _gone(self, storage: int) -> None:
        self.now -= self._sizes.pop(storage)


@contextmanager
def halved(dtype: torch.dtype) -> Iterator[None]:
    """What torch's autocast does to this network: convolutions and linear layers in half precision, the rest in what it is given.

    (On "meta" there is no autocast.)
    """

    def cast(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*args: Any, **kwargs: Any) -> Tensor:
            args, kwargs = tree_map(lower, (args, kwargs))
            return function(*args, **kwargs)

        return run

    def lower(value: Any) -> Any:
        return value.to(dtype) if isinstance(value, Tensor) and value.dtype == torch.float32 else value

    with (
        patch.object(functional, "conv3d", cast(functional.conv3d)),
        patch.object(functional, "linear", cast(functional.linear)),
    ):
        yield


def count_step(
    size: Sequence[int],
    batch: int,
    *,
    checkpointing: bool = False,
    half: torch.dtype | None = None,
    cpu_gradients: bool = False,
) -> Counted:
    """Count a step of the bundle's training: two branches, Adam.

    Args:
        size: of the images, voxels.
        batch: cases.
        checkpointing: `activation_checkpointing`.
        half: the dtype of autocast; None: float32.
        cpu_gradients: whether depthwise convolutions are those of the CPU (`scripts.depthwise`), not torch's own.
    """
    network = ETSCNet(["flair", "t2w"], activation_checkpointing=checkpointing).to("meta").train()
    live = Live()
    with ExitStack() as contexts:
        contexts.enter_context(live)
        if cpu_gradients:
            contexts.enter_context(patch.object(DepthwiseConv3d, "_conv_forward", _as_on_the_cpu))
        for module in network.modules():
            _remake(module)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        image = torch.empty(batch, 2, *size, device="meta")  # (B, M, x, y, z)
        label = torch.empty(batch, 1, device="meta")
        for _ in range(2):
            optimizer.zero_grad()
            state, live.peak = live.now, live.now
            with nullcontext() if half is None else halved(half):  # a recomputed block runs as it ran the first time
                logits = network(image, return_logits=True)
                loss = BranchLoss()(logits, label)
                kept = live.now - state
                loss.backward()
            optimizer.step()
            del loss, logits
    return Counted(state, kept, live.peak)


def _remake(module: nn.Module) -> None:
    """Its tensors once more, where they are counted."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        setattr(module, name, nn.Parameter(torch.empty_like(parameter)))
    for name, buffer in list(module.named_buffers(recurse=False)):
        setattr(module, name, torch.empty_like(buffer))


def _as_on_the_cpu(self: DepthwiseConv3d, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    applied: Tensor = _DepthwiseConvolution.apply(image, weight, self.stride[0], self.margin)  # type: ignore[no-untyped-call]
    return applied
