"""The weights that a federated training begins with: the bundle's network by the plan's seed, or existing weights."""

from __future__ import annotations

from pathlib import Path

from monai.bundle import ConfigParser

from federated.local_norm import local_names
from federated.plan import Plan
from federated.weights import exchanged_names
from scripts.checkpoint import load_model
from scripts.experiments.options import bundle_folder
from scripts.network import ETSCNet


def starting_network(plan: Plan, *, bundle_root: str = "", checkpoint: str = "") -> ETSCNet:
    """The network of train.json.

    Args:
        plan: modalities, seed and image size.
        bundle_root: empty: the bundle beside this package.
        checkpoint: weights; empty: untrained ones.

    Raises:
        InputError: weights that are none, of another network or of images of another size.
    """
    root = Path(bundle_root) if bundle_root else bundle_folder()
    parser = ConfigParser()
    parser.read_config(str(root / "configs" / "train.json"))
    parser["bundle_root"], parser["modalities"], parser["seed"] = str(root), list(plan.modalities), plan.seed
    network: ETSCNet = parser.get_parsed_content("network_def")
    if checkpoint:
        load_model(network, checkpoint, spatial_size=plan.spatial_size, device="cpu")
    return network


def exchanged_for(network: ETSCNet, plan: Plan) -> list[str]:
    """The names of the weights that are averaged under a plan."""
    local = local_names(network, plan.local_batch_norm)
    return [name for name in exchanged_names(network) if name not in local]
