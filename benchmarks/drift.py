"""How often a case is called unlike the training cohort: on held-out cases like it, on mildly corrupted ones, on real MRI.

    python benchmarks/drift.py --dataset_dir results/synthetic/cohort-easy --datalist results/synthetic/easy/datalist.json \
        --mri ../shared/mri

Writes benchmarks/records/DRIFT.md. Corruptions are made on the original grids, of both modalities, before anything else is done.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.bundle import ConfigParser
from numpy.typing import NDArray
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.checkpoint import provenance
from scripts.cohort import read_datalist
from scripts.command_line.commands import run_function
from scripts.dataset import StudyDataset
from scripts.likeness.cohort_reference import Measurement, measure
from scripts.likeness.feature_reference import LAYERS
from scripts.likeness.reference import Reference, reference_of
from scripts.stats.decisions import wilson
from scripts.stats.metrics import classification_metrics
from scripts.stats.temperature import calibrated
from tests.real_mri import real_cases

RECORD = Path(__file__).parent / "records" / "DRIFT.md"
MODALITIES = ("flair", "t2w")
Volume = NDArray[np.float32]
Corrupt = Callable[[Volume, NDArray[np.float64], np.random.Generator], tuple[Volume, NDArray[np.float64]]]


def bias_field(image: Volume, affine: NDArray[np.float64], rng: np.random.Generator) -> tuple[Volume, Any]:
    """A linear gain from 0.7 to 1.3 across the field of view, in a random direction."""
    direction = rng.normal(size=3)
    axes = np.meshgrid(*(np.linspace(-1, 1, edge) for edge in image.shape), indexing="ij")
    ramp = sum(part * axis for part, axis in zip(direction, axes, strict=True))
    return (image * (1 + 0.3 * ramp / np.abs(ramp).max())).astype(np.float32), affine


def noise(image: Volume, affine: NDArray[np.float64], rng: np.random.Generator) -> tuple[Volume, Any]:
    """White noise, its SD 5 % of the brain's 99th percentile."""
    level = 0.05 * float(np.percentile(image[image > 0], 99))
    return np.abs(image + rng.normal(0, level, image.shape)).astype(np.float32), affine


def blur(image: Volume, affine: NDArray[np.float64], rng: np.random.Generator) -> tuple[Volume, Any]:
    """Gaussian in the plane, its SD 1.5 mm."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return ndimage.gaussian_filter(image, [1.5 / edge if edge < 3 else 0 for edge in spacing]), affine


def gamma(image: Volume, affine: NDArray[np.float64], rng: np.random.Generator) -> tuple[Volume, Any]:
    """Contrast: intensities to the power 1.5, their maximum kept."""
    top = float(image.max())
    return ((np.maximum(image, 0) / top) ** 1.5 * top).astype(np.float32), affine


def voxels(image: Volume, affine: NDArray[np.float64], rng: np.random.Generator) -> tuple[Volume, Any]:
    """The same head on voxels of 1 mm in the plane, linearly interpolated."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    factors = [edge / 1.0 if edge < 3 else 1.0 for edge in spacing]
    smaller = ndimage.zoom(image, factors, order=1, grid_mode=True, mode="nearest")
    scale = np.array(image.shape) / smaller.shape
    moved = affine.copy()
    moved[:3, :3] = affine[:3, :3] * scale
    moved[:3, 3] = affine[:3, 3] + affine[:3, :3] @ ((scale - 1) / 2)
    return smaller.astype(np.float32), moved


def spike(image: Volume, affine: NDArray[np.float64], rng: np.random.Generator) -> tuple[Volume, Any]:
    """One voxel of the brain at three times the maximum: min-max scaling presses the rest together."""
    spoilt = image.copy()
    inside = np.argwhere(image > 0)
    spoilt[tuple(inside[rng.integers(len(inside))])] = 3 * image.max()
    return spoilt, affine


def swapped(image: Volume, affine: NDArray[np.float64], rng: np.random.Generator) -> tuple[Volume, Any]:
    """As it is; FLAIR and T2w change places in the case."""
    return image, affine


