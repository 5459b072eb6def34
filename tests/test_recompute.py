"""Activation checkpointing: the same gradients, statistics, random draws and weights, in less memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
import torch
from monai.networks.nets import DenseNet121, resnet18
from monai.networks.nets.efficientnet import EfficientNet
from torch import Tensor, nn

from scripts.best_branches import BestBranches, best_network
from scripts.checkpoint import load_model, save
from scripts.config import check_amp
from scripts.errors import InputError
from scripts.network import BranchLoss, ETSCNet, SwinClassifier, efficientnet3d_b0
from scripts.recompute import Recomputed, recompute_blocks
from tests.small_bundle import BACKBONE

MODALITIES = ("flair", "t2w")
BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "efficientnet": efficientnet3d_b0,
    "resnet18": partial(resnet18, spatial_dims=3, n_input_channels=1, num_classes=1, conv1_t_size=3, widen_factor=0.25),
    "densenet121": partial(DenseNet121, spatial_dims=3, in_channels=1, out_channels=1),
    "swin": partial(SwinClassifier, feature_size=12),
}
LABEL = torch.tensor([[1.0], [0.0]])


def pair(backbone: Callable[[], nn.Module]) -> tuple[ETSCNet, ETSCNet]:
    """The same network twice, without and with checkpointing."""
    torch.manual_seed(0)
    plain = ETSCNet(MODALITIES, backbone)
    lean = ETSCNet(MODALITIES, backbone, activation_checkpointing=True)
    lean.load_state_dict(plain.state_dict())
    return plain, lean


def image() -> Tensor:
    return torch.rand(2, 2, 32, 32, 32, generator=torch.Generator().manual_seed(1))


def step(network: ETSCNet, seed: int = 2) -> tuple[float, dict[str, Tensor], int]:
    """Loss, gradients, and the bytes that the forward pass keeps for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(seed)  # of drop-connect
    network.train().zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = BranchLoss()(network(image(), return_logits=True), LABEL)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    return float(loss.detach()), gradients, sum(kept.values())


SLOW = ("densenet121", "swin")


@pytest.mark.parametrize(
    "backbone", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in BACKBONES]
)
def test_gradients_and_running_statistics_are_those_without(backbone: str) -> None:
    plain, lean = pair(BACKBONES[backbone])
    loss, gradients, kept = step(plain)
    lean_loss, lean_gradients, lean_kept = step(lean)
    assert lean_loss == loss
    assert lean_gradients.keys() == gradients.keys() == dict(plain.named_parameters()).keys()
    largest = max(float(gradient.abs().max()) for gradient in gradients.values())
    for name, gradient in gradients.items():
        # The same kernels on the same numbers; memory layouts may differ, and with them the order of sums.
        torch.testing.assert_close(lean_gradients[name], gradient, rtol=0, atol=1e-6 * largest, msg=name)
    ours, theirs = plain.state_dict(), lean.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours), "running statistics moved once, bit by bit"
    assert lean_kept < 0.75 * kept


def test_the_test_of_the_statistics_would_see_a_second_update(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, lean = pair(efficientnet3d_b0)
    monkeypatch.setattr("scripts.recompute._contexts", lambda block: (nullcontext(), nullcontext()))
    step(plain), step(lean)
    counts = [
        {name: int(value) for name, value in network.state_dict().items() if name.endswith("num_batches_tracked")}
        for network in (plain, lean)
    ]
    # Each block's recomputation ends at the last tensor that is needed, which is before its last batch norm or behind it.
    assert set(counts[0].values()) == {1} and max(counts[1].values()) == 2


def test_drop_connect_draws_the_same_twice_and_another_time_otherwise() -> None:
    _, lean = pair(efficientnet3d_b0)
    first, again, other = step(lean, seed=2), step(lean, seed=2), step(lean, seed=3)
    assert first[0] == again[0] != other[0]


def test_in_evaluation_nothing_is_computed_twice_and_the_network_scripts_and_traces(tmp_path: Path) -> None:
    small = partial(EfficientNet, **BACKBONE)  # two blocks
    _, lean = pair(small)
    for module in lean.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None  # statistics of their own: an untrained network in evaluation is dead
    step(lean)
    lean.eval()
    assert any(isinstance(module, Recomputed) for module in lean.modules())
    expected = lean(image(), return_logits=True)
    assert expected.abs().max() > 1e-3
    for converted in (torch.jit.script(lean), torch.jit.trace(lean, image())):
        torch.testing.assert_close(converted(image()), lean(image()), rtol=0, atol=1e-6)
    lean.spatial_size.fill_(32)
    save(lean.state_dict(), tmp_path / "model.pt")
    plain = load_model(ETSCNet(MODALITIES, small), tmp_path / "model.pt", spatial_size=[32, 32, 32], device="cpu")
    assert torch.equal(plain(image(), return_logits=True), expected)


def test_the_released_copy_of_a_training_network_scores_as_it_does() -> None:
    _, lean = pair(efficientnet3d_b0)
    branches = BestBranches(lean)
    branches.best = {name: {"state": branch.state_dict()} for name, branch in lean.branches.items()}
    assert torch.equal(best_network(lean, branches)(image()), lean.eval()(image()))


def test_a_backbone_without_a_known_block_is_refused() -> None:
    with pytest.raises(InputError, match="no block that it knows; expected one of MBConvBlock"):
        ETSCNet(MODALITIES, partial(nn.Linear, 4, 1), activation_checkpointing=True)
    assert recompute_blocks(ETSCNet(["flair"])) == 16 and recompute_blocks(ETSCNet(["flair"], BACKBONES["swin"])) == 8


def test_asking_twice_changes_nothing() -> None:
    _, lean = pair(efficientnet3d_b0)
    kinds = [type(module) for module in lean.modules()]
    recompute_blocks(lean)
    assert [type(module) for module in lean.modules()] == kinds


def test_mixed_precision_without_a_gpu_is_refused() -> None:
    with pytest.raises(InputError, match="amp on the device cpu; expected a CUDA device"):
        check_amp(True, "cpu")
    with pytest.raises(InputError, match="amp is 'bf16'"):
        check_amp("bf16", "cuda")
    check_amp(False, "cpu")
    check_amp(True, "cuda:1")
