"""Several processes at one training or one cohort (torchrun): numbers, devices, network, values together."""

from __future__ import annotations

import torch
import torch.distributed as dist
from monai.utils import evenly_divisible_all_gather
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scripts.errors import InputError
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


def share_of_batch(batch_size: int, world_size: int) -> int:
    """The cases of a training step that each of the processes takes.

    Raises:
        InputError: they don't share the batch evenly.
    """
    if batch_size < 1 or world_size < 1 or batch_size % world_size:
        raise InputError(
            f"a batch of {batch_size} for {world_size} processes",
            expected="a multiple of their number: batch_size is that of all of them together",
            remedy="Correct --batch_size, or start as many processes as divide it.",
        )
    return batch_size // world_size


def share_buffers(network: nn.Module) -> None:
    """Give every process rank 0's buffers, whose network is the one that is saved.

    Where batch norm is not synchronised (on the CPU), each process has moved its own running statistics since the last step's
    start, and a validation would be of several networks.
    """
    if dist.is_available() and dist.is_initialized():
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def gathered(values: Tensor) -> Tensor:
    """The values of all ranks, (N, ...) on the CPU."""
    return torch.as_tensor(evenly_divisible_all_gather(values.float(), concat=True)).cpu()
