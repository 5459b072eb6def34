"""The process of one measurement of Table 3: one network, one task, alone in its memory. Prints one line of JSON.

    python -m scripts.experiments.resource_worker '{"task": "inference", "configs": [...], ...}'

Network, loss and optimizer are those of the bundle's configuration. The image is seeded noise in [0, 1]: neither time nor memory
depends on what it shows. Batch-norm statistics are set by a small batch first: with those of a new EfficientNet3D the activations
vanish, and numbers that small are slow on a CPU.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import scripts.network  # noqa: F401  before the measurement begins
from scripts.machine import forget_peak, resident_bytes

# Runs before the first that counts. A second training step is the first that has the optimizer's moments from its start.
WARM_UP = {"inference": 2, "training": 1}
SMALL = (2, 64, 64, 32)  # batch and edges of the images that set the batch-norm statistics


def measure(order: dict[str, Any]) -> dict[str, Any]:
    """Do what is asked.

    Args:
        order: "task" (describe, inference, training), "configs", "bundle_root", "modalities", "spatial_size", "batch_size",
            "device", "runs", "budget_s" (after which no further run is begun once one counts), "memory_limit_bytes" (of
            the process on the CPU; 0: none).

    Returns:
        "describe": parameters, trainable, bytes, multiply_adds (None with a reason).
        Else: seconds and processor seconds of each run, peak memory in bytes, threads, precision; or "did_not_fit", the reason.
    """
    parser = ConfigParser()
    parser.read_config(order["configs"])
    for name in ("bundle_root", "modalities", "device"):
        parser[name] = order[name]
    before = resident_bytes()  # torch, MONAI and the network's code are imported; the network is not there yet
    network: nn.Module = parser.get_parsed_content("network_def")
    if order["task"] == "describe":
        return _describe(network, len(order["modalities"]), order["spatial_size"])
    device = torch.device(order["device"])
    if device.type == "cpu" and order["memory_limit_bytes"]:
        # Malloc fails in this process before the kernel must end one of somebody else's.
        resource.setrlimit(resource.RLIMIT_DATA, (order["memory_limit_bytes"],) * 2)
    try:
        _set_statistics(network, len(order["modalities"]))
        step = (_inference if order["task"] == "inference" else _training)(parser, network, order)
        forget_peak()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        seconds, cpu_seconds = _times(step, order, device)
    except (RuntimeError, MemoryError) as error:  # torch.OutOfMemoryError is a RuntimeError
        if not _no_memory(error):
            raise
        return {"did_not_fit": str(error).strip().partition("\n")[0][:300]}
    said: dict[str, Any] = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "threads": torch.get_num_threads(),
        "precision": "mixed float16" if device.type == "cuda" and order["task"] == "training" else "float32",
        "resident_peak_bytes": resident_bytes("VmHWM"),
        "resident_before_bytes": before,
    }
    if device.type == "cuda":
        said["gpu"] = torch.cuda.get_device_name(device)
        said["cuda_allocated_bytes"] = torch.cuda.max_memory_allocated(device)
        said["cuda_reserved_bytes"] = torch.cuda.max_memory_reserved(device)
    return said


def _describe(network: nn.Module, channels: int, spatial_size: list[int]) -> dict[str, Any]:
    parameters = list(network.parameters())
    said: dict[str, Any] = {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "parameter_bytes": sum(parameter.numel() * parameter.element_size() for parameter in parameters),
    }
    try:
        # Shapes alone: nothing is computed. A multiply-add is two floating-point operations.
        with FlopCounterMode(display=False) as counted, torch.no_grad():
            network.to("meta").eval()(torch.empty(1, channels, *spatial_size, device="meta"))
        return {**said, "multiply_adds": counted.get_total_flops() // 2}
    except (RuntimeError, NotImplementedError) as error:
        return {**said, "multiply_adds": None, "multiply_adds_reason": str(error).partition("\n")[0][:300]}


def _set_statistics(network: nn.Module, channels: int) -> None:
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the plain mean of what was seen
    batch, *size = SMALL
    with torch.no_grad():
        network.train()(torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(0)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def _image(order: dict[str, Any]) -> torch.Tensor:
    shape = (order["batch_size"], len(order["modalities"]), *order["spatial_size"])
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(order["device"])


def _inference(parser: ConfigParser, network: nn.Module, order: dict[str, Any]) -> Callable[[], object]:
    network.to(order["device"]).eval()
    image = _image(order)  # (B, M, x, y, z)

    def step() -> object:
        with torch.no_grad():
            return network(image).cpu()

    return step


def _training(parser: ConfigParser, network: nn.Module, order: dict[str, Any]) -> Callable[[], object]:
    """As SupervisedTrainer: forward, loss, backward, step; on a GPU in mixed precision."""
    trained: nn.Module = parser.get_parsed_content("network").train()  # the same network, laid out as train.json says
    loss, optimizer = parser.get_parsed_content("loss"), parser.get_parsed_content("optimizer")
    device = torch.device(order["device"])
    mixed = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=mixed)
    image = _image(order)  # (B, M, x, y, z)
    label = (torch.arange(order["batch_size"], device=device) % 2).float()[:, None]  # (B, 1)

    def step() -> object:
        optimizer.zero_grad()
        with torch.autocast(device.type, enabled=mixed):
            found = loss(trained(image, return_logits=True), label)
        scaler.scale(found).backward()
        scaler.step(optimizer)
        scaler.update()
        return found.item()

    return step


def _times(step: Callable[[], object], order: dict[str, Any], device: torch.device) -> tuple[list[float], list[float]]:
    """Seconds on the clock, and of the processor in all threads, of each run that counts."""
    started = time.perf_counter()
    seconds: list[float] = []
    cpu_seconds: list[float] = []
    for run in range(WARM_UP[order["task"]] + order["runs"]):
        if seconds and time.perf_counter() - started + statistics.median(seconds) > order["budget_s"]:
            break
        start, cpu = time.perf_counter(), time.process_time()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if run >= WARM_UP[order["task"]]:
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu)
    return seconds, cpu_seconds


def _no_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = str(error).lower()
    return "allocate memory" in said or "out of memory" in said or "bad_alloc" in said


if __name__ == "__main__":
    print(json.dumps(measure(json.loads(sys.argv[1]))))
