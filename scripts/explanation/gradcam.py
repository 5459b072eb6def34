"""Grad-CAM of one branch: which layer, where its feature map lies in the image, and the map towards an outcome.

MONAI's GradCAM and GradCAMpp on the branch with two outputs, (-logit, logit): index 0 is the score towards "uncontrolled", 1
towards "controlled". The map is relu(sum_c a_c A_c): features A_c, a_c the mean over space of the score's gradient.

A feature map is coarse, and it does not lie where a picture of the same extent would: the padding of TensorFlow ("same", more
behind than before), which EfficientNet has, puts the middle of a feature's receptive field almost half a coarse voxel behind the
middle of its cell. `feature_grid` follows kernels, strides and paddings to place it. With the shipped weights the centre of the
gradient's energy in the image agrees: 2.4 to 3.2 voxels at stride 4 (traced 3, cell 1.5).

Sources: Selvaraju et al. 2017, arXiv:1610.02391; Chattopadhyay et al. 2018, arXiv:1710.11063; random weights as a check: Adebayo
et al. 2018, arXiv:1810.03292.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.visualize import GradCAM, GradCAMpp
from numpy.typing import NDArray
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.network import ETSCNet

METHODS = {"gradcam": GradCAM, "gradcam++": GradCAMpp}
# The stages of the backbones that the overlays name: EfficientNet, ResNet, DenseNet, Swin.
STAGE = re.compile(r"_blocks\.\d+|layer\d+|features\.denseblock\d+|encoder\.layers\d+\.\d+")
LEAST_EDGE = 8  # voxels of the feature map along its shortest edge, where a stage has as many


@dataclass(frozen=True)
class FeatureGrid:
    """Where a layer's feature map lies in the image: its voxel i is centred on the image's voxel scale · i + offset.

    Attributes:
        layer: its name in the branch.
        shape: (x, y, z) of the feature map, voxels.
        scale: the image's voxels a feature voxel, along each axis.
        offset: of the first feature voxel, in the image's voxels.
        traced: from kernels, strides and paddings; else the map is taken to fill the image evenly, cell by cell.
    """

    layer: str
    shape: tuple[int, int, int]
    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    traced: bool

    def affine(self, image: NDArray[np.float64]) -> NDArray[np.float64]:
        """(4, 4), feature voxel -> mm, from the image's own (4, 4), voxel -> mm."""
        inside = np.diag([*self.scale, 1.0])
        inside[:3, 3] = self.offset
        placed: NDArray[np.float64] = image @ inside
        return placed


def choose_layer(branch: nn.Module, image: Tensor) -> str:
    """The last stage whose feature map has `LEAST_EDGE` voxels along every axis; where none has, the one with the most.

    Args:
        branch: one channel to one logit, in evaluation mode.
        image: (1, 1, x, y, z).

    Raises:
        InputError: a backbone whose stages are not known.
    """
    shapes = {name: shape for name, shape in _shapes(branch, image).items() if STAGE.fullmatch(name)}
    if not shapes:
        raise InputError(
            f"the stages of a {type(branch).__name__} are not known",
            expected="EfficientNet, ResNet, DenseNet or the Swin transformer",
            remedy="Give --layer, the name of the module whose features the map is to be made of.",
        )
    fine = [name for name, shape in shapes.items() if min(shape) >= LEAST_EDGE]
    return fine[-1] if fine else max(shapes, key=lambda name: min(shapes[name]))


def feature_grid(branch: nn.Module, layer: str, image: Tensor) -> FeatureGrid:
    """Place the layer's feature map in the image.

    Args:
        branch: one channel to one logit, in evaluation mode.
        layer: the name of a module that gives features (1, C, x', y', z').
        image: (1, 1, x, y, z).

    Raises:
        InputError: no such layer, or one that gives no features in space.
    """
    shapes = _shapes(branch, image)
    if layer not in shapes:
        stages = ", ".join(f"{name} ({_by(shape)})" for name, shape in shapes.items() if STAGE.fullmatch(name))
        raise InputError(
            f"layer {layer!r} is no module with a feature map of more than one voxel",
            expected=f"a module of the branch, such as {stages or ', '.join(shapes)}",
            remedy="Correct --layer, or leave it out.",
        )
    shape, edges = shapes[layer], image.shape[2:]
    scale, offset = _trace(branch, layer, image)
    fits = all(abs(n * s - edge) < s for n, s, edge in zip(shape, scale, edges, strict=True))
    if not fits:  # a module that divides space by other means than the traced ones, such as Swin's merging of patches
        scale = [edge / n for n, edge in zip(shape, edges, strict=True)]
        offset = [(s - 1) / 2 for s in scale]
    return FeatureGrid(layer, shape, (scale[0], scale[1], scale[2]), (offset[0], offset[1], offset[2]), traced=fits)


