"""One study -> the maps of every branch on the images' own grids, and the scores that they explain.

The preprocessing is the bundle's own, run step by step: before the resizing it holds the brain on the voxels that were measured,
after it the grid that the network sees, each with its affine. So a feature map has a place in space, and is laid over the brain
from there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Resized
from torch import Tensor

from scripts.bids import Case
from scripts.case_result import fusion, scored
from scripts.errors import InputError
from scripts.explanation.gradcam import ClassMap, FeatureGrid, choose_layer, feature_grid
from scripts.explanation.maps import BrainMap, Float64, lay_over
from scripts.network import ETSCNet
from scripts.outcome import OUTCOMES


@dataclass(frozen=True)
class Explanation:
    """Of one study.

    Attributes:
        result: "case", "score", "branch_scores", "fusion_weights", "threshold", "decision", "outcome" that the maps speak for.
        maps, grids: by modality.
        stored: modality -> (shape, affine) of the image's file.
        image_shape: (x, y, z) that the network sees.
        cells_mm: modality -> edges of a feature's cell along the axes that are nearest to R, A, S.
    """

    result: dict[str, Any]
    maps: Mapping[str, BrainMap]
    grids: Mapping[str, FeatureGrid]
    stored: Mapping[str, tuple[tuple[int, ...], Float64]]
    image_shape: tuple[int, ...]
    cells_mm: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Choice:
    """What is shown.

    Attributes:
        layer: of the branches; None: as of `gradcam.choose_layer`.
        method: of `gradcam.METHODS`.
        target: the outcome that the maps speak for, or "decided": what the fused score decides.
    """

    layer: str | None = None
    method: str = "gradcam"
    target: str = "decided"


class Explainer:
    """Case -> Explanation.

    Args:
        network: trained, in evaluation mode.
        transform: the bundle's preprocessing.
        spatial_size: (x, y, z) of the images that it prepares.
        choice: layer, method and target.
        shown: the network whose maps are made, where it is not the trained one.

    Raises:
        InputError: a layer or a method that there is not.
    """

    def __init__(
        self,
        network: ETSCNet,
        transform: Compose,
        *,
        spatial_size: Sequence[int],
        choice: Choice,
        shown: ETSCNet | None = None,
    ) -> None:
        self.network, self.transform, self.target, self.shown = network, transform, choice.target, shown or network
        empty = torch.zeros(1, 1, *spatial_size, device=next(network.parameters()).device)
        self._grids: dict[str, FeatureGrid] = {}
        self._maps: dict[str, ClassMap] = {}
        for name, branch in self.shown.branches.items():
            layer = choice.layer or choose_layer(branch, empty)
            self._grids[name] = feature_grid(branch, layer, empty)
            self._maps[name] = ClassMap(branch, layer, method=choice.method)

    def __call__(self, case: Case) -> Explanation:
        """Raises InputError: the case is at fault, or the network gives no finite score."""
        loaded, native, data = prepare(self.transform, case)
        image = data["image"].as_tensor()[None].to(next(self.network.parameters()).device)  # (1, M, x, y, z)
        result = self._result(str(case["case"]), image)
        maps, cells = {}, {}
        for channel, (name, make) in enumerate(self._maps.items()):
            placed = self._grids[name].affine(_affine(data[name]))
            coarse = make(image[:, channel : channel + 1], OUTCOMES.index(result["outcome"]))
            if not np.isfinite(coarse).all():
                raise InputError(
                    f"the map of {name} is not finite",
                    expected="numbers",
                    remedy="Try --method gradcam.",
                    case=str(case["case"]),
                )
            brain = native[name].as_tensor()[0].cpu().numpy()
            maps[name] = lay_over(coarse, placed, image=brain, affine=_affine(native[name]))
            cells[name] = tuple(round(float(edge), 2) for edge in np.linalg.norm(placed[:3, :3], axis=0))
        stored = {name: (tuple(loaded[name].shape[1:]), _affine(loaded[name])) for name in maps}
        return Explanation(result, maps, dict(self._grids), stored, tuple(image.shape[2:]), cells)

    def _result(self, case: str, image: Tensor) -> dict[str, Any]:
        network = self.network
        with torch.no_grad():
            logits = network(image, return_logits=True)
            score, branches = float(network.fuse(logits)), torch.sigmoid(logits)[0].tolist()
        said = scored(case, score, branches, network=network)
        return {**said, **fusion(network), "outcome": said["decision"] if self.target == "decided" else self.target}


def prepare(transform: Compose, case: Case) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The preprocessing, step by step.

    Returns:
        The case as it was read, as it was before the resizing (brain-extracted, axes turned to RAS, voxels as they were
        measured), and at the end.

    Raises:
        InputError: the case is at fault.
    """
    loaded: dict[str, Any] = {}
    native: dict[str, Any] = {}
    data: Any = dict(case)
    for step in transform.transforms:
        if isinstance(step, Resized):
            native = data
        data = step(data)
        loaded = loaded or data
    return loaded, native or data, data


def _affine(image: MetaTensor) -> Float64:
    affine: Float64 = image.affine.cpu().numpy().astype(np.float64)
    return affine
