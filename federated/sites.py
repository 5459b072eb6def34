"""The verb `sites`: synthetic hospitals, each with its own scanner, its own share of controlled children and its own split.

    OUTPUT/SITE/                    a BIDS folder like the phantom's, its children named for the site: sub-a001, ...
    OUTPUT/SITE/datalist.json       the split
    OUTPUT/SITE.json                where the site keeps its data: what `federated.site` reads, at that site alone

A child is the phantom's (`scripts.phantom`), drawn until the site has its numbers of both outcomes, then seen by the site's
scanner (`scanner.py`). Everything of a child depends on the seed, the site and its number alone; a stopped command goes on.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from federated.scanner import Scanner, resampled, rescan
from scripts.cohort import write_datalist
from scripts.errors import InputError
from scripts.experiments.options import several, whole_number
from scripts.files import write_atomically
from scripts.phantom import bids
from scripts.phantom.cohort import Person, Plan, draw_person, make_subject, participant_row, truth_row
from scripts.phantom.outcome import preset_named
from scripts.phantom.protocol import PROTOCOLS
from scripts.workers import cores, each_in_a_worker

STREAM = 1207


@dataclass(frozen=True)
class Hospital:
    """A synthetic site.

    Attributes:
        name: of the site, as the others know it.
        children: how many.
        controlled: their share with label 1.
        scanner: what its images look like.
    """

    name: str
    children: int
    controlled: float
    scanner: Scanner

    @property
    def quota(self) -> dict[bool, int]:
        """Uncontrolled or not -> children."""
        count = round(self.children * self.controlled)
        return {False: count, True: self.children - count}


HOSPITALS = (
    Hospital("site-a", 100, 0.50, Scanner((0, 0, 0), gamma=1.0, shading=0.0, noise=0.0)),  # the phantom's own protocol
    Hospital("site-b", 80, 0.35, Scanner((1.0, 1.0, 5.0), gamma=0.7, shading=0.35, noise=0.04)),
    Hospital("site-c", 60, 0.65, Scanner((1.4, 1.4, 7.0), gamma=1.4, shading=0.2, noise=0.08)),
)

CHILDREN = tuple(hospital.children for hospital in HOSPITALS)


@dataclass(frozen=True)
class Child:
    """One child to be made: everything that a worker needs."""

    folder: Path
    name: str
    index: int
    plan: Plan
    hospital: Hospital


def make_sites(
    output_dir: str | Path,
    *,
    subjects: Sequence[int] = CHILDREN,
    preset: Literal["paper", "easy", "null"] = "easy",
    seed: int = 0,
    voxel_mm: float = 2.0,
    fractions: Sequence[float] = (0.4, 0.2, 0.4),
    workers: int | None = None,
) -> str:
    """Make three synthetic hospitals with different scanners, or finish those that were begun.

    Args:
        output_dir: one folder a site goes there, with its SITE.json beside it.
        subjects: how many at each site, three numbers of 6 or more.
        preset: how much the images tell: paper (ideal AUC 0.85), easy (0.94) or null (0.5).
        seed: of all randomness, a whole number from 0 on.
        voxel_mm: edge of the phantom's anatomical grid in mm; 4 is the fastest and coarsest.
        fractions: of training, validation and testing part of each site: shares, together 1, or whole numbers of subjects.
        workers: processes; None: one a core.

    Example:
        python -m federated sites --output_dir data/sites --seed 0 --voxel_mm 2

    Returns:
        What was made.

    Raises:
        InputError: another number of sites, or a folder that holds other sites.
    """
    output, counts = Path(str(output_dir)), several(subjects)
    if len(counts) != len(HOSPITALS):
        raise InputError(
            f"{len(counts)} numbers of subjects", expected=f"{len(HOSPITALS)}", remedy="Correct --subjects."
        )
    jobs, lines = [], []
    for number, (hospital, count) in enumerate(zip(HOSPITALS, counts, strict=True)):
        site = Hospital(hospital.name, whole_number("subjects", count, least=6), hospital.controlled, hospital.scanner)
        plan = Plan(str(preset), whole_number("seed", seed, least=0) * 1000 + number, float(voxel_mm), None)
        jobs += begin_site(output / site.name, site, plan)
    done = each_in_a_worker(make_child, jobs, workers=workers or cores())
    for _ in tqdm(done, total=len(jobs), desc="sites", unit="child", disable=None):
        pass
    for hospital in HOSPITALS:
        folder = output / hospital.name
        shutil.rmtree(folder / ".phantom", ignore_errors=True)
        split = write_datalist(folder, folder / "datalist.json", fractions=several(fractions), seed=seed)
        said = {"dataset_dir": hospital.name, "datalist": f"{hospital.name}/datalist.json", "brain_extraction": "mask"}
        write_atomically(output / f"{hospital.name}.json", json.dumps(said, indent=1) + "\n")
        sizes = ", ".join(f"{len(split[part])} {part}" for part in ("training", "validation", "testing"))
        lines.append(f"{folder}: {sizes}")
    return "\n".join(lines)


def make_child(child: Child) -> str:
    """Make and write one child's images and masks; nothing is done if they are there.

    Returns:
        Its name.
    """
    wanted = [child.folder / bids.image_path(child.name, protocol) for protocol in PROTOCOLS]
    if all(file.is_file() for file in wanted):  # an image is written after its mask
        return child.name
    raw = child.folder / ".phantom" / child.name
    source = make_subject(raw, child.plan, child.index)
    number = int(child.name.removeprefix("sub-")[1:])
    rng = np.random.default_rng(np.random.SeedSequence((child.plan.seed, STREAM, number)))
    for protocol, target in zip(PROTOCOLS, wanted, strict=True):
        image = cast(nib.Nifti1Image, nib.load(raw / bids.image_path(source, protocol)))
        mask = cast(nib.Nifti1Image, nib.load(raw / bids.derived_path(source, protocol, "brain_mask")))
        affine = np.asarray(image.affine, dtype=np.float64)
        values, grid = rescan(np.asarray(image.dataobj), affine, child.hospital.scanner, rng=rng)
        brain, _ = resampled(np.asarray(mask.dataobj), affine, child.hospital.scanner.spacing_mm, labels=True)
        _write(child.folder / bids.derived_path(child.name, protocol, "brain_mask"), brain.astype(np.uint8), grid)
        _write(target, values, grid)
    shutil.rmtree(raw)
    return child.name


def begin_site(folder: Path, hospital: Hospital, plan: Plan) -> list[Child]:
    """Claim the folder, write its tables, list its children."""
    said = {**plan.to_dict(), "site": hospital.name, "controlled": hospital.controlled}
    scanner = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(hospital.scanner).items()
    }
    bids.claim_folder(folder, {**said, "scanner": scanner}, hospital.children)
    people = _people(plan, hospital)
    names = [f"sub-{hospital.name[-1]}{number:03d}" for number in range(1, hospital.children + 1)]
    bids.write_tables(
        folder,
        [{**participant_row(person), "participant_id": name} for name, (_, person) in zip(names, people, strict=True)],
        [{**truth_row(person, plan), "participant_id": name} for name, (_, person) in zip(names, people, strict=True)],
        preset_named(plan.preset),
    )
    return [Child(folder, name, index, plan, hospital) for name, (index, _) in zip(names, people, strict=True)]


def _people(plan: Plan, hospital: Hospital) -> list[tuple[int, Person]]:
    """The phantom's subjects in their order, as long as their outcome is still wanted; with their index."""
    wanted, found, index = hospital.quota, [], 0
    while any(wanted.values()):
        person = draw_person(plan, index)
        if wanted[person.uncontrolled]:
            wanted[person.uncontrolled] -= 1
            found.append((index, person))
        index += 1
    return found


def _write(path: Path, data: NDArray[np.uint8] | NDArray[np.uint16], affine: NDArray[np.float64]) -> None:
    image = nib.Nifti1Image(data, affine)
    image.header["descrip"] = bids.DESCRIP
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    write_atomically(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
