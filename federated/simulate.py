"""The verb `simulate`: a federated training in NVFlare's simulator, every site a process of its own on this machine.

    OUTPUT/job/                 the NVFlare job, the same that a POC or a real federation runs
    OUTPUT/workspace/           NVFlare's; made anew by every start
    OUTPUT/log.txt              everything that the simulator said
    OUTPUT/sites/SITE/          what stays at a site: its model, predictions.csv of validation and testing, its batch norm
    OUTPUT/rounds.*, model.*, sites.json, state.pt      the server's (`server.py`)

A stopped command goes on with the next round.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from federated.job import CONTROLLER, PERMISSIONS, write_job
from federated.plan import Plan
from federated.rehearsal import EXECUTOR, parsed
from federated.site_file import SiteFile, read_site
from scripts.answer import Answer
from scripts.errors import CohortError, InputError
from scripts.experiments.child import ended_by_signals, last_lines, run_logged
from scripts.experiments.options import ROOT, several
from scripts.files import write_atomically
from scripts.workers import cores


def simulate(
    sites: Sequence[str | Path],
    output_dir: str | Path,
    *,
    rounds: int = 50,
    local_epochs: int = 2,
    spatial_size: Sequence[int] = (256, 256, 128),
    modalities: Sequence[str] = ("flair", "t2w"),
    batch_size: int = 4,
    learning_rate: float = 0.001,
    learning_rate_decay: float = 0.0,
    seed: int = 0,
    proximal: float = 0.0,
    local_batch_norm: Literal["none", "statistics", "all"] = "none",
    bins: int = 50,
    min_children: int = 3,
    min_sites: int = 2,
    round_timeout_s: int = 3600,
    checkpoint: str | Path | None = None,
    rehearse: Sequence[str] = (),
    result_filters: Sequence[Mapping[str, Any]] = (),
) -> Answer:
    """Train over several sites in NVFlare's simulator, find fusion weights and threshold, and evaluate at every site.

    Args:
        sites: the sites' files, SITE.json (`site_file.py`).
        output_dir: folder of everything.
        rounds: of the training.
        local_epochs: that a site trains in a round.
        spatial_size: edges of the image in voxels, three multiples of 32.
        modalities: flair, t2w or both.
        batch_size: images of a training step.
        learning_rate: of Adam.
        learning_rate_decay: the power by which the rate falls to 0 over the epochs; 0 keeps it constant.
        seed: of everything random, a whole number from 0 on.
        proximal: FedProx's mu; 0 is FedAvg.
        local_batch_norm: what of batch norm stays at a site: none, statistics or all (FedBN).
        bins: of a score histogram.
        min_children: of either outcome, for a site to send a histogram or a metric of a part.
        min_sites: fewer usable answers change nothing.
        round_timeout_s: seconds after which a silent site is left out of the round.
        checkpoint: weights to begin with; None: drawn from the seed.
        rehearse: faults to be made on purpose, SITE:KIND@ROUND, such as site-b:nan@1, site-c:late@2 (`rehearsal.py`).
        result_filters: NVFlare filters of what leaves a site, mappings of `path` and `args` (`job.py`).

    Example:
        python -m federated simulate --sites data/sites/site-a.json data/sites/site-b.json data/sites/site-c.json \\
            --spatial_size 64 64 32 --rounds 50 --output_dir results/fedavg

    Returns:
        What came of it, and sites.json and rounds.json.

    Raises:
        InputError: sites or settings are at fault, or the training is.
        CohortError: several cases are at fault.
    """
    plan = Plan.of(
        {
            "rounds": rounds,
            "local_epochs": local_epochs,
            "spatial_size": spatial_size,
            "modalities": modalities,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "learning_rate_decay": learning_rate_decay,
            "seed": seed,
            "proximal": proximal,
            "local_batch_norm": local_batch_norm,
            "bins": bins,
            "min_children": min_children,
            "min_sites": min_sites,
            "round_timeout_s": round_timeout_s,
        }
    )
    files = [Path(str(site)).absolute() for site in several(sites)]
    output = Path(str(output_dir)).absolute()
    text = run_simulation(
        files,
        output,
        plan,
        checkpoint="" if checkpoint is None else str(checkpoint),
        rehearse=several(rehearse),
        result_filters=result_filters,
    )
    return Answer(text, {name: json.loads((output / f"{name}.json").read_text()) for name in ("sites", "rounds")})


def run_simulation(
    files: Sequence[Path],
    output: Path,
    plan: Plan,
    *,
    checkpoint: str = "",
    rehearse: Sequence[str] = (),
    result_filters: Sequence[Mapping[str, Any]] = (),
) -> str:
    """As `simulate`, of a plan.

    Raises:
        InputError: as `simulate`.
    """
    sites = read_sites(files)
    client: dict[str, Any] = {
        "site_file": str(files[0].parent / "{site}.json"),
        "work_dir": str(output / "sites" / "{site}"),
    }
    if rehearse:
        client["faults"] = parsed(rehearse, [site.name for site in sites])
    server = {"output_dir": str(output), "checkpoint": str(Path(checkpoint).absolute()) if checkpoint else ""}
    job = write_job(
        output / "job", plan, server=server, client=client, executor=EXECUTOR, result_filters=result_filters
    )
    workspace, log = output / "workspace", output / "log.txt"
    filters = [str(one["path"]) for one in result_filters]
    classes = [CONTROLLER, EXECUTOR, *filters]
    content = json.dumps({**PERMISSIONS, "class_allow_list": classes}, indent=1)
    write_atomically(workspace / "local" / "resources.json", content + "\n")
    names = ",".join(site.name for site in sites)
    threads = max(1, cores() // len(sites))
    command = [
        "env",
        f"PYTHONPATH={ROOT}",
        f"OMP_NUM_THREADS={threads}",
        sys.executable,
        "-m",
        "nvflare.cli",
        "simulator",
    ]
    command += [str(job), "-w", str(workspace), "-c", names, "-t", str(len(sites))]
    with ended_by_signals(), tqdm(total=plan.rounds, desc=output.name, unit="round", disable=None) as bar:
        status = run_logged(command, log, meanwhile=lambda: _show(bar, output))
    fault = output / "fault.txt"
    if fault.is_file():
        raise InputError(fault.read_text().strip(), expected="a training to its end", remedy=f"Its log: {log}.")
    if status != 0 or not (output / "sites.json").is_file():
        said = "\n".join(f"    {line}" for line in last_lines(log))
        raise InputError(f"the simulator ended with status {status}:\n{said}", expected="0", remedy=f"Its log: {log}.")
    return summary(output)


def read_sites(files: Sequence[Path]) -> list[SiteFile]:
    """The sites' files.

    Raises:
        InputError: fewer than two, in different folders, or of one name.
        CohortError: files at fault, each with its reason.
    """
    if len(files) < 2 or len({file.stem for file in files}) < len(files) or len({file.parent for file in files}) > 1:
        raise InputError(
            f"sites {', '.join(map(str, files))}",
            expected="two files or more of different names in one folder",
            remedy="Give --sites SITES/site-a.json SITES/site-b.json ...",
        )
    read, faults = [], []
    for file in files:
        try:
            read.append(read_site(file))
        except InputError as error:
            faults.append(error)
    if faults:
        raise CohortError(faults)
    return read


def summary(output: Path) -> str:
    """What a finished training came to, to be printed."""
    said = json.loads((output / "sites.json").read_text())
    rounds = json.loads((output / "rounds.json").read_text())["rounds"]
    fusion = said["fusion"]
    lines = [
        f"{len(rounds)} rounds, of which {sum(not one['changed'] for one in rounds)} changed nothing; fusion weights "
        f"{fusion['weights']}, threshold {fusion['threshold']:g} (validation AUC {fusion['auc']:.3f} ± {fusion['auc_bound']:.3f})"
    ]
    for one in rounds:
        troubles = {**one["refused"], **one["failed"], **dict.fromkeys(one["silent"], "silent")}
        lines += [f"  round {one['number']}: {site}: {reason}" for site, reason in troubles.items()]
    for site, parts in said["sites"].items():
        if "testing" in parts:
            low, high = parts["testing"]["intervals"]["auc"]
            lines.append(f"  {site}: testing AUC {parts['testing']['auc']:.3f} ({low:.3f} to {high:.3f})")
    return "\n".join(lines)


def _show(bar: Any, output: Path) -> None:
    file = output / "rounds.csv"
    if file.is_file():
        bar.n = max(0, len(file.read_text().splitlines()) - 1)
        bar.refresh()
