"""The verb `extract`: the brain masks of a whole BIDS folder, once, as a derivative that training and inference read.

    python -m scripts extract --dataset_dir DIR --brain_extraction hd-bet --workers 2

A study that is there already, made in the same way of the same files, is not made again. One that fails is listed in
failures.csv, and does not stop the others.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from scripts.answer import Answer
from scripts.bids import Case, check_modalities, find_cases
from scripts.brain_extraction import derivatives, picture
from scripts.brain_extraction.carry import Mask, carry_mask
from scripts.brain_extraction.masks import COMPUTED, Extractor
from scripts.brain_extraction.norms import age_months
from scripts.brain_extraction.quality import GATES, StudyQuality, judge_study
from scripts.brain_extraction.skull import MAX_SKULL_SHARE, skull_share
from scripts.errors import InputError, UnavailableError
from scripts.files import sha256, write_atomically, write_csv
from scripts.transforms import CheckStudyd, LoadStudyd
from scripts.workers import each_in_a_worker

logger = logging.getLogger(__name__)
METADATA = Path(__file__).parents[2] / "bundle" / "configs" / "metadata.json"


@dataclass(frozen=True)
class Plan:
    """What is done with every study.

    Attributes:
        folder: the derivative's.
        modalities: in their order.
        extractor: makes the masks.
        how: `extractor.describe()`.
        carry: the modality whose mask serves all others; None: each has its own.
        gate: one of `GATES`: what a failed check of a mask does.
        overwrite: make also what is there.
    """

    folder: Path
    modalities: tuple[str, ...]
    extractor: Extractor
    how: dict[str, Any]
    carry: str | None
    gate: str
    overwrite: bool


@dataclass(frozen=True)
class Outcome:
    """What became of one study: "made", "there already", or "failed"; then the reason, and what every study lacks."""

    case: str
    state: str
    reason: str = ""
    unavailable: UnavailableError | None = None


def extract(
    dataset_dir: str | Path,
    *,
    brain_extraction: Literal["hd-bet", "bet"] = "hd-bet",
    workers: int = 1,
    overwrite: bool = False,
    carry: str | None = None,
    mask_quality: Literal["refuse", "warn"] = "refuse",
    modalities: Sequence[str] = ("flair", "t2w"),
    hd_bet_weights: str | Path | None = None,
    device: str | None = None,
    hd_bet_mirroring: bool = False,
) -> Answer:
    """Make the brain masks of a whole BIDS folder, as a derivative that training and inference read.

    Args:
        dataset_dir: BIDS folder; the masks go to its derivatives.
        brain_extraction: how: hd-bet, or bet, which needs no weights and is less exact.
        workers: processes; each with hd-bet loads the model.
        overwrite: make also masks that are there.
        carry: a modality, such as flair, whose mask is carried over to the others by the place of both in space.
        mask_quality: what a failed check of a mask does: refuse the study, or warn in its sidecar and on the page.
        modalities: whose masks are made: flair, t2w.
        hd_bet_weights: HD-BET's model folder; None: its own, ~/hd-bet_params/release_2.0.0.
        device: cpu, cuda or cuda:N; None: CUDA where there is one.
        hd_bet_mirroring: HD-BET's test-time augmentation: eight times the time.

    Example:
        python -m scripts extract --dataset_dir data/hospital --brain_extraction bet

    Returns:
        What was made, and what became of every study.

    Raises:
        InputError: an unknown option, no study, masks of another pipeline, those of an earlier run made otherwise, or something
            that every study needs is not there, such as weights.
    """
    names = check_modalities(modalities)
    _check_choices(brain_extraction, carry, mask_quality, names)
    if int(workers) < 1:
        raise InputError(f"{workers} workers", expected="1 or more", remedy="Leave it out for one.")
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    extractor = Extractor(
        brain_extraction, None if hd_bet_weights is None else str(hd_bet_weights), chosen, bool(hd_bet_mirroring)
    )
    root = Path(dataset_dir).resolve()
    folder = derivatives.derivative(root)
    cases = find_cases(root, modalities=names)
    derivatives.check_no_other(cases, folder, names)
    plan = Plan(
        folder, names, extractor, {**extractor.describe(), "carried_from": carry}, carry, mask_quality, bool(overwrite)
    )
    if not overwrite:
        _check_same_way(cases, plan)
    derivatives.describe_dataset(folder, plan.how, version=str(json.loads(METADATA.read_text())["version"]))
    return _report(cases, _run(cases, plan, int(workers)), plan)


def extract_case(plan: Plan, case: Case) -> Outcome:
    """Make and write one study's masks. Never raises for what is one study's own fault."""
    name = str(case["case"])
    try:
        sources = {key: sha256(case[key]) for key in plan.modalities if Path(case[key]).is_file()}
        if not plan.overwrite and _is_there(plan, name, sources):
            return Outcome(name, "there already")
        study: dict[Hashable, Any] = dict(case.items())
        images = CheckStudyd(plan.modalities)(LoadStudyd(plan.modalities)(study))
        grids = {key: (images[key][0].numpy(), images[key].affine.numpy().astype(float)) for key in plan.modalities}
        masks = _masks(plan, grids)
        judged = judge_study(
            {key: (mask, grids[key][1]) for key, mask in masks.items()}, age_months=age_months(case[plan.modalities[0]])
        )
        strip = picture.strip({key: (grids[key][0], masks[key], grids[key][1]) for key in masks}, refused=not judged)
        if not judged and plan.gate == "refuse":
            return _refused(plan, name, judged, strip, grids)
        derivatives.refusal_path(plan.folder, name).unlink(missing_ok=True)
        write_atomically(derivatives.strip_path(plan.folder, name), picture.png(strip))
        said = {key: _sidecar(plan, case, key, sources[key], judged) for key in masks}
        derivatives.write_study(plan.folder, name, masks, files={key: case[key] for key in masks}, said=said)
        return Outcome(name, "made", "; ".join(judged.faults))
    except UnavailableError as error:
        return Outcome(name, "failed", str(error), unavailable=error)
    except Exception as error:  # whatever goes wrong in one study is that study's failure; the others go on
        reason = str(error) if isinstance(error, InputError) else f"case {name}: {type(error).__name__}: {error}"
        return Outcome(name, "failed", reason)


def _masks(plan: Plan, grids: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Mask]:
    if plan.carry is None:
        return {key: plan.extractor.mask(*grid) for key, grid in grids.items()}
    values, affine = grids[plan.carry]
    mask = plan.extractor.mask(values, affine)
    return {
        key: mask if key == plan.carry else carry_mask(mask, affine, shape=grid[0].shape, onto=grid[1])
        for key, grid in grids.items()
    }


def _refused(
    plan: Plan, case: str, judged: StudyQuality, strip: picture.Strip, grids: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Outcome:
    path = derivatives.refusal_path(plan.folder, case)
    write_atomically(path, picture.refusal_picture(strip, case, judged.faults))
    bare = [key for key, grid in grids.items() if skull_share(*grid) < MAX_SKULL_SHARE]
    remedy = "Try another method, --carry the other modality's mask, or --mask_quality warn after a look at it."
    if bare:
        names = " and ".join(bare)
        remedy = (
            f"{names} may be brain-extracted already (no skull in sight): then no method is needed. Otherwise: {remedy}"
        )
    error = InputError("; ".join(judged.faults), expected="a brain's mask", remedy=remedy, case=case, file=path)
    return Outcome(case, "failed", str(error))


def _sidecar(plan: Plan, case: Case, modality: str, source: str, judged: StudyQuality) -> dict[str, Any]:
    how = {key: value for key, value in plan.how.items() if key != "carried_from"}
    carried = plan.carry if modality != plan.carry else None
    return {
        "RawSources": [f"bids:raw:{Path(case[modality]).relative_to(plan.folder.parents[1]).as_posix()}"],
        "SourceSHA256": source,
        "BrainExtraction": {**how, "carried_from": carried},
        "Quality": {**judged.to_dict()["masks"][modality], "overlap": judged.overlap, "faults": list(judged.faults)},
    }


def _is_there(plan: Plan, case: str, sources: dict[str, str]) -> bool:
    said = derivatives.described(plan.folder, case, plan.modalities)
    if said is None or len(sources) < len(plan.modalities):
        return False
    return all(one.get("SourceSHA256") == sources[key] for one, key in zip(said, plan.modalities, strict=True))


def _check_same_way(cases: Sequence[Case], plan: Plan) -> None:
    """Refuse to mix masks of two methods or weights in one derivative."""
    for case in cases:
        said = derivatives.described(plan.folder, str(case["case"]), plan.modalities) or []
        for modality, one in zip(plan.modalities, said, strict=False):
            carried = plan.carry if modality != plan.carry else None
            wanted = json.loads(json.dumps({**plan.how, "carried_from": carried}))
            found = one.get("BrainExtraction", {})
            other = [key for key in wanted if key != "device" and found.get(key) != wanted[key]]
            if other:
                raise InputError(
                    f"its masks were made with {', '.join(f'{key} {found.get(key)!r}' for key in other)}",
                    expected=", ".join(f"{key} {wanted[key]!r}" for key in other),
                    remedy="Give the same options again, or --overwrite to make all of them anew.",
                    case=str(case["case"]),
                    file=derivatives.mask_path(plan.folder, str(case["case"]), modality),
                )


def _run(cases: Sequence[Case], plan: Plan, workers: int) -> list[Outcome]:
    jobs = [(plan, case) for case in cases]
    outcomes = []
    for outcome in tqdm(
        each_in_a_worker(_job, jobs, workers=workers), total=len(jobs), desc="extracting", disable=None
    ):
        if outcome.unavailable:
            raise outcome.unavailable
        if outcome.state == "failed":
            logger.error("%s", outcome.reason)
        outcomes.append(outcome)
    return sorted(outcomes, key=lambda outcome: outcome.case)


def _job(job: tuple[Plan, Case]) -> Outcome:
    return extract_case(*job)


def _report(cases: Sequence[Case], outcomes: Sequence[Outcome], plan: Plan) -> Answer:
    failures = [{"case": outcome.case, "reason": outcome.reason} for outcome in outcomes if outcome.state == "failed"]
    write_csv(plan.folder / "failures.csv", failures, columns=["case", "reason"])
    strips, titles = {}, {}
    for outcome in outcomes:
        said = derivatives.described(plan.folder, outcome.case, plan.modalities)
        if outcome.state != "failed" and said:
            volumes = (
                f"{key} {one['Quality']['volume_ml']:.0f} ml" for key, one in zip(plan.modalities, said, strict=True)
            )
            strips[outcome.case] = derivatives.strip_path(plan.folder, outcome.case)
            titles[outcome.case] = "   ".join([outcome.case, *volumes, *said[0]["Quality"]["faults"]])
    pages = picture.write_pages(strips, titles, plan.folder)
    counts = Counter(outcome.state for outcome in outcomes)
    text = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    lines = [f"{len(cases)} studies by {plan.how['software']}: {text}", f"masks: {plan.folder}"]
    lines += [f"look at them: {', '.join(page.name for page in pages)}"] if pages else []
    lines += [f"failed, see {plan.folder / 'failures.csv'}:"] if failures else ["use them by --brain_extraction mask"]
    lines += [f"  {failure['reason']}" for failure in failures[:20]]
    studies = [{"case": one.case, "state": one.state, "reason": one.reason} for one in outcomes]
    data = {"masks": plan.folder, "software": plan.how["software"], "pages": pages, "studies": studies}
    return Answer("\n".join(lines), data, failed=bool(failures))


def _check_choices(brain_extraction: str, carry: str | None, mask_quality: str, modalities: Sequence[str]) -> None:
    choices: list[tuple[str, str, Sequence[str]]] = [
        ("brain_extraction", brain_extraction, COMPUTED),
        ("mask_quality", mask_quality, GATES),
    ]
    choices += [("carry", carry, modalities)] if carry is not None else []
    for option, given, allowed in choices:
        if given not in allowed:
            raise InputError(
                f"{option} is {given!r}", expected=f"one of {', '.join(allowed)}", remedy=f"Correct --{option}."
            )
