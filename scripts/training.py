"""Training of all branches in one run: seeded epochs, a falling learning rate, and a state that survives a kill.

The branches share nothing and the loss is their sum, so one run equals one run a branch. All randomness of an epoch comes from
(seed, epoch), so a resumed run repeats an uninterrupted one bit by bit on the CPU.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from scripts.best_branches import BestBranches
from scripts.checkpoint import save
from scripts.dataset import StudyDataset, mix
from scripts.errors import InputError
from scripts.files import write_atomically
from scripts.network import ETSCNet
from scripts.parallel import gathered, rank

logger = logging.getLogger(__name__)


class EpochSeed:
    """Seed everything random of an epoch by (seed, epoch): augmentation by case, dropout and drop-connect by rank.

    Args:
        dataset: the training set.
        seed: of the run.
    """

    def __init__(self, dataset: StudyDataset, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def attach(self, engine: Engine) -> None:
        """Act at the start of every epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        self.dataset.set_epoch(engine.state.epoch)
        torch.manual_seed(mix(self.seed, engine.state.epoch, rank()))


class LearningRate:
    """Let the learning rate fall epoch by epoch: initial * (1 - (epoch - 1) / epochs) ** power, from the epoch's number alone.

    Args:
        optimizer: all of whose groups follow.
        initial: the rate of the first epoch.
        epochs: of the whole run.
        power: 0 keeps the rate (the paper's), 0.9 is nnU-Net's (Isensee et al. 2021, doi:10.1038/s41592-020-01008-z).
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, initial: float, epochs: int, power: float) -> None:
        self.optimizer, self.initial, self.epochs, self.power = optimizer, initial, epochs, power

    def attach(self, engine: Engine) -> None:
        """Act at the start of every epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)

    def _start(self, engine: Engine) -> None:
        rate = self.initial * (1 - (engine.state.epoch - 1) / self.epochs) ** self.power
        for group in self.optimizer.param_groups:
            group["lr"] = rate


class ResumableTraining:
    """Save the whole training after each epoch, and go on from there.

    Args:
        network, optimizer: what is trained (the network itself, not a data-parallel wrapper).
        branches: the selection, saved with it.
        output_dir: `checkpoint.pt`, `training.csv` and `training.png` are written there, by rank 0.
        settings: everything that must be the same for a resumed run to be the same run, name -> value.
    """

    def __init__(
        self,
        network: ETSCNet,
        optimizer: torch.optim.Optimizer,
        *,
        branches: BestBranches,
        output_dir: str | Path,
        settings: Mapping[str, Any],
    ) -> None:
        self.network, self.optimizer, self.branches = network, optimizer, branches
        self.output_dir, self.settings = Path(output_dir), json.loads(json.dumps(settings, default=str))
        self.history: list[dict[str, float]] = []
        self._losses: list[float] = []
        self._started = time.perf_counter()

    @property
    def path(self) -> Path:
        """The checkpoint."""
        return self.output_dir / "checkpoint.pt"

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer. Must come after the validation among its handlers."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)

    def run(self, trainer: SupervisedTrainer) -> None:
        """Train from the checkpoint on, or from the start where there is none, to the trainer's last epoch.

        Raises:
            InputError: the checkpoint is of a run with other settings.
        """
        if self.path.is_file():
            self._load(trainer)
        if trainer.state.epoch < trainer.state.max_epochs:
            trainer.run()

    def _start(self, engine: Engine) -> None:
        self.branches.epoch, self._losses, self._started = engine.state.epoch, [], time.perf_counter()

    def _collect(self, engine: Engine) -> None:
        self._losses.append(float(engine.state.output[0]["loss"]))

    def _save(self, engine: Engine) -> None:
        seconds = round(time.perf_counter() - self._started, 2)
        loss = float(gathered(torch.tensor(self._losses, device=engine.state.device)).mean())
        self.history.append(
            {"epoch": engine.state.epoch, "train_loss": loss, **self.branches.latest, "seconds": seconds}
        )
        if rank() != 0:
            return
        state = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "settings": self.settings,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": engine.scaler.state_dict() if getattr(engine, "scaler", None) else {},
            "branches": self.branches.state_dict(),
            "history": self.history,
        }
        save(state, self.path)
        columns = list(self.history[0])
        rows = [",".join(columns), *(",".join(str(row.get(column, "")) for column in columns) for row in self.history)]
        write_atomically(self.output_dir / "training.csv", "\n".join(rows) + "\n")

    def _load(self, trainer: SupervisedTrainer) -> None:
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        different = sorted(
            key for key in {*state["settings"], *self.settings} if state["settings"].get(key) != self.settings.get(key)
        )
        if different:
            raise InputError(
                "the training here was begun with other settings: "
                + ", ".join(f"{key} {state['settings'].get(key)!r}" for key in different),
                expected=", ".join(f"{key} {self.settings.get(key)!r}" for key in different),
                remedy="Go on with the same settings, or give another --output_dir.",
                file=self.path,
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.branches.load_state_dict(state["branches"])
        self.history = list(state["history"])
        trainer.state.epoch, trainer.state.iteration = state["epoch"], state["iteration"]
        scaler = getattr(trainer, "scaler", None)
        if scaler and state["scaler"]:
            scaler.load_state_dict(state["scaler"])


class SaveAndShow:
    """Saves the training after every epoch and shows it: a progress bar over all iterations, TensorBoard's curves by epoch.

    (MONAI takes no references among a trainer's handlers, so this is the one that stands there for the ResumableTraining.)

    Args:
        training: is attached; its history is what rank 0 shows.
        output_dir: the event files go to `tensorboard` in it.
    """

    def __init__(self, training: ResumableTraining, output_dir: str | Path) -> None:
        self.training, self.folder = training, Path(output_dir) / "tensorboard"

    def attach(self, engine: Engine) -> None:
        """Listen to the trainer. Must come after the validation among its handlers."""
        self.training.attach(engine)
        if rank() == 0:
            engine.add_event_handler(Events.STARTED, self._start)
            engine.add_event_handler(Events.ITERATION_COMPLETED, lambda _: self.bar.update())
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._show)
            engine.add_event_handler(Events.COMPLETED, self._close)

    def _start(self, engine: Engine) -> None:
        total = engine.state.max_epochs * engine.state.epoch_length
        self.bar = tqdm(total=total, initial=engine.state.iteration, desc="training", unit="batch", disable=None)
        self.writer = SummaryWriter(str(self.folder), purge_step=engine.state.epoch + 1)

    def _show(self, engine: Engine) -> None:
        row = self.training.history[-1]
        for name, value in row.items():
            self.writer.add_scalar(name, value, engine.state.epoch)
        said = "  ".join(f"{name} {value:.3f}" for name, value in row.items() if name.startswith(("train_loss", "auc")))
        self.bar.set_postfix_str(f"epoch {engine.state.epoch}/{engine.state.max_epochs}  {said}")
        logger.info("epoch %d/%d  %s  %.1f s", engine.state.epoch, engine.state.max_epochs, said, row["seconds"])

    def _close(self, _: Engine) -> None:
        self.bar.close()
        self.writer.close()
