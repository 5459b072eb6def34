"""The runs behind Table 2: every input alone and together, with every backbone, on one split or on every fold of one.

    OUTPUT/datalist*.json, folds*.json      the split, made once
    OUTPUT/cache/                           preprocessed images
    OUTPUT/NAME/                            one model's run (`model_run`), e.g. both-efficientnet3d-b0, flair-resnet18
    OUTPUT/NAME/fold-1/, ...                its runs in a cross-validation
    OUTPUT/NAME/predictions.csv             the folds' testing predictions in one table (`pooled`)

A cross-validation is nested: each fold's training chooses epochs, fusion weights and threshold on that fold's validation part,
and the fold's testing part is scored by that model. No torch here.
"""

from __future__ import annotations

import fcntl
import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from scripts.answer import Answer
from scripts.bids import check_modalities
from scripts.errors import InputError
from scripts.experiments.child import ended_by_signals
from scripts.experiments.model_plan import PlannedModel, plan_models, plan_runs
from scripts.experiments.model_run import ModelRun, Place, Settings
from scripts.experiments.options import bundle_folder, image_size, several, whole_number
from scripts.experiments.pooled import pool_folds
from scripts.split import check_fractions


def run_models(
    dataset_dir: str | Path,
    output_dir: str | Path = "results/models",
    *,
    epochs: int = 100,
    spatial_size: Sequence[int] = (256, 256, 128),
    batch_size: int = 4,
    learning_rate: float = 0.001,
    learning_rate_decay: float = 0.0,
    seed: int = 0,
    brain_extraction: Literal["hd-bet", "bet", "mask", "none"] = "hd-bet",
    modalities: Sequence[str] = ("flair", "t2w"),
    backbones: Sequence[str] = ("resnet18", "efficientnet"),
    folds: int = 0,
    fractions: Sequence[float] = (0.7, 0.1, 0.2),
    checkpoints: Sequence[str] = (),
    device: str | None = None,
    num_workers: int = 0,
) -> Answer:
    """Train and evaluate all models of Table 2; the same command goes on where it was stopped.

    Args:
        dataset_dir: BIDS folder of the cohort, with outcomes.
        output_dir: one folder a model goes there.
        epochs: of every training.
        spatial_size: edges of the image in voxels, three multiples of 32.
        batch_size: images of a training step.
        learning_rate: of Adam.
        learning_rate_decay: the power by which the rate falls to 0 over the epochs; 0 keeps it constant.
        seed: of weights, augmentation and split, a whole number from 0 on.
        brain_extraction: hd-bet, bet, mask (given masks) or none (the images are brain-extracted).
        modalities: each alone, and where there are several all of them together: flair, t2w.
        backbones: efficientnet (train.json's own), or overlays in the bundle's configs: resnet18, densenet121, swin.
        folds: of a cross-validation; 0: the single split of `fractions`.
        fractions: of training, validation and testing part: shares, together 1, or whole numbers of subjects; with folds the
            second alone counts, a share of all.
        checkpoints: weights that are there already, evaluated on the same parts: FILE, or FILE@OVERLAY for another backbone.
            Whether they were trained on some of these children is not known here.
        device: cpu, cuda or cuda:N; None: CUDA where there is one.
        num_workers: processes that load batches; 0: none of their own.

    Example:
        python -m scripts models --dataset_dir data/cohort --output_dir results/models --brain_extraction mask \\
            --spatial_size 64 64 32 --epochs 20 --batch_size 4

    Returns:
        What was done, and which command comes next.

    Raises:
        InputError: an option, the cohort or a folder's earlier run does not fit. Nothing was started.
        SystemExit: the command was stopped (130).
    """
    settings = Settings(
        image_size(spatial_size),
        whole_number("epochs", epochs),
        whole_number("batch_size", batch_size),
        whole_number("seed", seed, least=0),
        float(learning_rate),
        float(learning_rate_decay),
        str(brain_extraction),
    )
    output, cohort, count = Path(str(output_dir)), Path(str(dataset_dir)), whole_number("folds", folds, least=0)
    place = Place(bundle_folder(), cohort.resolve(), (output / "cache").resolve(), device or "", num_workers)
    models = plan_models(
        check_modalities(several(modalities)), several(backbones), several(checkpoints), bundle_root=place.bundle_root
    )
    shares = check_fractions(several(fractions))
    output.mkdir(parents=True, exist_ok=True)
    with _locked(output), ended_by_signals():
        runs = plan_runs(models, output.resolve(), place.dataset_dir, folds=count, seed=settings.seed, fractions=shares)
        for run in runs:
            run.claim(settings, place)
        try:
            failed = _run_all(runs, settings, place)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here")
            raise SystemExit(130) from None
        finished = [model for model in models if all(name != model.name for name, _ in failed)]
        for model in finished if count else ():
            pool_folds([run for run in runs if run.name == model.name], output / model.name / "predictions.csv")
    said = _summary(finished, output, folded=bool(count), cohort=cohort)
    if failed:
        said += f"\n{len(failed)} of {len(runs)} runs failed; the same command tries them again:"
        said += "".join(f"\n  {name}: {reason}" for name, reason in failed)
    data = {
        "output_dir": output,
        "predictions": {model.name: predictions_of(model, output, folded=bool(count)) for model in finished},
        "failures": [{"model": name, "reason": reason} for name, reason in failed],
    }
    return Answer(said, data, failed=bool(failed))


