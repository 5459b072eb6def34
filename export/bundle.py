"""What an export takes from a bundle: the trained network, its preprocessing, and where both come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from torch import Tensor

from scripts.checkpoint import provenance
from scripts.errors import InputError
from scripts.files import sha256
from scripts.network import ETSCNet


@dataclass(frozen=True)
class TrainedBundle:
    """A bundle's network with its weights, in evaluation mode on the CPU.

    Attributes:
        network: loaded.
        spatial_size: of the images that it was trained on.
        config: the configuration that both come from.
        weights: model.pt.
    """

    network: ETSCNet
    spatial_size: tuple[int, int, int]
    config: ConfigParser
    weights: Path

    @property
    def version(self) -> str:
        """Of the bundle, from its metadata."""
        return str(self.config["_meta_"]["version"])

    @property
    def intended_use(self) -> str:
        """What every file of the export says, from the metadata."""
        return str(self.config["_meta_"]["intended_use"])

    @property
    def preprocessing(self) -> list[dict[str, Any]]:
        """The configuration's list of transforms, as it is written."""
        transforms: list[dict[str, Any]] = self.config["preprocessing"]["transforms"]
        return transforms

    def prepare(
        self, study: Mapping[str, Any], spatial_size: Sequence[int], *, brain_extraction: str = "none"
    ) -> Tensor:
        """The bundle's own preprocessing of one study (paths by modality) -> image (1, M, x, y, z) float32."""
        config = ConfigParser(
            {
                "code_path": "",  # this process imports scripts already
                "modalities": list(self.network.modalities),
                "spatial_size": list(spatial_size),
                "brain_extraction": brain_extraction,
                "hd_bet_weights": None,
                "hd_bet_mirroring": False,
                "mask_quality": "refuse",
                "device": "cpu",
                "preprocessing": self.config["preprocessing"],
            }
        )
        image = config.get_parsed_content("preprocessing")(dict(study))["image"]
        return torch.as_tensor(image, dtype=torch.float32)[None]

    @property
    def origin(self) -> dict[str, Any]:
        """What model.json says of the weights, with their SHA-256."""
        return {**provenance(self.weights), "sha256": sha256(self.weights)}


def load_bundle(bundle_root: str | Path, *, config_file: str | Path | None = None) -> TrainedBundle:
    """The network that `inference.json` runs.

    Args:
        bundle_root: the bundle.
        config_file: an overlay over inference.json, for weights of another backbone.

    Raises:
        InputError: no bundle there, or weights that its configuration can't load.
    """
    root = Path(bundle_root)
    configs = [root / "configs" / "inference.json"] + ([] if config_file is None else [Path(config_file)])
    for path in [*configs, root / "configs" / "metadata.json"]:
        if not path.is_file():
            raise InputError("no such file", expected="a bundle", remedy="Give --bundle_root.", file=path)
    parser = ConfigParser()
    parser.read_config([str(path) for path in configs])
    parser.read_meta(str(root / "configs" / "metadata.json"))
    parser["bundle_root"], parser["device"] = str(root), "cpu"
    network = parser.get_parsed_content("network")
    size = parser.get_parsed_content("spatial_size")
    return TrainedBundle(
        network,
        (int(size[0]), int(size[1]), int(size[2])),
        parser,
        Path(parser.get_parsed_content("checkpoint")),
    )
