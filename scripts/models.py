"""The runs behind Table 2: every input alone and together, with every backbone, on one split or on every fold of one.

    OUTPUT/datalist*.json, folds*.json      the split, made once
    OUTPUT/cache/                           preprocessed images
    OUTPUT/NAME/                            one model's run (`scripts.model_run`), e.g. both-efficientnet3d-b0, flair-resnet18
    OUTPUT/NAME/fold-1/, ...                its runs in a cross-validation
    OUTPUT/NAME/predictions.csv             the folds' testing predictions in one table (`scripts.pooled`)

A cross-validation is nested: each fold's training chooses epochs, fusion weights and threshold on that fold's validation part,
and the fold's testing part is scored by that model. No torch here.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from scripts.bids import check_modalities
from scripts.child import ended_by_signals
from scripts.datalist import write_datalist, write_folds
from scripts.errors import InputError
from scripts.files import sha256, write_atomically
from scripts.model_run import ModelRun, Place, Settings
from scripts.pooled import pool_folds

ROOT = Path(__file__).resolve().parents[1]
EFFICIENTNET = "efficientnet3d-b0"
OWN_NAMES = (EFFICIENTNET, "efficientnet", "efficientnet3d_b0")  # what train.json has without an overlay


def run_models(
    dataset_dir: str,
    output_dir: str = "results/models",
    *,
    epochs: int = 100,
    spatial_size: Sequence[int] = (256, 256, 128),
    batch_size: int = 4,
    learning_rate: float = 0.001,
    learning_rate_decay: float = 0.0,
    seed: int = 0,
    brain_extraction: str = "none",
    modalities: Sequence[str] = ("flair", "t2w"),
    backbones: Sequence[str] = ("resnet18", "efficientnet"),
    folds: int = 0,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    checkpoints: Sequence[str] = (),
    device: str = "",
    num_workers: int = 0,
) -> str:
    """The verb `models`: train and evaluate all models of Table 2; the same command goes on where it was stopped.

    Args:
        dataset_dir: BIDS cohort with outcomes.
        output_dir: one folder a model goes there.
        epochs, spatial_size, batch_size, learning_rate, learning_rate_decay, seed, brain_extraction: as in train.json, for all.
        modalities: each alone, and where there are several all of them together.
        backbones: "efficientnet" (train.json's own), or overlays in the bundle's configs: resnet18, densenet121, swin.
        folds: of a cross-validation; 0: the single split of `fractions`.
        fractions: training, validation, testing; with folds the second alone counts, the share of the validation part.
        checkpoints: weights that are there already, evaluated on the same parts: FILE, or FILE@OVERLAY for another backbone.
        device: e.g. "cuda:0"; empty: CUDA where there is one.
        num_workers: processes that load batches.

    Returns:
        What was done, and which command comes next.

    Raises:
        InputError: an option, the cohort or a folder's earlier run does not fit. Nothing was started.
        SystemExit: some models failed; the others are finished.
    """
    settings = Settings(
        _size(spatial_size),
        _whole("epochs", epochs),
        _whole("batch_size", batch_size),
        _whole("seed", seed, least=0),
        float(learning_rate),
        float(learning_rate_decay),
        str(brain_extraction),
    )
    output = Path(str(output_dir))
    place = Place(_bundle(), Path(str(dataset_dir)).resolve(), (output / "cache").resolve(), str(device), num_workers)
    models = _models(check_modalities(_many(modalities)), _many(backbones), _many(checkpoints), place.bundle_root)
    count = _whole("folds", folds, least=0)
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output), ended_by_signals():
        runs = _runs(models, output.resolve(), place.dataset_dir, folds=count, seed=settings.seed, fractions=fractions)
        for run in runs:
            run.claim(settings, place)
        failed = _run_all(runs, settings, place)
        names = [name for name in dict.fromkeys(run.name for run in runs) if not any(name == n for n, _ in failed)]
        if count:
            for name in names:
                pool_folds([run for run in runs if run.name == name], output / name / "predictions.csv")
    said = _summary(names, output, folded=bool(count), dataset_dir=str(dataset_dir))
    if failed:
        reasons = "\n".join(f"  {name}: {reason}" for name, reason in failed)
        raise SystemExit(
            f"{said}\n{len(failed)} of {len(runs)} runs failed; the same command tries them again:\n{reasons}"
        )
    return said


def _run_all(runs: Sequence[ModelRun], settings: Settings, place: Place) -> list[tuple[str, str]]:
    """Every run to its end, one after the other; those that failed, with the reason."""
    failed = []
    trained = [run for run in runs if run.checkpoint is None]
    with tqdm(total=len(trained) * settings.epochs, desc="models", unit="epoch", disable=None) as bar:
        for number, run in enumerate(runs):
            said = f"{run.name} fold {run.fold}" if run.fold else run.name
            before = sum(one.epochs_done() for one in trained if one is not run)

            def show(
                step: str, run: ModelRun = run, said: str = said, number: int = number, before: int = before
            ) -> None:
                bar.n = before + run.epochs_done()
                bar.set_postfix_str(f"{number + 1}/{len(runs)} {said}: {step}")

            show("look")
            reason = run.run(settings, place, meanwhile=show)
            show("failed" if reason else "finished")
            if reason:
                failed.append((run.name, f"fold {run.fold}: {reason}" if run.fold else reason))
                tqdm.write(f"{said}: {reason}")
    return failed


def _models(
    modalities: Sequence[str], backbones: Sequence[str], checkpoints: Sequence[str], bundle_root: Path
) -> list[dict[str, Any]]:
    """Name, inputs, overlay and (for those that are there already) weights of every model; the fused ones come last."""
    together = "both" if len(modalities) == 2 else "all"
    inputs = [(name, (name,)) for name in modalities]
    if len(modalities) > 1:
        inputs.append((together, tuple(modalities)))
    models: list[dict[str, Any]] = []
    overlays = [(EFFICIENTNET if name in OWN_NAMES else name, _overlay(name, bundle_root)) for name in backbones]
    for prefix, names in inputs:
        models += [
            {"name": f"{prefix}-{title}", "modalities": names, "backbone": overlay} for title, overlay in overlays
        ]
    for given in checkpoints:
        file, _, backbone = given.partition("@")
        models.append(_checkpoint(Path(file), _overlay(backbone or EFFICIENTNET, bundle_root)))
    names_ = [model["name"] for model in models]
    twice = sorted({name for name in names_ if names_.count(name) > 1})
    if twice or not models:
        raise InputError(
            f"{', '.join(twice)} given twice" if twice else "no model",
            expected="different backbones and checkpoints",
            remedy="Correct --backbones or --checkpoints.",
        )
    return models


def _checkpoint(file: Path, overlay: str) -> dict[str, Any]:
    said = file.with_suffix(".json")
    try:
        origin = json.loads(said.read_text())
        if origin["sha256"] != sha256(file):
            raise KeyError("sha256")
        modalities = tuple(origin["modalities"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"weights or their origin cannot be read ({type(error).__name__}: {error})",
            expected=f"{said.name} beside them that speaks of these very weights",
            remedy="Give the model.pt and model.json of one training to --checkpoints.",
            file=file,
        ) from error
    name = f"weights-{origin['sha256'][:8]}"
    return {"name": name, "modalities": modalities, "backbone": overlay, "checkpoint": file.resolve()}


def _overlay(name: str, bundle_root: Path) -> str:
    """The overlay's name; empty for train.json's own backbone."""
    if name in OWN_NAMES:
        return ""
    configs = sorted((bundle_root / "configs").glob("*.json"))
    known = [file.stem for file in configs if set(json.loads(file.read_text())) == {"backbone"}]
    if name not in known:
        raise InputError(
            f"backbone {name!r}",
            expected=f"efficientnet, {', '.join(known)}",
            remedy="Correct it, or add an overlay with that backbone to the bundle's configs.",
        )
    return name


def _runs(
    models: Sequence[dict[str, Any]],
    output: Path,
    dataset_dir: Path,
    *,
    folds: int,
    seed: int,
    fractions: Sequence[float],
) -> list[ModelRun]:
    """Every model on every split. The split is one for all: made for all their inputs, then narrowed to each one's."""
    together = tuple(dict.fromkeys(name for model in models for name in model["modalities"]))
    if folds:
        share = float(_many(fractions)[1])
        splits = list(
            write_folds(
                dataset_dir,
                output / "folds.json",
                modalities=together,
                folds=folds,
                validation_fraction=share,
                seed=seed,
            )
        )
    else:
        splits = [output / "datalist.json"]
        write_datalist(dataset_dir, splits[0], modalities=together, fractions=_many(fractions), seed=seed)
    runs = []
    for fold, split in enumerate(splits, start=1):
        for model in models:
            folder = output / model["name"]
            runs.append(
                ModelRun(
                    folder=folder / f"fold-{fold}" if folds else folder,
                    datalist=_narrowed(split, model["modalities"]),
                    fold=fold if folds else 0,
                    **model,
                )
            )
    return runs


def _narrowed(split: Path, modalities: Sequence[str]) -> Path:
    """The same split for some of its modalities."""
    document = json.loads(split.read_text())
    if list(modalities) == document["modalities"]:
        return split
    path = split.with_name(f"{split.stem}_{'-'.join(modalities)}.json")
    write_atomically(path, json.dumps({**document, "modalities": list(modalities)}, indent=1) + "\n")
    return path


def _summary(names: Sequence[str], output: Path, *, folded: bool, dataset_dir: str) -> str:
    files = [output / name / ("predictions.csv" if folded else "testing/predictions.csv") for name in names]
    lines = [f"{len(names)} models are trained and scored in {output}"]
    if not folded:
        for name in names:
            auc = json.loads((output / name / "testing" / "metrics.json").read_text())["fused"]["auc"]
            lines.append(f"  {name:<28} testing AUC {auc:.3f}")
    # The model that the others are compared with comes first: the fused one of the paper's backbone.
    first = sorted(files, key=lambda file: not file.relative_to(output).parts[0].endswith(f"th-{EFFICIENTNET}"))
    if first:
        lines += [
            "Next:",
            f"  python -m scripts report --cohort {dataset_dir} --predictions {' '.join(map(str, first))}",
        ]
    return "\n".join(lines)


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """One command at a time in a folder."""
    with (output / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                "another command is at work in this folder",
                expected="one at a time",
                remedy="Wait for it, or give another --output_dir.",
                file=output,
            ) from error
        yield


def _bundle() -> Path:
    """The bundle's folder: beside scripts/ in the checkout, the one that holds it in an unzipped bundle."""
    return ROOT / "bundle" if (ROOT / "bundle" / "configs").is_dir() else ROOT


def _many(value: Any) -> tuple[Any, ...]:
    """One value or several, as a command line gives them: "a", "a,b", ["a", "b"]."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(value) if isinstance(value, Sequence) else (value,)


def _size(value: Any) -> tuple[int, int, int]:
    edges = tuple(value) if isinstance(value, Sequence) else (value,)
    if len(edges) != 3 or any(not isinstance(edge, int) or edge < 32 or edge % 32 for edge in edges):
        raise InputError(
            f"spatial_size is {value!r}",
            expected="three multiples of 32",
            remedy="Give for example --spatial_size 64 64 32.",
        )
    return edges


def _whole(name: str, value: Any, *, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InputError(
            f"{name} is {value!r}", expected=f"a whole number, {least} or more", remedy=f"Correct --{name}."
        )
    return value
