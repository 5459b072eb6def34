"""The BIDS dataset of a synthetic cohort: who is in it, in parallel, resumable, the truth kept apart.

Everything of subject i comes from `SeedSequence((seed, STREAM, i))`: neither the number of workers nor the size of the cohort
changes a byte of it. Files are written to a temporary name and renamed; a subject whose files are all there is skipped. The
truth (latents, probability, ideal AUC) goes to `sourcedata/`, exact masks and lesion labels to `derivatives/phantom/`.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from scripts.errors import InputError
from scripts.phantom import bids
from scripts.phantom.acquisition import Subject, acquire
from scripts.phantom.anatomy import load_anatomy
from scripts.phantom.clinic import Clinical, draw_clinical
from scripts.phantom.lesions import draw_lesions, tuber_count
from scripts.phantom.outcome import Latents, draw_latents, is_uncontrolled, preset_named, probability_uncontrolled
from scripts.phantom.pose import draw_pose
from scripts.phantom.protocol import PROTOCOLS
from scripts.workers import cores, each_in_a_worker

STREAM = 95
LARGEST_ML = 2150.0  # of a brain: the ICBM152 head is a large one, and what exceeds 2200 ml is refused as no brain
VERSION = 4  # of the generator: raised whenever the same seed gives other images


@dataclass(frozen=True)
class Plan:
    """What makes a cohort what it is, apart from its size.

    Attributes:
        preset: name in `outcome.PRESETS`.
        seed: of all randomness.
        voxel_mm: edge of the anatomical grid; the images' grids do not depend on it.
        anatomy: npz file of a head; None: the ICBM152 head.
        version: of the generator.
    """

    preset: str
    seed: int
    voxel_mm: float
    anatomy: str | None
    version: int = VERSION

    def __post_init__(self) -> None:
        preset_named(self.preset)
        if self.seed < 0:
            raise InputError(f"seed {self.seed}", expected="0 or more", remedy="Choose another seed.")
        if not 0.5 <= self.voxel_mm <= 4:
            raise InputError(
                f"voxel_mm {self.voxel_mm}", expected="0.5 to 4", remedy="Use 1.0, or 2.0 for a quick cohort."
            )
        if self.anatomy is not None and not Path(self.anatomy).is_file():
            remedy = "Check the path of `anatomy`."
            raise InputError("the anatomy is not there", expected="an npz file", remedy=remedy, file=self.anatomy)

    def to_dict(self) -> dict[str, object]:
        """The plan as it is written: a head by its name and hash, never by a path of this machine."""
        head = "ICBM152 2009a (nilearn)"
        if self.anatomy is not None:
            path = Path(self.anatomy)
            head = f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        return asdict(self) | {"anatomy": head}


@dataclass(frozen=True)
class Person:
    """A row of the participants, with the truth behind it."""

    name: str
    uncontrolled: bool
    latents: Latents
    clinical: Clinical
    seeds: tuple[np.random.SeedSequence, ...]  # pose, lesions, one a protocol


def draw_person(plan: Plan, index: int) -> Person:
    """Everything about subject `index` (from 0) but the images."""
    preset = preset_named(plan.preset)
    seeds = np.random.SeedSequence((plan.seed, STREAM, index)).spawn(4 + len(PROTOCOLS))
    uncontrolled = is_uncontrolled(index, plan.seed)
    return Person(
        name=f"sub-{index + 1:03d}",
        uncontrolled=uncontrolled,
        latents=draw_latents(np.random.default_rng(seeds[0]), uncontrolled, preset),
        clinical=draw_clinical(np.random.default_rng(seeds[1]), uncontrolled, preset),
        seeds=tuple(seeds[2:]),
    )


def participant_row(person: Person) -> dict[str, object]:
    """What a clinic would know: a row of participants.tsv."""
    return {
        "participant_id": person.name,
        "outcome": "uncontrolled" if person.uncontrolled else "controlled",
        **person.clinical.to_dict(),
        "tubers": tuber_count(person.latents.tuber_count),
    }


def truth_row(person: Person, plan: Plan) -> dict[str, object]:
    """What only the generator knows: a row of sourcedata/truth.tsv."""
    probability = probability_uncontrolled(person.latents, preset_named(plan.preset))
    return {
        "participant_id": person.name,
        "label": int(not person.uncontrolled),
        "probability_controlled": round(1 - probability, 6),
        **{f"latent_{key}": round(value, 6) for key, value in person.latents.to_dict().items()},
    }


def make_subject(output_dir: Path, plan: Plan, index: int) -> str:
    """Make and write the images of one subject; nothing is done if they are all there.

    Returns:
        The subject's name.
    """
    person = draw_person(plan, index)
    if all(path.is_file() for path in bids.subject_files(output_dir, person.name)):
        return person.name
    with threadpool_limits(1):  # the workers share the cores, and sums keep their order
        anatomy = load_anatomy(plan.anatomy, plan.voxel_mm)
        streams = [np.random.default_rng(seed) for seed in person.seeds]
        largest = LARGEST_ML / anatomy.brain_ml
        pose = draw_pose(streams[0], person.clinical.age_mri_months, anatomy.reference_months, largest=largest)
        lesions = draw_lesions(streams[1], person.latents, anatomy, pose.scale)
        subject = Subject(anatomy, pose, lesions, person.clinical.age_mri_months)
        for stream, protocol in zip(streams[2:], PROTOCOLS, strict=True):
            bids.write_image(output_dir, person.name, protocol, acquire(stream, subject, protocol))
    return person.name


def make_cohort(
    output_dir: str | Path,
    subjects: int = 95,
    *,
    preset: Literal["paper", "easy", "null"] = "paper",
    seed: int = 0,
    workers: int | None = None,
    voxel_mm: float = 1.0,
    anatomy: str | Path | None = None,
) -> str:
    """Make a synthetic cohort as a BIDS dataset, or finish one that was begun.

    Args:
        output_dir: folder of the dataset; made if need be.
        subjects: how many; a finished cohort may be made larger, its subjects stay as they are.
        preset: how much the images tell: paper (ideal AUC 0.85), easy (0.94) or null (0.5).
        seed: of all randomness, a whole number from 0 on.
        workers: processes; None: one a core. It changes no byte.
        voxel_mm: edge of the anatomical grid in mm; 2.0 is several times as fast and coarser, with the same image grids.
        anatomy: npz file with the tissue maps of a head; None: the ICBM152 head of the nilearn package.

    Example:
        python -m scripts phantom --output_dir data/cohort --subjects 40 --preset easy --seed 0 --voxel_mm 2

    Returns:
        The folder.

    Raises:
        InputError: an argument is out of range, or the folder holds another cohort.
    """
    folder = Path(output_dir)
    plan = Plan(str(preset), int(seed), float(voxel_mm), None if anatomy is None else str(anatomy))
    if subjects < 1:
        raise InputError(f"{subjects} subjects", expected="1 or more", remedy="Give the size of the cohort.")
    if workers is not None and workers < 1:
        raise InputError(f"{workers} workers", expected="1 or more", remedy="Leave it out for one a core.")
    bids.claim_folder(folder, plan.to_dict(), subjects)
    people = [draw_person(plan, index) for index in range(subjects)]
    bids.write_tables(
        folder,
        [participant_row(person) for person in people],
        [truth_row(person, plan) for person in people],
        preset_named(plan.preset),
    )
    make = partial(make_subject, folder, plan)
    done = each_in_a_worker(make, range(subjects), workers=workers or cores())
    for _ in tqdm(done, total=subjects, desc="phantom", unit="subject"):
        pass
    return str(folder)