def _run_all(runs: Sequence[ModelRun], settings: Settings, place: Place) -> list[tuple[str, str]]:
    """Every run to its end, one after the other; those that failed, with the reason."""
    failed = []
    trained = [run for run in runs if run.checkpoint is None]
    with tqdm(total=len(trained) * settings.epochs, desc="models", unit="epoch", disable=None) as bar:
        for number, run in enumerate(runs, start=1):
            said = f"{run.name} fold {run.fold}" if run.fold else run.name
            progress = _Progress(bar, trained, run, f"{number}/{len(runs)} {said}")
            reason = run.run(settings, place, meanwhile=progress.show)
            progress.show("failed" if reason else "finished")
            if reason:
                failed.append((run.name, f"fold {run.fold}: {reason}" if run.fold else reason))
                tqdm.write(f"{said}: {reason}")
    return failed


class _Progress:
    """The bar of all runs, moved by one of them.

    Args:
        bar: counts epochs.
        trained: all runs that train.
        run: the one that is at work.
        said: of it.
    """

    def __init__(self, bar: Any, trained: Sequence[ModelRun], run: ModelRun, said: str) -> None:
        self.bar, self.run, self.said = bar, run, said
        self.others = sum(one.epochs_done() for one in trained if one is not run)
        self.show("begins")

    def show(self, step: str) -> None:
        """What the run does now."""
        self.bar.n = self.others + self.run.epochs_done()
        self.bar.set_postfix_str(f"{self.said}: {step}")


def predictions_of(model: PlannedModel, output: Path, *, folded: bool) -> Path:
    """The table of a model's scores of the testing part, or of all folds' testing parts."""
    return output / model.name / ("predictions.csv" if folded else "testing/predictions.csv")


def _summary(models: Sequence[PlannedModel], output: Path, *, folded: bool, cohort: Path) -> str:
    lines = [f"{len(models)} models are trained and scored in {output}"]
    files = []
    for model in sorted(models, key=lambda model: not model.is_reference):  # the others are compared with the first
        files.append(predictions_of(model, output, folded=folded))
        if not folded:
            auc = json.loads(files[-1].with_name("metrics.json").read_text())["fused"]["auc"]
            lines.append(f"  {model.name:<28} testing AUC {auc:.3f}")
    if files:
        command = [
            "python",
            "-m",
            "scripts",
            "report",
            "--dataset_dir",
            str(cohort),
            "--output_dir",
            str(output / "report"),
        ]
        if not folded:
            command += ["--datalist", str(output / "datalist.json")]
        command += ["--predictions", *map(str, files)]
        lines += ["Next:", f"  {shlex.join(command)}"]
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
