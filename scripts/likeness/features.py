"""The features of the branches at two layers, whatever the backbone.

- "first": mean and SD over space of each channel of the first convolution's output, (2 C,): how the image was made shows in them.
- "last": what the last linear layer is given, pooled over space, (F,): what the logit is made of.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scripts.network import ETSCNet

Found = dict[str, dict[str, NDArray[np.float32]]]


class BranchFeatures:
    """Listens to the network, and changes nothing of it. A context manager.

    Args:
        network: runs with its own forward.

    Attributes:
        latest: layer -> modality -> (B, F) float32, of the latest pass; a branch without such a layer is missing.
    """

    def __init__(self, network: ETSCNet) -> None:
        self.latest: Found = {"first": {}, "last": {}}
        self._handles = []
        for modality, branch in network.branches.items():
            if (convolution := first_convolution(branch)) is not None:
                self._handles.append(convolution.register_forward_hook(self._first(modality)))
            if (linear := last_linear(branch)) is not None:
                self._handles.append(linear.register_forward_pre_hook(self._last(modality)))

    def __enter__(self) -> BranchFeatures:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def of_case(self, index: int) -> Found:
        """layer -> modality -> (F,) of one case of the latest batch."""
        return {layer: {name: values[index] for name, values in found.items()} for layer, found in self.latest.items()}

    def close(self) -> None:
        """Listen no longer."""
        for handle in self._handles:
            handle.remove()

    def _first(self, modality: str) -> Any:
        def keep(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
            variance, mean = torch.var_mean(output.detach().float(), dim=(2, 3, 4), correction=0)  # (B, C)
            self.latest["first"][modality] = torch.cat([mean, variance.sqrt()], dim=1).cpu().numpy()

        return keep

    def _last(self, modality: str) -> Any:
        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.latest["last"][modality] = inputs[0].detach().float().flatten(1).cpu().numpy()

        return keep


def first_convolution(branch: nn.Module) -> nn.Module | None:
    """The first convolution of three dimensions; None where there is none."""
    return next((module for module in branch.modules() if isinstance(module, nn.Conv3d)), None)


def last_linear(branch: nn.Module) -> nn.Linear | None:
    """The last linear layer with one output, the logit; None where there is none (an exported file in a network's place)."""
    layers = [module for module in branch.modules() if isinstance(module, nn.Linear) and module.out_features == 1]
    return layers[-1] if layers else None
