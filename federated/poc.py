"""The verb `poc`: the same job in NVFlare's POC mode: a provisioned server and sites as services of this machine, mutual TLS
between them, an admin that submits the job. What a hospital does in a real federation is done here for each:

    its startup kit comes from the provisioning; it puts SITE.json as `local/etscnet_site.json` into it, and in
    `local/resources.json` it allows the job's classes and forbids NVFlare to send its log to the server (`job.PERMISSIONS`).
    The bundle and this package are installed at the site.

    OUTPUT/job/, poc/, log.txt      the job, NVFlare's workspace with the kits and what the services wrote, what they said
    OUTPUT/result/                  what the admin downloads: the server's files (`server.py`)

What stays at a site is in its kit: OUTPUT/poc/workspace/example_project/prod_00/SITE/JOB/etscnet.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from tqdm import tqdm

from federated.executor import SITE_FILE
from federated.job import PERMISSIONS, write_job
from federated.plan import Plan
from federated.simulate import read_sites, summary
from scripts.errors import InputError
from scripts.experiments.child import ended_by_signals, last_lines, run_logged
from scripts.experiments.options import ROOT, several
from scripts.files import write_atomically

ADMIN = "admin@nvidia.com"  # the POC's own
PATIENCE_S = 120.0  # for services to answer


def poc(
    sites: Sequence[str | Path],
    output_dir: str | Path,
    *,
    rounds: int = 2,
    local_epochs: int = 1,
    spatial_size: Sequence[int] = (256, 256, 128),
    batch_size: int = 4,
    seed: int = 0,
    min_children: int = 3,
    round_timeout_s: int = 3600,
) -> str:
    """Train over several sites in a provisioned federation with certificates, every party in a process of its own.

    Provision, start, submit, wait, download, stop.

    Args:
        sites: the sites' files, SITE.json (`site_file.py`).
        output_dir: folder of everything; a POC that is there is replaced.
        rounds: of the training.
        local_epochs: that a site trains in a round.
        spatial_size: edges of the image in voxels, three multiples of 32.
        batch_size: images of a training step.
        seed: of everything random, a whole number from 0 on.
        min_children: of either outcome, for a site to send a histogram or a metric of a part.
        round_timeout_s: seconds after which a silent site is left out of the round.

    Example:
        python -m federated poc --sites data/sites/site-a.json data/sites/site-b.json data/sites/site-c.json \\
            --spatial_size 64 64 32 --output_dir results/poc

    Returns:
        What came of it.

    Raises:
        InputError: sites or settings are at fault, a service does not start, or the job fails.
    """
    said = {"rounds": rounds, "local_epochs": local_epochs, "spatial_size": spatial_size, "batch_size": batch_size}
    said |= {"seed": seed, "min_children": min_children, "round_timeout_s": round_timeout_s}
    plan, output = Plan.of(said), Path(str(output_dir)).absolute()
    files = [Path(str(site)).absolute() for site in several(sites)]
    names = [site.name for site in read_sites(files)]
    job = write_job(output / "job", plan)
    with ended_by_signals(), _services(output, files, names) as kits, tqdm(desc="poc", unit="s", disable=None) as bar:
        session = _session(kits / ADMIN)
        try:
            _await_sites(session, names)
            number = session.submit_job(str(job))
            status = _await_job(session, number, bar)
            downloaded = Path(session.download_job_result(number))
        finally:
            session.close()
        shutil.rmtree(output / "result", ignore_errors=True)
        shutil.copytree(downloaded / "workspace", output / "result")
    if not (output / "result" / "sites.json").is_file():
        fault = output / "result" / "fault.txt"
        found = fault.read_text().strip() if fault.is_file() else f"the job ended as {status}"
        raise InputError(found, expected="a training to its end", remedy=f"Its log: {output / 'result' / 'log.txt'}.")
    return f"{status}\n{summary(output / 'result')}"


def permit(kit: Path, site_file: Path | None) -> None:
    """What the people of a site do with their startup kit: allow the job's classes, say where the data are.

    Args:
        kit: the startup kit's folder.
        site_file: the site's file; None for the server.
    """
    resources = kit / "local" / "resources.json"
    content = json.loads((resources if resources.is_file() else resources.with_suffix(".json.default")).read_text())
    write_atomically(resources, json.dumps({**content, **PERMISSIONS}, indent=2) + "\n")
    if site_file is not None:
        said = json.loads(site_file.read_text())
        paths = ("dataset_dir", "datalist", "cache_dir", "bundle_root")
        said |= {
            name: str(site_file.parent / said.get(name, "cache")) for name in paths if name in {*said, "cache_dir"}
        }
        write_atomically(kit / "local" / SITE_FILE, json.dumps(said, indent=1) + "\n")


@contextmanager
def _services(output: Path, files: Sequence[Path], names: Sequence[str]) -> Iterator[Path]:
    """Server and sites, running; their startup kits' folder. They are stopped at the end, whatever happens."""
    shutil.rmtree(output / "poc", ignore_errors=True)
    home, workspace, log = output / "poc" / "home", output / "poc" / "workspace", output / "log.txt"
    home.mkdir(parents=True)
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
    # NVFlare notes its workspace in the home folder: this one's is not the user's.
    base = ["env", f"HOME={home}", f"PATH={path}", f"PYTHONPATH={ROOT}", f"NVFLARE_POC_WORKSPACE={workspace}"]
    base += ["OMP_NUM_THREADS=1", sys.executable, "-m", "nvflare.cli", "poc"]
    _done([*base, "prepare", "-c", *names, "--force"], log)
    kits = workspace / "example_project" / "prod_00"
    for name, file in zip(names, files, strict=True):
        permit(kits / name, file)
    permit(kits / "server", None)
    try:
        _done([*base, "start", "-ex", ADMIN, "--no-wait"], log)
        yield kits
    finally:
        _done([*base, "stop", "-ex", ADMIN], log)


def _done(command: Sequence[str], log: Path) -> None:
    status = run_logged(command, log)
    if status != 0:
        said = "\n".join(last_lines(log))
        raise InputError(
            f"{' '.join(command[-4:])} ended with status {status}:\n{said}", expected="0", remedy=f"See {log}."
        )


def _session(kit: Path) -> Session:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return new_secure_session(username=ADMIN, startup_kit_location=str(kit), timeout=10.0)
        except Exception as error:  # whatever a server that is still starting answers
            if time.monotonic() > until:
                raise InputError(
                    f"the server does not answer ({type(error).__name__}: {error})",
                    expected="a session of the admin",
                    remedy="Look at the server's log in the POC's workspace.",
                ) from error
            time.sleep(2)


def _await_sites(session: Session, names: Sequence[str]) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        known = {client.name for client in session.get_system_info().client_info}
        if set(names) <= known:
            return
        if time.monotonic() > until:
            missing = ", ".join(sorted(set(names) - known))
            raise InputError(f"{missing} not connected", expected="all sites", remedy="Look at their logs.")
        time.sleep(2)


def _await_job(session: Session, number: str, bar: tqdm[object]) -> str:
    """The job's status once it has ended."""
    while True:
        status = str(session.get_job_meta(number).get("status"))
        bar.set_postfix_str(status)
        bar.update(2)
        if status.startswith(("FINISHED", "FAILED")):
            return status
        time.sleep(2)
