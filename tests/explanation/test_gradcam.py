"""Grad-CAM of networks whose maps can be told beforehand, and where a feature map lies in its image."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.explanation.gradcam import ClassMap, choose_layer, feature_grid, randomised
from scripts.network import ETSCNet, efficientnet3d_b0
from tests.conftest import BUNDLE

SIZE = (32, 32, 32)


class Cells(nn.Module):
    """Features: the mean of each 4 x 4 x 4 cell, and that of its left half alone; logit: a weighted mean over the cells."""

    def __init__(self, weights: tuple[float, float]) -> None:
        super().__init__()
        self.features = nn.Conv3d(1, 2, kernel_size=4, stride=4, bias=False)
        kernel = torch.full((2, 1, 4, 4, 4), 1 / 64)
        kernel[1, :, 2:] = 0
        self.features.weight.data = kernel
        self.weights = weights

    def forward(self, image: Tensor) -> Tensor:
        means = self.features(image).mean(dim=(2, 3, 4))  # (B, 2)
        logit: Tensor = (means * torch.tensor(self.weights)).sum(dim=1, keepdim=True)
        return logit


def spot(at: tuple[int, int, int]) -> Tensor:
    image = torch.zeros(1, 1, *SIZE)
    image[0, 0, at[0], at[1], at[2]] = 1
    return image


def test_the_map_of_a_network_that_wants_brightness_lies_on_the_bright_spot_and_nowhere_else() -> None:
    branch = Cells((2.0, 0.0))
    found = ClassMap(branch, "features")(spot((5, 18, 31)), 1)
    expected = np.zeros((8, 8, 8))
    expected[1, 4, 7] = (2 / 512) * (1 / 64)  # gradient a cell, by the cell's mean
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_speaks_for_one_outcome_is_no_evidence_for_the_other() -> None:
    one = ClassMap(Cells((2.0, 0.0)), "features")
    assert one(spot((5, 18, 31)), 1).max() > 0 and one(spot((5, 18, 31)), 0).max() == 0
    other = ClassMap(Cells((-2.0, 0.0)), "features")
    assert other(spot((5, 18, 31)), 1).max() == 0 and other(spot((5, 18, 31)), 0).max() > 0


def test_evidence_for_and_against_is_weighed_place_by_place() -> None:
    branch = Cells((1.0, -3.0))  # a spot in the left half of its cell speaks against, in the right half for
    image = spot((4, 4, 4)) + spot((30, 30, 30))
    controlled, uncontrolled = (ClassMap(branch, "features")(image, label) for label in (1, 0))
    assert np.argwhere(controlled > 0).tolist() == [[7, 7, 7]]
    assert np.argwhere(uncontrolled > 0).tolist() == [[1, 1, 1]]
    assert uncontrolled.max() == pytest.approx(2 * controlled.max())


def test_the_network_still_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    network = randomised(ETSCNet(["flair"]), [torch.rand(1, 1, *SIZE) for _ in range(2)], seed=0)
    branch, image = network.branches["flair"], torch.rand(1, 1, *SIZE)
    with torch.no_grad():
        before = branch(image)
        ClassMap(branch, "_blocks.1")(image, 0)
        assert not any(module.training for module in branch.modules())
        assert torch.equal(branch(image), before)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv3d(1, 1, 3, stride=2, padding=1)],
        [nn.ConstantPad3d((0, 1, 0, 1, 0, 1), 0.0), nn.Conv3d(1, 1, 3, stride=2)],
        [nn.ConstantPad3d((1, 2, 1, 2, 1, 2), 0.0), nn.Conv3d(1, 1, 5, stride=2), nn.Conv3d(1, 1, 3, padding="same")],
        [nn.Conv3d(1, 1, (3, 5, 7), stride=(1, 2, 4), padding=(1, 2, 3)), nn.Conv3d(1, 1, 3, dilation=2, padding=2)],
        [nn.Conv3d(1, 1, 7, stride=2, padding=3), nn.MaxPool3d(3, stride=2, padding=1), nn.AvgPool3d(2)],
    ],
)
def test_a_feature_is_placed_on_the_middle_of_what_it_sees(layers: list[nn.Module]) -> None:
    torch.manual_seed(0)
    branch = nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    for parameter in branch.parameters():
        nn.init.uniform_(parameter, 0.5, 1.0)  # nothing cancels
    image = torch.rand(1, 1, *SIZE, requires_grad=True)
    grid = feature_grid(branch, "0", image)
    assert grid.traced
    features = branch[0](image)
    assert features.shape[2:] == grid.shape
    chosen = tuple(edge // 2 for edge in grid.shape)
    image.grad = None
    features[0, 0][chosen].backward()
    gradient: Tensor | None = image.grad  # said again: the checker still holds it for the None that it was set to
    assert gradient is not None
    seen = np.argwhere(gradient[0, 0].numpy() != 0)
    if not any(isinstance(module, nn.MaxPool3d) for module in layers):  # a maximum sends its gradient to one voxel
        middle = (seen.min(axis=0) + seen.max(axis=0)) / 2
        np.testing.assert_allclose(np.multiply(grid.scale, chosen) + grid.offset, middle)
    else:
        assert (np.abs(np.multiply(grid.scale, chosen) + grid.offset - seen.mean(axis=0)) < grid.scale).all()


def test_space_that_is_divided_by_other_means_is_taken_cell_by_cell() -> None:
    class Folding(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return image[:, :, ::4, ::4, ::4]

    branch = nn.Sequential(Folding(), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    grid = feature_grid(branch, "0", torch.rand(1, 1, *SIZE))
    assert not grid.traced and grid.scale == (4, 4, 4) and grid.offset == (1.5, 1.5, 1.5)


def test_the_affine_says_where_the_first_feature_and_its_neighbours_are() -> None:
    branch = nn.Sequential(nn.Conv3d(1, 1, 3, stride=2, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    grid = feature_grid(branch, "0", torch.rand(1, 1, *SIZE))
    image = np.diag([2.0, 3.0, 5.0, 1.0])
    image[:3, 3] = [-10, 20, 30]
    np.testing.assert_allclose(grid.affine(image) @ [0, 0, 0, 1], [-10, 20, 30, 1])
    np.testing.assert_allclose(grid.affine(image) @ [1, 1, 1, 1], [-6, 26, 40, 1])


def test_the_last_stage_that_is_fine_enough_is_chosen() -> None:
    branch = efficientnet3d_b0().eval()
    wide, small = torch.zeros(1, 1, 64, 64, 64), torch.zeros(1, 1, *SIZE)
    assert feature_grid(branch, choose_layer(branch, wide), wide).shape == (8, 8, 8)
    assert choose_layer(branch, wide) == "_blocks.2" and choose_layer(branch, small) == "_blocks.1"
    grid = feature_grid(branch, "_blocks.1", small)
    assert grid.scale == (4, 4, 4) and grid.offset == (3, 3, 3) and grid.traced  # padded behind alone, twice


def test_a_layer_that_holds_no_map_is_refused_and_others_are_named() -> None:
    branch = efficientnet3d_b0().eval()
    for layer in ("_blocks.9", "_fc", "_blocks.6"):  # at this size the last stage is one voxel
        with pytest.raises(InputError, match=r"_blocks\.1 \(8 x 8 x 8\)"):
            feature_grid(branch, layer, torch.zeros(1, 1, *SIZE))
    with pytest.raises(InputError, match="--layer"):
        choose_layer(Cells((1.0, 1.0)), torch.zeros(1, 1, *SIZE))


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="method"):
        ClassMap(Cells((1.0, 1.0)), "features", method="saliency")


def overlay(name: str) -> Callable[[], nn.Module]:
    parser = ConfigParser({**json.loads((BUNDLE / "configs" / name).read_text()), "code_path": ""})
    made: Callable[[], nn.Module] = parser.get_parsed_content("backbone")
    return made


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("resnet18.json", "gradcam"),
        ("densenet121.json", "gradcam"),
        ("densenet121.json", "gradcam++"),
        ("swin.json", "gradcam"),
    ],
)
def test_the_backbones_of_the_overlays_give_maps(name: str, method: str) -> None:
    torch.manual_seed(0)
    branch = ETSCNet(["flair"], overlay(name)).eval().branches["flair"]
    image = torch.rand(1, 1, *SIZE)
    layer = choose_layer(branch, image)
    shape = feature_grid(branch, layer, image).shape
    maps = [ClassMap(branch, layer, method=method)(image, label) for label in (0, 1)]
    assert min(shape) >= 8
    assert all(found.shape == shape and np.isfinite(found).all() and found.min() >= 0 for found in maps)
    assert not np.array_equal(maps[0], maps[1])


def test_random_weights_are_alive_seeded_and_leave_the_trained_ones_alone() -> None:
    torch.manual_seed(0)
    network = ETSCNet(["flair", "t2w"]).eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    images = [torch.rand(1, 2, *SIZE) * scale for scale in (0.5, 1.0, 0.2, 0.8)]
    with torch.no_grad():
        one, same, other = (randomised(network, images, seed=s)(images[0], return_logits=True) for s in (1, 1, 2))
        again = randomised(network, images, seed=1)(images[1], return_logits=True)
    assert torch.equal(one, same) and not torch.allclose(one, other, atol=1e-3)
    assert not torch.allclose(one, again, atol=1e-3), (
        "a network whose statistics don't fit says the same of every image"
    )
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    with pytest.raises(InputError, match="1 study"):
        randomised(network, images[:1], seed=0)
