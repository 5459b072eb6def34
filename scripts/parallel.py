"""Several processes at one training or one cohort (torchrun): numbers, devices, network, values together."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
import torch.distributed as dist
from monai.utils import evenly_divisible_all_gather
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scripts.errors import InputError
from scripts.network import ETSCNet

PATIENCE = timedelta(days=7)  # of a process that has scored its studies with those that have not


def rank() -> int:
    """This process's number among the distributed ones; 0 where there is one alone."""
    return dist.get_rank() if in_group() else 0


def in_group() -> bool:
    """Whether this process is one of several that talk to each other (torchrun), and not just one of several."""
    return dist.is_available() and dist.is_initialized()


def join_group(backend: str = "gloo") -> None:
    """Begin to talk to the others, which torchrun has started. They exchange next to nothing: gloo serves on GPUs, too."""
    if not in_group():
        dist.init_process_group(backend, timeout=PATIENCE)


def leave_group() -> None:
    """End it."""
    if in_group():
        dist.destroy_process_group()


def wait_for_all() -> None:
    """Go on when all of the group are here."""
    if in_group():
        dist.barrier()


def local_device() -> torch.device:
    """A GPU of this machine by torchrun's number of the process, several processes on one if there are more; the CPU without."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())


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
    if in_group():
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)


def gathered(values: Tensor) -> Tensor:
    """The values of all ranks, (N, ...) on the CPU."""
    return torch.as_tensor(evenly_divisible_all_gather(values.float(), concat=True)).cpu()
