"""Which weights of the network are averaged, and as what they travel: names of the state dict -> float32 arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from federated.aggregation import Weights

EXCHANGED = ("weight", "bias", "running_mean", "running_var")  # no counters, and none of the network's own buffers


def exchanged_names(network: nn.Module) -> list[str]:
    """Weights, biases and batch-norm statistics of the branches, in the order of the state dict."""
    return [name for name in network.state_dict() if name.startswith("branches.") and name.endswith(EXCHANGED)]


def initial_weights(network: nn.Module, names: Sequence[str]) -> Weights:
    """Some of a network's weights as float32 arrays."""
    state = network.state_dict()
    return {name: state[name].detach().cpu().numpy().astype(np.float32) for name in names}
