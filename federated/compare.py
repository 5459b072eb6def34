"""The verb `compare`: federated against each site alone against pooled, every model on every site's testing part.

    OUTPUT/alone-SITE/, pooled/         trainings of the bundle in one place (`scripts.experiments.model_run`)
    OUTPUT/fedavg/, fedprox/, fedbn/    federated trainings in the simulator (`simulate.py`)
    OUTPUT/cross/MODEL/SITE.csv         predictions of every site's testing part
    OUTPUT/cross_site.{md,csv,png}, differences.csv

Pooling is the reference that real hospitals cannot have. All trainings see a site's training part as many times; each keeps
the epoch or round of a branch that validated best, and takes fusion weights and threshold from validation. A stopped command
goes on; finished models are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from federated.cross_site import cells, differences, predict
from federated.datalists import read_splits, root_of, write_pooled
from federated.plan import Plan
from federated.simulate import read_sites, run_simulation
from federated.site_file import SiteFile
from federated.tables import write_tables
from scripts.answer import Answer
from scripts.errors import InputError
from scripts.experiments.child import ended_by_signals
from scripts.experiments.model_run import ModelRun, Place, Settings
from scripts.experiments.options import several

MODALITIES = ("flair", "t2w")
OWN = "alone"  # each site by its own model
METHODS = ("fedavg", "fedprox", "fedbn")


def compare(
    sites: Sequence[str | Path],
    output_dir: str | Path,
    *,
    rounds: int = 50,
    local_epochs: int = 2,
    spatial_size: Sequence[int] = (256, 256, 128),
    batch_size: int = 4,
    learning_rate: float = 0.001,
    learning_rate_decay: float = 0.0,
    seed: int = 0,
    proximal: float = 0.01,
    methods: Sequence[str] = METHODS,
    min_children: int = 3,
) -> Answer:
    """Train each site alone, all of them pooled and federated, and compare what every model says of every site.

    Args:
        sites: the sites' files, SITE.json (`site_file.py`).
        output_dir: folder of everything.
        rounds: of the federated trainings; the others have rounds * local_epochs epochs.
        local_epochs: that a site trains in a round.
        spatial_size: edges of the image in voxels, three multiples of 32.
        batch_size: images of a training step.
        learning_rate: of Adam.
        learning_rate_decay: the power by which the rate falls to 0 over the epochs; 0 keeps it constant.
        seed: of everything random, a whole number from 0 on.
        proximal: FedProx's mu.
        methods: the federated trainings that are compared: fedavg, fedprox, fedbn.
        min_children: of either outcome, for a site to send a histogram or a metric of a part.

    Example:
        python -m federated compare --sites data/sites/site-a.json data/sites/site-b.json data/sites/site-c.json \\
            --spatial_size 64 64 32 --rounds 50 --methods fedavg fedbn --output_dir results/compare

    Returns:
        The table in Markdown, its cells and the differences.

    Raises:
        InputError: sites or settings are at fault, or a training failed; the others are kept.
        CohortError: several cases are at fault.
    """
    plan = Plan.of(
        {
            "rounds": rounds,
            "local_epochs": local_epochs,
            "spatial_size": spatial_size,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "learning_rate_decay": learning_rate_decay,
            "seed": seed,
            "min_children": min_children,
            "min_sites": 2,
        }
    )
    federated = variants(plan, float(proximal), several(methods))
    files, output = [Path(str(site)).absolute() for site in several(sites)], Path(str(output_dir)).absolute()
    read = read_sites(files)
    splits = read_splits(read, MODALITIES)
    models: dict[str, dict[str, Path]] = {}
    with ended_by_signals():
        for site in read:
            run_alone(output / f"alone-{site.name}", site.dataset_dir, site.datalist, read, plan)
            models[f"alone-{site.name}"] = {other.name: output / f"alone-{site.name}" / "model.pt" for other in read}
        root = root_of(read)
        pooled = write_pooled(output / "pooled.json", splits, root, MODALITIES)
        run_alone(output / "pooled", root, pooled, read, plan)
        models["pooled"] = {site.name: output / "pooled" / "model.pt" for site in read}
    for name, variant in federated.items():
        if not (output / name / "sites.json").is_file():
            run_simulation(files, output / name, variant)
        local = variant.local_batch_norm != "none"
        models[name] = {
            site.name: output / name / "sites" / site.name / "model.pt" if local else output / name / "model.pt"
            for site in read
        }
    predictions = predict(
        models, read, splits, output=output / "cross", modalities=MODALITIES, spatial_size=plan.spatial_size
    )
    own = {site.name: predictions[f"alone-{site.name}"][site.name] for site in read}
    predictions[OWN] = own
    titles = {
        **{f"alone-{site.name}": f"{site.name} alone" for site in read},
        OWN: "each site's own",
        "pooled": "pooled",
    }
    federated_titles = {"fedavg": "FedAvg", "fedprox": f"FedProx, mu {proximal:g}", "fedbn": "FedBN"}
    titles |= {name: federated_titles[name] for name in federated}
    pairs = [("fedavg", OWN), ("fedavg", "pooled"), ("pooled", OWN), ("fedprox", "fedavg"), ("fedbn", "fedavg")]
    pairs = [pair for pair in pairs if predictions.keys() >= set(pair)]
    found, compared = cells(predictions), differences(predictions, pairs)
    data = {"cells": [one.to_dict() for one in found], "differences": [one.to_dict() for one in compared]}
    return Answer(write_tables(output, found, compared, titles=titles), data)


def variants(plan: Plan, proximal: float, methods: Sequence[str] = METHODS) -> dict[str, Plan]:
    """The federated trainings of the comparison, by name.

    Raises:
        InputError: a method that is not known.
    """
    known = {
        "fedavg": plan,
        "fedprox": replace(plan, proximal=proximal),
        "fedbn": replace(plan, local_batch_norm="all"),
    }
    if unknown := sorted(set(methods) - set(known)):
        raise InputError(f"methods {', '.join(unknown)}", expected=f"some of {', '.join(known)}", remedy="Correct it.")
    return {name: known[name] for name in known if name in methods}


def run_alone(folder: Path, dataset_dir: Path, datalist: Path, sites: Sequence[SiteFile], plan: Plan) -> None:
    """Train the bundle in one place and evaluate it there, as far as that was not done before.

    Raises:
        InputError: sites whose brain extraction differs, another training in the folder, or a failure.
    """
    brain = {site.brain_extraction for site in sites}
    caches = {site.cache_dir for site in sites}
    if len(brain) > 1:
        raise InputError(
            f"the sites extract brains by {', '.join(sorted(brain))}",
            expected="one way",
            remedy="Correct the sites' files.",
        )
    epochs = plan.rounds * plan.local_epochs
    settings = Settings(
        plan.spatial_size,
        epochs,
        plan.batch_size,
        plan.seed,
        float(plan.learning_rate),
        float(plan.learning_rate_decay),
        brain.pop(),
    )
    place = Place(sites[0].bundle_root, dataset_dir, caches.pop() if len(caches) == 1 else folder / "cache")
    run = ModelRun(folder.name, plan.modalities, "", folder, datalist)
    run.claim(settings, place)
    with tqdm(total=epochs, desc=folder.name, unit="epoch", disable=None) as bar:

        def show(step: str) -> None:
            bar.n = run.epochs_done()
            bar.set_postfix_str(step)

        failed = run.run(settings, place, meanwhile=show)
    if failed:
        raise InputError(failed, expected="a training and its evaluation", remedy="The same command tries again.")
