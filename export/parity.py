"""Proof that every exported form says what torch's float32 network says.

The studies are the golden case, edge values (zeros, ones, one bright voxel, stripes of single voxels, rims) and, where given,
real or synthetic studies prepared by the bundle: never noise alone, never untrained weights (in evaluation mode an untrained
EfficientNet3D says the same of every image, which any graph would match).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from export.bundle import TrainedBundle, load_bundle
from export.forms import FORMS, runs_on
from export.golden import golden_image
from export.machine import cpu_flags
from export.manifest import TOLERANCE, read_manifest
from scripts.answer import Answer
from scripts.cohort import inference_cases
from scripts.errors import InputError, failed_check
from scripts.files import write_atomically
from scripts.onnx_session import Session
from scripts.stats.roc import auc

ALIVE = 1e-3  # a network whose logits differ less between images proves nothing

Array = NDArray[np.float32]


@dataclass(frozen=True)
class FormParity:
    """How far one form is from torch, over all studies. `score` and `logit`: largest absolute differences.

    A decision flips where torch's score is farther from the threshold than the tolerance and the form's lies on the other side.
    """

    form: str
    precision: str
    tolerance: float
    score: float
    logit: float
    flips: int
    auc_difference: float | None
    studies: int
    reason: str = ""

    def __bool__(self) -> bool:
        return not self.reason and self.score <= self.tolerance and self.flips == 0


@dataclass(frozen=True)
class ParityResult:
    """True if every form that runs on this machine agrees with torch."""

    forms: tuple[FormParity, ...]
    studies: tuple[str, ...]

    def __bool__(self) -> bool:
        ran = [form for form in self.forms if not form.reason]
        return bool(ran) and all(ran)

    def to_dict(self) -> dict[str, Any]:
        """The fields with the verdicts, ready for JSON."""
        forms = [{"passed": bool(form), **asdict(form)} for form in self.forms]
        return {"passed": bool(self), "forms": forms, "studies": list(self.studies)}

    def table(self) -> str:
        """For people, in Markdown."""
        lines = ["| form | precision | studies | score | logit | flips | AUC | within |", "|---" * 8 + "|"]
        for form in self.forms:
            if form.reason:
                lines.append(f"| {form.form} | {form.precision} | not run: {form.reason} | | | | | |")
                continue
            area = "" if form.auc_difference is None else f"{form.auc_difference:.1e}"
            verdict = f"{form.tolerance:.0e}: {'yes' if form else 'NO'}"
            figures = f"{form.score:.1e} | {form.logit:.1e} | {form.flips} | {area} | {verdict}"
            lines.append(f"| {form.form} | {form.precision} | {form.studies} | {figures} |")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """As JSON."""
        write_atomically(path, json.dumps(self.to_dict(), indent=1) + "\n")


def parity(
    bundle_root: str | Path = "bundle",
    exports: str | Path = "exports",
    *,
    dataset_dir: str | Path | None = None,
    datalist: str | Path | None = None,
    brain_extraction: Literal["hd-bet", "bet", "mask", "none"] = "hd-bet",
    config_file: str | Path | None = None,
) -> Answer:
    """Run every exported form and torch on the same studies, and write parity.json beside the forms.

    Args:
        bundle_root: folder of the bundle that was exported.
        exports: folder of etscnet.json.
        dataset_dir: BIDS folder of studies, besides the golden case and the edge values; None: those alone.
        datalist: JSON file of studies, as inference takes it. Its labels give the difference of the AUC.
        brain_extraction: of these studies: hd-bet, bet, mask (given masks) or none (the images are brain-extracted).
        config_file: the overlay that the export was made with.

    Example:
        python -m export parity --bundle_root bundle --exports exports --dataset_dir data/cohort --brain_extraction mask

    Returns:
        The table, and parity.json.

    Raises:
        FailedCheckError: a form differs.
        InputError: the files are not those of the manifest or not of this bundle.
    """
    bundle = load_bundle(bundle_root, config_file=config_file)
    cases: Sequence[Mapping[str, Any]] = ()
    if dataset_dir is not None or datalist is not None:
        cases = inference_cases(
            dataset_dir=dataset_dir, datalist=datalist, study=None, modalities=list(bundle.network.modalities)
        )
    result = prove(bundle, Path(exports), cases=cases, brain_extraction=brain_extraction)
    result.write(Path(exports) / "parity.json")
    if not result:
        raise failed_check(
            f"scores that are not torch's\n{result.table()}",
            expected="differences within the tolerance",
            remedy="Do not use the forms that differ; export again, and report it.",
            file=exports,
            data=result.to_dict(),
        )
    return Answer(result.table(), result.to_dict())


def prove(
    bundle: TrainedBundle,
    exports: Path,
    *,
    cases: Sequence[Mapping[str, Any]] = (),
    brain_extraction: str = "none",
) -> ParityResult:
    """Compare every form in the folder with torch, on the golden case, edge values and the cases.

    Raises:
        InputError: files that are not the manifest's, weights of another export, or a network that says the same of every study.
    """
    manifest = read_manifest(exports)
    if manifest["origin"]["sha256"] != bundle.origin["sha256"]:
        raise InputError(
            "an export of other weights", expected=str(bundle.weights), remedy="Export again.", file=exports
        )
    size = tuple(manifest["spatial_size"])
    files = {name: exports / form["file"] for name, form in manifest["forms"].items()}
    flags = cpu_flags()
    ran = {name: path for name, path in files.items() if runs_on(FORMS[name], flags)}
    names, labels, logits, expected = [], [], [], []
    scores: dict[str, list[Array]] = {name: [] for name in ran}
    studies = list(_studies(bundle, exports, size)) + [(str(case["case"]), case, case.get("label")) for case in cases]
    sessions = {name: Session(path, threads=torch.get_num_threads()) for name, path in ran.items()}
    for name, study, label in tqdm(studies, desc="parity", disable=None):
        image = study() if callable(study) else bundle.prepare(study, size, brain_extraction=brain_extraction)
        with torch.inference_mode():
            logit = bundle.network(image, return_logits=True)
            expected.append(torch.cat([bundle.network.fuse(logit), torch.sigmoid(logit)], dim=1).numpy()[0])
        names.append(name)
        labels.append(label)
        logits.append(logit.numpy()[0])
        for form, session in sessions.items():
            scores[form].append(np.concatenate(session.run(image.numpy()), axis=1)[0])
    if np.ptp(np.array(logits), axis=0).min() < ALIVE:
        raise InputError(
            f"a network whose logits span {np.ptp(np.array(logits), axis=0)} over all studies",
            expected="a trained network, whose score depends on the image",
            remedy="Export trained weights: an untrained network proves nothing.",
            file=bundle.weights,
        )
    threshold = float(bundle.network.threshold)
    results = []
    for name, form in manifest["forms"].items():
        if name not in ran:
            reason = f"for another processor ({form['meant_for']})"
            results.append(FormParity(name, form["precision"], 0.0, 0.0, 0.0, 0, None, 0, reason))
        else:
            found = np.array(scores[name], dtype=np.float64)
            results.append(_compare(name, form["precision"], found, np.array(expected, np.float64), labels, threshold))
    return ParityResult(tuple(results), tuple(names))


def _compare(
    name: str, precision: str, found: Any, expected: Any, labels: Sequence[int | None], threshold: float
) -> FormParity:
    """found, expected: (N, 1 + M), the fused score and those of the branches."""
    tolerance = TOLERANCE[precision]
    clear = np.abs(expected[:, 0] - threshold) > tolerance
    flips = int((((found[:, 0] >= threshold) != (expected[:, 0] >= threshold)) & clear).sum())
    known = [row for row, label in enumerate(labels) if label is not None]
    truth = np.array([labels[row] for row in known], dtype=int)
    area = None
    if len(set(truth.tolist())) == 2:
        area = abs(float(auc(truth, found[known, 0])) - float(auc(truth, expected[known, 0])))
    score = float(np.abs(found - expected).max())
    logit = float(np.abs(_logit(found[:, 1:]) - _logit(expected[:, 1:])).max())
    return FormParity(name, precision, tolerance, score, logit, flips, area, len(found))


def _logit(score: Any) -> Any:
    clipped = np.clip(score, 1e-7, 1 - 1e-7)
    return np.log(clipped / (1 - clipped))


def _studies(bundle: TrainedBundle, exports: Path, size: tuple[int, ...]) -> Iterator[tuple[str, Any, None]]:
    """The golden case and the edge values: (name, function that makes the image (1, M, x, y, z), no label)."""
    modalities = bundle.network.modalities
    with np.load(exports / "golden.npz") as golden:
        volumes = {name: golden[name] for name in modalities}
    shape = (1, len(modalities), *size)

    def edge(fill: float, *index: Any) -> torch.Tensor:
        image = torch.zeros(shape)
        image[index] = fill
        return image

    yield "golden", lambda: golden_image(bundle, volumes, spatial_size=size), None
    yield "zeros", lambda: edge(0.0, ...), None
    yield "ones", lambda: edge(1.0, ...), None
    yield "one voxel", lambda: edge(1.0, ..., size[0] // 2, size[1] // 2, size[2] // 2), None
    yield "stripes", lambda: edge(1.0, ..., slice(None, None, 2), slice(None), slice(None, None, 3)), None
    yield "first plane", lambda: edge(1.0, ..., 0, slice(None), slice(None)), None
    yield "last corner", lambda: edge(1.0, ..., size[0] - 1, size[1] - 1, slice(None)), None