CORRUPTIONS: dict[str, Corrupt] = {
    "bias field 0.7 to 1.3": bias_field,
    "noise 5 %": noise,
    "blur 1.5 mm": blur,
    "gamma 1.5": gamma,
    "voxels of 1 mm": voxels,
    "one bright voxel": spike,
    "FLAIR and T2w exchanged": swapped,
}


def drift(
    dataset_dir: str,
    datalist: str,
    *,
    mri: str | None = None,
    checkpoint: str = "bundle/models/model.pt",
    subjects: int = 50,
    output: str = str(RECORD),
) -> str:
    """Measure how often a case is called unlike the training cohort, and write the table.

    Args:
        dataset_dir: BIDS folder that the weights were trained on.
        datalist: JSON file of its split; the testing part is used.
        mri: folder of the real pairs; None leaves them out.
        checkpoint: the weights, with model.json and its reference beside them.
        subjects: of the testing part that are corrupted, the first ones.
        output: the Markdown file; by default benchmarks/records/DRIFT.md.

    Example:
        python benchmarks/drift.py --dataset_dir results/synthetic/cohort-easy \\
            --datalist results/synthetic/easy/datalist.json --mri ../shared/mri
    """
    said = provenance(checkpoint)
    reference = reference_of(said)
    if reference is None:
        raise SystemExit(f"{checkpoint} has no reference: python -m scripts reference")
    testing = read_datalist(datalist, dataset_dir)["testing"]
    by_mask, extracted = scorer(checkpoint, "mask"), scorer(checkpoint, "none")
    clean = by_mask(testing)
    rows = [row("test subjects, as they are", clean, reference)]
    rows += [row(name, corrupted(testing[:subjects], name, extracted), reference, plain=clean) for name in CORRUPTIONS]
    if mri is not None:
        pairs = [{**case, "label": 0} for case in real_cases(Path(mri))]  # a label is not known, and not used
        rows.append(row("real MRI (adults, multiple sclerosis)", extracted(pairs), reference))
    text = document(rows, clean, said, reference)
    Path(output).write_text(text)
    return text


Scorer = Callable[[Sequence[Mapping[str, Any]]], list[Measurement]]


def scorer(checkpoint: str, brain_extraction: str) -> Scorer:
    """Measures cases with the shipped configuration; the network is loaded once."""
    parser = ConfigParser()
    parser.read_config("bundle/configs/inference.json")
    parser["bundle_root"], parser["checkpoint"], parser["brain_extraction"] = "bundle", checkpoint, brain_extraction
    network, preprocessing = parser.get_parsed_content("network"), parser.get_parsed_content("preprocessing")
    return lambda cases: measure(network, StudyDataset(list(cases), preprocessing))


def corrupted(cases: Sequence[Mapping[str, Any]], name: str, score: Scorer) -> list[Measurement]:
    """The cases with a corruption, measured; each is brain-extracted by its mask first."""
    measured = []
    for number, case in enumerate(cases):
        with tempfile.TemporaryDirectory() as folder:
            spoilt: dict[str, Any] = {"case": case["case"], "label": case["label"]}
            for channel, modality in enumerate(MODALITIES):
                source = nib.Nifti1Image.from_filename(case[modality])
                image = np.asarray(source.dataobj, dtype=np.float32) * (
                    np.asarray(nib.Nifti1Image.from_filename(case[f"{modality}_mask"]).dataobj) > 0
                )
                made, affine = CORRUPTIONS[name](image, source.affine, np.random.default_rng([number, channel]))
                # Outside the brain stays 0, whatever was done inside.
                kept = made if made.shape != image.shape else made * (image > 0)
                target = MODALITIES[1 - channel] if name.endswith("exchanged") else modality
                spoilt[target] = str(Path(folder) / f"{target}.nii")
                nib.save(nib.Nifti1Image(kept, affine), spoilt[target])
            measured += score([spoilt])
    return measured