class ClassMap:
    """Makes the maps of one branch.

    Args:
        branch: in evaluation mode. Its parameters in front of the layer stop to take gradients, so that nothing in front of it
            is kept in memory.
        layer: as of `feature_grid`.
        method: of `METHODS`.
    """

    def __init__(self, branch: nn.Module, layer: str, *, method: str = "gradcam") -> None:
        if method not in METHODS:
            raise InputError(f"method is {method!r}", expected=" or ".join(METHODS), remedy="Correct --method.")
        inside = list(branch.get_submodule(layer).parameters())
        branch.requires_grad_(not inside)
        for parameter in inside:
            parameter.requires_grad_()
        # The identity in the place of MONAI's normaliser, which turns large and small round.
        # In evaluation mode: MONAI puts the network back, after each map, into the mode that it finds its outermost module in.
        self._cam = METHODS[method](_Outcomes(branch).eval(), f"branch.{layer}", postprocessing=lambda x: x)

    def __call__(self, image: Tensor, label: int) -> NDArray[np.float32]:
        """The map towards the outcome.

        Args:
            image: (1, 1, x, y, z).
            label: 1 controlled, 0 uncontrolled.

        Returns:
            (x', y', z') float32 of the feature grid, 0 or more; 0 everywhere where no feature speaks for the outcome.
        """
        with torch.enable_grad(), warnings.catch_warnings():
            # It fires at the layer's output, which is what is wanted: nothing in front of the layer takes gradients.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            coarse = self._cam.compute_map(image, class_idx=label)[0, 0]  # type: ignore[no-untyped-call]  # (x', y', z')
        found: NDArray[np.float32] = coarse.detach().float().cpu().numpy()
        return found


class _Outcomes(nn.Module):
    """(B, 1, x, y, z) -> (B, 2): the scores towards uncontrolled and controlled."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, image: Tensor) -> Tensor:
        logit = self.branch(image)  # (B, 1)
        return torch.cat([-logit, logit], dim=1)


def randomised(network: ETSCNet, images: Sequence[Tensor], *, seed: int) -> ETSCNet:
    """The same network with weights drawn anew: what a map shows without any training.

    Batch normalisation's running statistics are measured on the images, two at a time: without, evaluation mode lets nothing
    pass. A parameter of no layer that can draw its own is shuffled.

    Args:
        network: stays as it is.
        images: of (1, M, x, y, z), two or more.
        seed: of the weights.

    Raises:
        InputError: fewer than two images.
    """
    if len(images) < 2:
        raise InputError(
            f"{len(images)} study for the statistics of random weights",
            expected="two or more",
            remedy="Give a cohort, or leave --random_seed out.",
        )
    drawn = copy.deepcopy(network)
    device = next(network.parameters()).device
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for module in drawn.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                continue
            for parameter in module.parameters(recurse=False):
                flat = parameter.flatten()
                parameter.copy_(flat[torch.randperm(len(flat)).to(device)].view_as(parameter))
        norms = [module for module in drawn.modules() if isinstance(module, nn.BatchNorm3d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train().momentum = None  # the mean over all batches
        for first in range(0, len(images) - 1, 2):
            drawn(torch.cat([*images[first : first + 2]]).to(device))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return drawn.eval()


def _shapes(branch: nn.Module, image: Tensor) -> dict[str, tuple[int, int, int]]:
    """Module -> (x', y', z') of its features, in the order in which they are finished; more than one voxel."""
    found: dict[str, tuple[int, int, int]] = {}

    def note(name: str, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 5 and max(output.shape[2:]) > 1:
            found[name] = (output.shape[2], output.shape[3], output.shape[4])

    _watch(branch, image, {name: module for name, module in branch.named_modules() if name}, note)
    return found


def _trace(branch: nn.Module, layer: str, image: Tensor) -> tuple[list[float], list[float]]:
    """(scale, offset) by axis from the modules that ran before the layer was finished."""
    scale, offset, finished = [1.0] * 3, [0.0] * 3, False

    def note(name: str, _: object) -> None:
        nonlocal finished
        if not finished and "downsample" not in name:  # a ResNet's shortcut lies beside the path that is followed
            for axis, (kernel, stride, before) in enumerate(_reach(watched[name])):
                offset[axis] += scale[axis] * ((kernel - 1) / 2 - before)
                scale[axis] *= stride
        finished = finished or name == layer

    steps = (nn.Conv3d, nn.MaxPool3d, nn.AvgPool3d, nn.ConstantPad3d)
    watched = {name: module for name, module in branch.named_modules() if isinstance(module, steps) or name == layer}
    _watch(branch, image, watched, note)
    return scale, offset


def _reach(module: nn.Module) -> list[tuple[float, float, float]]:
    """(kernel, stride, padding before) by axis: output i is centred on input stride · i + (kernel - 1) / 2 - before."""
    if isinstance(module, nn.ConstantPad3d):
        z0, _, y0, _, x0, _ = module.padding  # torch names the last axis first
        return [(1, 1, x0), (1, 1, y0), (1, 1, z0)]
    if isinstance(module, nn.Conv3d):
        kernel = [(k - 1) * d + 1 for k, d in zip(module.kernel_size, module.dilation, strict=True)]
        before: list[float] = [0.0] * 3  # "valid"
        if not isinstance(module.padding, str):
            before = [float(p) for p in module.padding]
        elif module.padding == "same":
            before = [(k - 1) / 2 for k in kernel]
        return list(zip(kernel, module.stride, before, strict=True))
    if isinstance(module, nn.MaxPool3d | nn.AvgPool3d):
        triples = [(v,) * 3 if isinstance(v, int) else v for v in (module.kernel_size, module.stride, module.padding)]
        return list(zip(*triples, strict=True))
    return [(1, 1, 0)] * 3


def _watch(
    branch: nn.Module, image: Tensor, modules: Mapping[str, nn.Module], note: Callable[[str, object], None]
) -> None:
    """One pass without gradients; `note(name, output)` as each module is finished."""

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda _module, _input, output: note(name, output)

    handles = [module.register_forward_hook(hook(name)) for name, module in modules.items()]
    try:
        with torch.no_grad():
            branch(image)
    finally:
        for handle in handles:
            handle.remove()


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
