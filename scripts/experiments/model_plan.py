"""Which models Table 2 has, and on which split each of them runs: names, inputs, backbones, folders. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.datalist import write_datalist, write_folds
from scripts.errors import InputError
from scripts.experiments.model_run import ModelRun
from scripts.files import sha256, write_atomically

EFFICIENTNET = "efficientnet3d-b0"
OWN_NAMES = (EFFICIENTNET, "efficientnet", "efficientnet3d_b0")  # what train.json has without an overlay


@dataclass(frozen=True)
class PlannedModel:
    """One model, whatever the split.

    Attributes:
        name: e.g. "flair-resnet18", "both-efficientnet3d-b0" (eTSC-Net); of existing weights "weights-" and their SHA-256.
        modalities: its inputs.
        backbone: an overlay's name; empty: train.json's own.
        checkpoint: weights that are there already; None: they are trained.
    """

    name: str
    modalities: tuple[str, ...]
    backbone: str
    checkpoint: Path | None = None

    @property
    def is_reference(self) -> bool:
        """Whether it is the model that the others are compared with: all modalities, trained, the paper's backbone."""
        return self.checkpoint is None and not self.backbone and len(self.modalities) > 1


def plan_models(
    modalities: Sequence[str], backbones: Sequence[str], checkpoints: Sequence[str], *, bundle_root: Path
) -> tuple[PlannedModel, ...]:
    """Every modality alone and, where there are several, all together, with every backbone; then the existing weights.

    Args:
        modalities: inputs.
        backbones: "efficientnet" for train.json's own, or overlays' names.
        checkpoints: FILE, or FILE@OVERLAY, with model.json beside FILE.
        bundle_root: whose configs/ hold the overlays.

    Raises:
        InputError: no such overlay, weights without their origin, a model twice or none.
    """
    together = "both" if len(modalities) == 2 else "all"
    inputs: list[tuple[str, tuple[str, ...]]] = [(name, (name,)) for name in modalities]
    if len(modalities) > 1:
        inputs.append((together, tuple(modalities)))
    overlays = [(EFFICIENTNET if name in OWN_NAMES else name, _overlay(name, bundle_root)) for name in backbones]
    models = [
        PlannedModel(f"{prefix}-{title}", names, overlay) for prefix, names in inputs for title, overlay in overlays
    ]
    for given in checkpoints:
        file, _, backbone = given.partition("@")
        models.append(_existing(Path(file), _overlay(backbone or EFFICIENTNET, bundle_root)))
    names_ = [model.name for model in models]
    twice = sorted({name for name in names_ if names_.count(name) > 1})
    if twice or not models:
        raise InputError(
            f"{', '.join(twice)} given twice" if twice else "no model",
            expected="different backbones and checkpoints",
            remedy="Correct --backbones or --checkpoints.",
        )
    return tuple(models)


def plan_runs(
    models: Sequence[PlannedModel],
    output: Path,
    dataset_dir: Path,
    *,
    folds: int,
    seed: int,
    fractions: Sequence[float],
) -> tuple[ModelRun, ...]:
    """Every model on every split. The split is one for all: made for all their inputs, then narrowed to each one's.

    Args:
        models: of `plan_models`.
        output: datalists and the models' folders go there.
        dataset_dir: the BIDS cohort.
        folds: of a cross-validation; 0: the single split.
        seed: of the split.
        fractions: as of `write_datalist`; with folds the second alone counts.

    Raises:
        InputError: the split that is there was made with other options.
        InputError, CohortError: as of `write_datalist` and `write_folds`.
    """
    together = tuple(dict.fromkeys(name for model in models for name in model.modalities))
    _check_split(output, folds=folds, seed=seed, fractions=fractions)
    if folds:
        made = write_folds(
            dataset_dir,
            output / "folds.json",
            modalities=together,
            folds=folds,
            validation_fraction=fractions[1],
            seed=seed,
        )
        splits = dict(enumerate(made, start=1))
    else:
        splits = {0: output / "datalist.json"}
        write_datalist(dataset_dir, splits[0], modalities=together, fractions=fractions, seed=seed)
    return tuple(
        ModelRun(
            name=model.name,
            modalities=model.modalities,
            backbone=model.backbone,
            folder=output / model.name / f"fold-{fold}" if fold else output / model.name,
            datalist=_narrowed(split, model.modalities),
            checkpoint=model.checkpoint,
            fold=fold,
        )
        for fold, split in splits.items()
        for model in models
    )


def _check_split(output: Path, *, folds: int, seed: int, fractions: Sequence[float]) -> None:
    """`write_datalist` keeps a split that is there with a warning; here a run with another split would be taken for this one."""
    wanted = (
        {"seed": seed, "folds": folds, "validation_fraction": fractions[1]}
        if folds
        else {"seed": seed, "fractions": list(fractions)}
    )
    for file in sorted(output.glob("folds_fold-*.json" if folds else "datalist.json")):
        said = json.loads(file.read_text())
        found = {key: said.get(key) for key in wanted}
        if found != wanted:
            raise InputError(
                f"the split was made with {found}",
                expected=f"{wanted}",
                remedy="Give the same options, or another --output_dir.",
                file=file,
            )


def _existing(file: Path, overlay: str) -> PlannedModel:
    said = file.with_suffix(".json")
    try:
        origin = json.loads(said.read_text())
        if origin["sha256"] != sha256(file):
            raise ValueError("it speaks of another file")
        modalities = tuple(origin["modalities"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"weights or their origin cannot be read ({type(error).__name__}: {error})",
            expected=f"{said.name} beside them that speaks of these very weights",
            remedy="Give the model.pt and model.json of one training to --checkpoints.",
            file=file,
        ) from error
    return PlannedModel(f"weights-{origin['sha256'][:8]}", modalities, overlay, file.resolve())


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


def _narrowed(split: Path, modalities: Sequence[str]) -> Path:
    """The same split for some of its modalities."""
    document = json.loads(split.read_text())
    if list(modalities) == document["modalities"]:
        return split
    path = split.with_name(f"{split.stem}_{'-'.join(modalities)}.json")
    write_atomically(path, json.dumps({**document, "modalities": list(modalities)}, indent=1) + "\n")
    return path