def row(
    name: str, cases: Sequence[Measurement], reference: Reference, *, plain: Sequence[Measurement] = ()
) -> list[str]:
    """Name, cases, share flagged by statistics, by each layer's features, by any; the score's usual change; what stood out."""
    quality = [reference.judge_quality(case.statistics) for case in cases]
    features = [reference.features.judge(case.features) for case in cases]
    either = [one["flagged"] or bool(other["flagged"]) for one, other in zip(quality, features, strict=True)]
    layers = [[bool(one["layers"][layer]["flagged"]) for one in features] for layer in LAYERS]
    before = {case.case: case.score for case in plain}
    changes = [abs(case.score - before[case.case]) for case in cases if case.case in before]
    return [
        name,
        str(len(cases)),
        share(sum(one["flagged"] for one in quality), len(cases)),
        *(share(sum(flags), len(cases)) for flags in layers),
        share(sum(either), len(cases)),
        f"{np.median(changes):.3f}" if changes else "",
        most(quality),
    ]


def share(count: int, total: int) -> str:
    """A percentage with its Wilson interval."""
    low, high = wilson(count, total)
    return f"{count / total:.0%} ({low:.0%} to {high:.0%})"


def most(quality: Sequence[Mapping[str, Any]]) -> str:
    """The two statistics that were flagged in most cases."""
    counts: dict[str, int] = {}
    for one in quality:
        for modality, statistics in one["statistics"].items():
            for name, judged in statistics.items():
                counts[f"{modality} {name}"] = counts.get(f"{modality} {name}", 0) + judged["flagged"]
    best = sorted((name for name, count in counts.items() if count), key=lambda name: (-counts[name], name))
    return ", ".join(best[:2])


def document(
    rows: Sequence[Sequence[str]], clean: Sequence[Measurement], said: Mapping[str, Any], reference: Reference
) -> str:
    """The record."""
    columns = ["cases", "n", "by statistics", *LAYERS.values(), "by any", "median change of the score", "most often"]
    table = [columns, ["---"] * len(columns), *rows]
    promised = {LAYERS[name]: f"{layer.rank.rate:.1%}" for name, layer in reference.features.layers.items()}
    lines = [
        "# Drift: who is called unlike the training cohort",
        "",
        f"`python benchmarks/drift.py`, weights {said['sha256'][:12]}, calibration {json.dumps(dict(reference.cases))}. Shares "
        f"with their Wilson interval. Of cases like the training's, {reference.quality.rate:.1%} at most should be flagged by "
        f"statistics, and by features {' and '.join(f'{rate} ({name})' for name, rate in promised.items())}; with so few "
        "calibration cases the rate that comes true varies. The layers, the number of components and the quantile of the scale "
        "were chosen after a look at these very cases, so that the table is optimistic; the limits themselves come from training "
        "and validation alone.",
        "",
        *("| " + " | ".join(cells) + " |" for cells in table),
        "",
        temperature_line(clean, said),
    ]
    return "\n".join(lines) + "\n"


def temperature_line(clean: Sequence[Measurement], said: Mapping[str, Any]) -> str:
    """What the temperature does for the test subjects' probabilities."""
    entry = said["temperature"]
    if entry["temperature"] is None:
        return f"No temperature: {entry['reason']}"
    labels, scores = [case.label for case in clean], np.array([case.score for case in clean])
    before = classification_metrics(labels, scores, threshold=0.5)
    after = classification_metrics(labels, calibrated(scores, entry["temperature"]), threshold=0.5)
    low, high = entry["interval"]
    return (
        f"Temperature {entry['temperature']:.3f} ({low:.3f} to {'no end' if high is None else f'{high:.3f}'}), fitted on "
        f"{entry['cases']} validation cases. Test subjects: log loss {before.log_loss:.3f} -> {after.log_loss:.3f}, Brier "
        f"{before.brier:.3f} -> {after.brier:.3f}."
    )


if __name__ == "__main__":
    run_function(drift)
