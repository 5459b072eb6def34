"""One row of Table 2 as runs of the bundle: training, then evaluating on validation and testing, each resumable.

    FOLDER/settings.json                    what the run was begun with
    FOLDER/model.pt, model.json, ...        what `monai.bundle run training` writes
    FOLDER/{validation,testing}/            what `monai.bundle run evaluating` writes: predictions.csv, metrics.json, ...
    FOLDER/log.txt                          everything that the runs said

What is finished is told by the outputs: `model.json` speaks of `model.pt` by its SHA-256 and of the number of epochs,
`metrics.json` of the weights by their version. No torch here: the bundle runs in processes of its own.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.errors import InputError
from scripts.experiments.child import last_lines, run_logged
from scripts.files import sha256, write_atomically

EVALUATED = ("validation", "testing")


@dataclass(frozen=True)
class Settings:
    """What a training's outcome depends on, by the names of train.json; every run of one command has the same."""

    spatial_size: tuple[int, int, int]
    epochs: int
    batch_size: int
    seed: int
    learning_rate: float
    learning_rate_decay: float
    brain_extraction: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "spatial_size": list(self.spatial_size)}


@dataclass(frozen=True)
class Place:
    """Where runs find things, and what changes no score but by rounding.

    Attributes:
        bundle_root: folder with configs/.
        dataset_dir: the BIDS cohort.
        cache_dir: of preprocessed images, shared by all runs: they are found by content and preprocessing.
        device: "cpu", "cuda:0", ...; empty: as the bundle chooses.
        num_workers: processes that load a batch.
    """

    bundle_root: Path
    dataset_dir: Path
    cache_dir: Path
    device: str = ""
    num_workers: int = 0


