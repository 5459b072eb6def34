"""Several processes at one training (torchrun): their number, their network, their values together."""

from __future__ import annotations

import torch
import torch.distributed as dist
from monai.utils import evenly_divisible_all_gather
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scripts.network import ETSCNet


def rank() -> int:
    """This process's number among the distributed ones; 0 where there is one alone."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def data_parallel(network: ETSCNet, device: torch.device | str) -> DistributedDataParallel:
    """The network for several processes: gradients averaged, and on GPUs batch norm over the whole batch of all of them.

    On GPUs the synchronised layers take their places inside `network`; the weights' names stay.
    """
    device = torch.device(device)
    if device.type == "cuda":
        for name, branch in network.branches.items():
            network.branches[name] = nn.SyncBatchNorm.convert_sync_batchnorm(branch)
        return DistributedDataParallel(network, device_ids=[device.index])
    return DistributedDataParallel(network)


def gathered(values: Tensor) -> Tensor:
    """The values of all ranks, (N, ...) on the CPU."""
    return torch.as_tensor(evenly_divisible_all_gather(values.float(), concat=True)).cpu()
