"""What a federated training leaves on the server: the model with its origin, and the sites' metrics."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

from federated.declared import Declared
from federated.histograms import FederatedFusion, Told, bound, middles, understood
from federated.plan import Plan
from scripts.checkpoint import save
from scripts.files import write_atomically
from scripts.network import ETSCNet
from scripts.release import write_origin
from scripts.split import PARTS
from scripts.stats.roc import auc, auc_interval


def write_model(
    output_dir: Path,
    network: ETSCNet,
    plan: Plan,
    *,
    found: FederatedFusion,
    rounds: Mapping[str, int],
    declared: Mapping[str, Declared],
) -> None:
    """model.pt and model.json; none where batch norm stays at the sites: without it there is no model that anybody could use."""
    if plan.local_batch_norm != "none":
        return
    network.fusion_weights.copy_(torch.tensor(found.weights))
    network.threshold.copy_(torch.tensor(found.threshold))
    network.spatial_size.copy_(torch.tensor(plan.spatial_size))
    file = output_dir / "model.pt"
    save(network.state_dict(), file)
    kinds = {site.synthetic for site in declared.values()}
    cases = {part: sum(sum(site.children[part]) for site in declared.values()) for part in PARTS}
    data = {"name": f"{len(declared)} sites", "synthetic": kinds.pop() if len(kinds) == 1 else None, "cases": cases}
    origin = {
        "modalities": list(plan.modalities),
        "spatial_size": list(plan.spatial_size),
        "data": data,
        "settings": plan.to_dict(),
        "best_rounds": dict(rounds),
        "federated_fusion": found.to_dict(),
        "sites": {name: site.to_dict() for name, site in declared.items()},
        "made_with": {"torch": torch.__version__, "monai": monai.__version__},
    }
    write_origin(file, origin)


def write_sites(
    output_dir: Path,
    metrics: Mapping[str, Mapping[str, Any]],
    *,
    found: FederatedFusion,
    voters: Sequence[str],
    left_out: Mapping[str, str],
    declared: Mapping[str, Declared],
    bins: int,
) -> dict[str, Any]:
    """sites.json: each site's metrics of the finished model, and the AUC over all sites' children from their histograms.

    Args:
        metrics: site -> part -> metrics.
        found: fusion and threshold.
        voters: sites whose histograms they come from.
        left_out: site -> why it is missing somewhere.
        declared: the sites.
        bins: of a histogram.
    """
    content = {
        "fusion": found.to_dict(),
        "voters": list(voters),
        "left_out": dict(left_out),
        "sites": {
            site: {
                part: {key: value for key, value in one.items() if key != "histogram"} for part, one in parts.items()
            }
            for site, parts in metrics.items()
        },
        "all": {part: _together(part, metrics, declared, bins) for part in ("validation", "testing")},
    }
    write_atomically(output_dir / "sites.json", json.dumps(content, indent=1) + "\n")
    return content


def _together(
    part: str, metrics: Mapping[str, Mapping[str, Any]], declared: Mapping[str, Declared], bins: int
) -> dict[str, Any] | None:
    """AUC over all sites' children of a part; None where no site told a usable histogram."""
    counts = np.zeros((2, bins), np.int64)
    sites = []
    for site, parts in metrics.items():
        message = parts.get(part, {}).get("histogram")
        told = understood(message, rows=1, bins=bins, children=declared[site].children[part])
        if isinstance(told, Told):
            counts += told.counts[0]
            sites.append(site)
    if not counts.sum(axis=1).all():
        return None
    labels, scores = middles(counts)
    interval = auc_interval(labels, scores)
    return {"sites": sites, "auc": auc(labels, scores), "auc_bound": bound(counts), "interval": list(interval)}
