"""The verb `leave-one-out`: external validation without federation. Train on all sites but one, test on that one, in turn.

    OUTPUT/without-SITE.json        the split: every child of the site is in its testing part
    OUTPUT/without-SITE/            the training and its evaluation (`scripts.experiments.model_run`)
    OUTPUT/external.{md,csv,json}

Fusion weights, threshold and epochs come from the other sites' validation parts: of the site that was left out nothing is known
before it is tested. A stopped command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from federated.compare import MODALITIES, run_alone
from federated.datalists import read_splits, root_of, write_left_out
from federated.plan import Plan
from federated.simulate import read_sites
from scripts.answer import Answer
from scripts.experiments.child import ended_by_signals
from scripts.experiments.options import several
from scripts.files import write_atomically, write_csv

FIGURES = ("auc", "sensitivity", "specificity", "balanced_accuracy")


def leave_one_out(
    sites: Sequence[str | Path],
    output_dir: str | Path,
    *,
    epochs: int = 100,
    spatial_size: Sequence[int] = (256, 256, 128),
    batch_size: int = 4,
    learning_rate: float = 0.001,
    learning_rate_decay: float = 0.0,
    seed: int = 0,
) -> Answer:
    """Train on all sites but one, pooled, and test on that one; each in turn.

    Args:
        sites: the sites' files, SITE.json (`site_file.py`).
        output_dir: folder of everything.
        epochs: of every training.
        spatial_size: edges of the image in voxels, three multiples of 32.
        batch_size: images of a training step.
        learning_rate: of Adam.
        learning_rate_decay: the power by which the rate falls to 0 over the epochs; 0 keeps it constant.
        seed: of everything random, a whole number from 0 on.

    Example:
        python -m federated leave-one-out --sites data/sites/site-a.json data/sites/site-b.json data/sites/site-c.json \\
            --spatial_size 64 64 32 --epochs 100 --output_dir results/external

    Returns:
        The table in Markdown, and every site's metrics.

    Raises:
        InputError: sites or settings are at fault, or a training failed; the others are kept.
        CohortError: several cases are at fault.
    """
    said = {"rounds": epochs, "local_epochs": 1, "spatial_size": spatial_size, "batch_size": batch_size, "seed": seed}
    plan = Plan.of({**said, "learning_rate": learning_rate, "learning_rate_decay": learning_rate_decay})
    read = read_sites([Path(str(site)).absolute() for site in several(sites)])
    output, root = Path(str(output_dir)).absolute(), root_of(read)
    splits = read_splits(read, MODALITIES)
    found: dict[str, Mapping[str, Any]] = {}
    with ended_by_signals():
        for site in read:
            name = f"without-{site.name}"
            split = write_left_out(output / f"{name}.json", splits, root, MODALITIES, site=site.name)
            run_alone(output / name, root, split, read, plan)
            found[site.name] = json.loads((output / name / "testing" / "metrics.json").read_text())["fused"]
    return Answer(write_external(output, found), found)


def write_external(output: Path, found: Mapping[str, Mapping[str, Any]]) -> str:
    """external.md, .csv and .json of the sites' metrics."""
    lines = ["| tested at, trained at the others | children | " + " | ".join(FIGURES) + " |"]
    lines.append("|---" * (len(FIGURES) + 2) + "|")
    rows = []
    for site, metrics in found.items():
        children = f"{metrics['positives']} controlled, {metrics['n'] - metrics['positives']} not"
        said = []
        for figure in FIGURES:
            low, high = metrics["intervals"][figure]
            said.append(f"{metrics[figure]:.3f} ({low:.3f} to {high:.3f})")
            rows.append({"site": site, "figure": figure, "value": metrics[figure], "low": low, "high": high})
        lines.append(f"| {site} | {children} | " + " | ".join(said) + " |")
    text = "\n".join(lines) + "\n"
    write_csv(output / "external.csv", rows, columns=["site", "figure", "value", "low", "high"])
    write_atomically(output / "external.json", json.dumps(dict(found), indent=1) + "\n")
    write_atomically(output / "external.md", text)
    return text