@dataclass(frozen=True)
class ModelRun:
    """One model on one split.

    Attributes:
        name: of the model, e.g. "flair-resnet18".
        modalities: its inputs.
        backbone: an overlay's name in configs/; empty: EfficientNet3D-B0, which train.json itself has.
        folder: where everything of the run goes.
        datalist: the split, for these modalities.
        checkpoint: weights that are there already, to be evaluated alone; None: they are trained.
        fold: of a cross-validation, from 1; 0: there is none.
    """

    name: str
    modalities: tuple[str, ...]
    backbone: str
    folder: Path
    datalist: Path
    checkpoint: Path | None = None
    fold: int = 0

    @property
    def weights(self) -> Path:
        """The weights that are evaluated."""
        return self.checkpoint or self.folder / "model.pt"

    @property
    def log(self) -> Path:
        """What the runs said."""
        return self.folder / "log.txt"

    def claim(self, settings: Settings, place: Place) -> None:
        """Note what the run is begun with, or find it to be what it was begun with.

        Raises:
            InputError: the folder holds a run with other settings, or files that no run left.
        """
        said = self._said(settings, place)
        file = self.folder / "settings.json"
        if not file.exists():
            if (self.folder / "model.pt").exists() or (self.folder / "checkpoint.pt").exists():
                raise _other(file, "a training of which nobody says its settings", "an empty folder")
            write_atomically(file, json.dumps(said, indent=1) + "\n")
            return
        try:
            before = json.loads(file.read_text())
        except ValueError as error:
            raise _other(file, f"it cannot be read ({error})", "the settings of a run in JSON") from error
        different = sorted(key for key in {*said, *before} if said.get(key) != before.get(key))
        if different:
            found, expected = (", ".join(f"{key} {of.get(key)!r}" for key in different) for of in (before, said))
            raise _other(file, f"this run was begun with {found}", expected)

    def trained(self, epochs: int) -> bool:
        """Whether the training has come to its end."""
        if self.checkpoint is not None:
            return True
        said = _json(self.folder / "model.json")
        return said.get("epochs") == epochs and self.weights.is_file() and said.get("sha256") == sha256(self.weights)

    def scored(self, part: str) -> bool:
        """Whether every case of the part has a score from these weights."""
        folder = self.folder / part
        said = _json(folder / "metrics.json")
        failures = folder / "failures.csv"
        return (
            said.get("split") == part
            and self.weights.is_file()
            and str(said.get("model_version", "")).endswith(f"+{sha256(self.weights)[:8]}")
            and (folder / "predictions.csv").is_file()
            and failures.is_file()
            and not _rows(failures)
        )

    def epochs_done(self) -> int:
        """Epochs that training.csv tells of."""
        return len(_rows(self.folder / "training.csv")) if self.checkpoint is None else 0

    def run(
        self, settings: Settings, place: Place, *, meanwhile: Callable[[str], object] = lambda _: None
    ) -> str | None:
        """Train and evaluate, as far as that was not done before.

        Args:
            settings, place: as of `claim`.
            meanwhile: called every second with what is being done.

        Returns:
            None, or which step failed, with the last lines of its log.
        """
        if not self.trained(settings.epochs):
            failed = self._step("training", settings, place, meanwhile=meanwhile)
            if failed is None and not self.trained(settings.epochs):
                failed = f"training ended without a model of {settings.epochs} epochs, see {self.log}"
            if failed is not None:
                return failed
        for part in EVALUATED:
            if not self.scored(part):
                failed = self._step(part, settings, place, meanwhile=meanwhile)
                if failed is not None:
                    return failed
        return None

    def _step(self, step: str, settings: Settings, place: Place, *, meanwhile: Callable[[str], object]) -> str | None:
        command = self.command(step, settings, place)
        status = run_logged(command, self.log, meanwhile=lambda: meanwhile(step))
        if status == 0:
            return None
        ended = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
        return "\n".join([f"{step}: {ended}, see {self.log}", *(f"    {line}" for line in last_lines(self.log))])

    def command(self, step: str, settings: Settings, place: Place) -> list[str]:
        """The bundle's command of one step: "training", or the name of the part that is scored."""
        training = step == "training"
        configs = ["train"] + [self.backbone] * bool(self.backbone) + ["evaluate"] * (not training)
        options: dict[str, object] = {
            "bundle_root": place.bundle_root,
            "dataset_dir": place.dataset_dir,
            "datalist": self.datalist,
            "modalities": list(self.modalities),
            "brain_extraction": settings.brain_extraction,
            "output_dir": self.folder if training else self.folder / step,
        }
        if training:
            # The size of evaluated images comes from the weights.
            options |= settings.to_dict() | {"cache_dir": place.cache_dir, "num_workers": place.num_workers}
        else:
            options |= {"checkpoint": self.weights, "part": step, "cache_dir": place.cache_dir}
        if place.device:
            options["device"] = f"$torch.device({place.device!r})"
        files = [str(place.bundle_root / "configs" / f"{name}.json") for name in configs]
        command = [sys.executable, "-m", "monai.bundle", "run", "training" if training else "evaluating"]
        command += ["--config_file", str(files)]
        return command + [text for name, value in options.items() for text in (f"--{name}", str(value))]

    def _said(self, settings: Settings, place: Place) -> dict[str, Any]:
        said: dict[str, Any] = {
            "modalities": list(self.modalities),
            "backbone": self.backbone or "efficientnet3d-b0",
            "dataset_dir": str(place.dataset_dir),
            "datalist_sha256": sha256(self.datalist),
        }
        if self.checkpoint is not None:
            brain = settings.brain_extraction
            return {**said, "checkpoint_sha256": sha256(self.checkpoint), "brain_extraction": brain}
        return {**said, **settings.to_dict()}


def _other(file: Path, found: str, expected: str) -> InputError:
    remedy = "Go on with the same settings, or give another --output_dir (or remove this run's folder)."
    return InputError(found, expected=expected, remedy=remedy, file=file)


def _json(file: Path) -> Mapping[str, Any]:
    """What a file says; nothing where it is not there or not whole: then it is made again."""
    try:
        said = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}


def _rows(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
