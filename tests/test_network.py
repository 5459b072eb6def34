"""eTSC-Net: the paper's parameter counts, Eq. 2, any backbone, any number of modalities, scripting and tracing."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from monai.networks.nets import DenseNet121, resnet18
from torch import Tensor, nn

from scripts.network import BranchLoss, ETSCNet, LogitsInferer, SwinClassifier, efficientnet3d_b0

CONFIGS = Path(__file__).parents[1] / "bundle" / "configs"
MODALITIES = ("flair", "t2w", "t1w", "dwi")


class Mean(nn.Module):
    """A backbone whose logit is known: the image's mean."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean(dim=(2, 3, 4))


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_a_branch_has_the_papers_number_of_parameters() -> None:
    network = ETSCNet(["flair", "t2w"])
    assert [parameters(branch) for branch in network.branches.values()] == [4_689_661, 4_689_661]
    assert parameters(network) * 4 / 2**20 == pytest.approx(35.78, abs=0.005)  # Table 3: MiB of both branches


def test_the_resnet_overlay_is_the_papers_baseline() -> None:
    overlay = json.loads((CONFIGS / "resnet18.json").read_text())["backbone"]
    arguments = {name: value for name, value in overlay.items() if not name.startswith("_")}
    assert overlay["_target_"] == "monai.networks.nets.resnet18"
    assert parameters(resnet18(**arguments)) == 33_141_185


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_fused_score_is_the_weighted_average_of_the_branch_scores(count: int) -> None:
    network = ETSCNet(MODALITIES[:count], Mean)
    weights = torch.arange(1.0, count + 1) / sum(range(1, count + 1))
    network.fusion_weights.copy_(weights)
    image = torch.randn(3, count, 4, 5, 6, generator=torch.Generator().manual_seed(count))
    expected = (torch.sigmoid(image.mean(dim=(2, 3, 4))) * weights).sum(dim=1, keepdim=True)
    assert network(image).shape == (3, 1)
    torch.testing.assert_close(network(image), expected)
    torch.testing.assert_close(network(image, return_logits=True), image.mean(dim=(2, 3, 4)))
    torch.testing.assert_close(network.fuse(network(image, return_logits=True)), network(image))


def test_each_branch_sees_its_own_modality_alone(network: ETSCNet) -> None:
    image = torch.rand(1, 2, 32, 32, 32)
    other = image.clone()
    other[:, 1] = torch.rand(1, 32, 32, 32)
    before, after = network(image, return_logits=True), network(other, return_logits=True)
    assert before[0, 0] == after[0, 0]
    assert before[0, 1] != after[0, 1]


@pytest.mark.parametrize("modalities", [[], ["flair", "flair"]])
def test_modalities_are_named_once_each(modalities: list[str]) -> None:
    with pytest.raises(ValueError, match="one or more different names"):
        ETSCNet(modalities)


@pytest.mark.parametrize(
    "backbone",
    [
        partial(resnet18, spatial_dims=3, n_input_channels=1, num_classes=1, conv1_t_size=3),
        partial(DenseNet121, spatial_dims=3, in_channels=1, out_channels=1),
        partial(SwinClassifier, feature_size=12),
    ],
    ids=["resnet18", "densenet121", "swin"],
)
def test_any_backbone_serves_as_a_branch(backbone: Callable[[], nn.Module]) -> None:
    network = ETSCNet(["flair", "t2w"], backbone).eval()
    pred = network(torch.rand(1, 2, 32, 32, 32))
    assert pred.shape == (1, 1)
    assert 0 < pred.item() < 1


@pytest.fixture(scope="module")
def network() -> ETSCNet:
    """The paper's, its batch norm with real statistics: untrained, its logits are near 1e-14 whatever the input."""
    torch.manual_seed(0)
    network = ETSCNet(["flair", "t2w"])
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = None  # a cumulative average
    network.train()
    with torch.no_grad():
        for seed in range(4):
            network(torch.rand(2, len(network.modalities), 64, 64, 32, generator=torch.Generator().manual_seed(seed)))
    return network.eval()


@pytest.mark.parametrize("convert", ["script", "trace"])
def test_torchscript_gives_the_same_score(convert: str, network: ETSCNet) -> None:
    image = torch.rand(1, 2, 64, 64, 32)
    converted = torch.jit.script(network) if convert == "script" else torch.jit.trace(network, image)
    logits = network(image, return_logits=True)
    assert logits.abs().max() > 1e-3, "a dead network proves nothing"
    torch.testing.assert_close(converted(image), network(image), rtol=0, atol=1e-6)  # the same kernels


def test_the_inferer_gives_the_branches_logits() -> None:
    network = ETSCNet(["flair", "t2w"], Mean)
    image = torch.rand(2, 2, 4, 4, 4)
    torch.testing.assert_close(LogitsInferer()(image, network), network(image, return_logits=True))


def test_the_loss_gives_each_branch_the_gradient_of_a_training_of_its_own() -> None:
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.1], [-0.4, 0.9]], requires_grad=True)
    label = torch.tensor([[1.0], [0.0], [1.0]])
    (together,) = torch.autograd.grad(BranchLoss()(logits, label), logits)
    for branch in range(2):
        alone = logits[:, branch].detach().requires_grad_()
        loss = nn.functional.binary_cross_entropy_with_logits(alone, label[:, 0])
        (gradient,) = torch.autograd.grad(loss, alone)
        torch.testing.assert_close(together[:, branch], gradient)


def test_weights_and_threshold_and_grid_travel_in_the_checkpoint() -> None:
    network = ETSCNet(["flair", "t2w"], Mean)
    network.fusion_weights.copy_(torch.tensor([0.4, 0.6]))
    network.threshold.fill_(0.37)
    network.spatial_size.copy_(torch.tensor([96, 96, 64]))
    loaded = ETSCNet(["flair", "t2w"], Mean)
    loaded.load_state_dict(network.state_dict())
    assert loaded.fusion_weights.tolist() == pytest.approx([0.4, 0.6])
    assert float(loaded.threshold) == pytest.approx(0.37)
    loaded.check_spatial_size((96, 96, 64))
    with pytest.raises(
        ValueError, match=r"trained on images of \(96, 96, 64\) voxels, this run prepares \(256, 256, 128\)"
    ):
        loaded.check_spatial_size((256, 256, 128))


def test_silu_stands_for_the_memory_efficient_swish() -> None:
    torch.manual_seed(1)
    stock = efficientnet3d_b0().eval()
    ours = ETSCNet(["flair"]).eval()
    ours.branches["flair"].load_state_dict(stock.state_dict())
    image = torch.rand(1, 1, 32, 32, 32)
    for module in (stock, ours):
        for norm in module.modules():
            if isinstance(norm, nn.BatchNorm3d):
                assert norm.running_var is not None
                norm.running_var.fill_(0.05)  # an untrained network in evaluation mode is dead: wake it
    logits = ours(image, return_logits=True)
    assert logits.abs().max() > 1e-6
    torch.testing.assert_close(logits, stock(image), rtol=1e-4, atol=0)  # x * sigmoid(x) by two kernels
