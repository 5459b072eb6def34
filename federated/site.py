"""A hospital's side of a federated training: MONAI's MonaiAlgo around the bundle, on the hospital's own data. No NVFlare here.

What its methods return is all that leaves the site: updates of weights, numbers of children by outcome, score histograms,
metrics. A round depends on the global weights, its number and the site's data alone (and on what of batch norm stays here):
the optimizer begins anew in each, so that a site that was away goes on as if it had never left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import monai
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigParser
from monai.engines import SupervisedTrainer
from monai.fl.utils.exchange_object import ExchangeObject
from numpy.typing import NDArray

from federated.faults import Interrupted, SiteFault
from federated.histograms import Spread, fused_scores, tell
from federated.local_norm import LocalNorm
from federated.plan import Plan
from federated.scoring import Scored, fused, score, write_predictions
from federated.site_bundle import OVERLAY, check_agreement, start_bundle
from federated.site_file import SiteFile, fingerprint
from federated.start import exchanged_for
from scripts.checkpoint import save
from scripts.dataset import StudyDataset
from scripts.errors import CohortError
from scripts.files import sha256
from scripts.network import ETSCNet
from scripts.outcome import OUTCOMES
from scripts.release import describe_data, write_origin
from scripts.split import PARTS, count
from scripts.stats.metrics import classification_metrics


class Site:
    """One hospital in one federated training.

    Args:
        file: where its data are.
        plan: what the server wants.
        work_dir: the site's own models, predictions and batch-norm states go there.
        interrupted: asked after every batch; true ends the round.
    """

    def __init__(
        self, file: SiteFile, plan: Plan, work_dir: Path, *, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self.file, self.plan, self.work_dir, self._interrupted = file, plan, work_dir, interrupted
        self._fewest = max(plan.min_children, file.min_children)
        check_agreement(file, plan)
        self._algo = start_bundle(file, plan, work_dir)
        self._parser: ConfigParser = self._algo.train_workflow.parser  # type: ignore[union-attr]  # initialized
        self._trainer = cast(SupervisedTrainer, self._algo.trainer)
        self.network = cast(ETSCNet, self._trainer.network)
        self._split = self._parser.get_parsed_content("split")
        self._local = LocalNorm(self.network, plan.local_batch_norm, work_dir / "batch_norm")
        self._anchor: dict[str, torch.Tensor] = {}
        self._losses: list[float] = []
        self._kept: tuple[dict[str, NDArray[np.float64]], NDArray[np.int64]] | None = None
        self._trainer.add_event_handler(Events.ITERATION_COMPLETED, self._after_batch)
        self._trainer.optimizer.register_step_pre_hook(lambda *_: self._pull())
        self._datasets: dict[str, StudyDataset] = {}

    def describe(self) -> dict[str, Any]:
        """What the server needs to know before the first round; every image is preprocessed here, once.

        Raises:
            SiteFault: the site cannot take part.
        """
        if self._split["modalities"] != list(self.plan.modalities):
            raise SiteFault(
                f"its datalist is for {self._split['modalities']}, the plan for {list(self.plan.modalities)}"
            )
        children = {part: count(self._split[part]) for part in PARTS}
        for part in PARTS:
            few = [name for label, name in enumerate(OUTCOMES) if not children[part][label]]
            if few:
                raise SiteFault(f"its {part} part holds no {' and no '.join(few)} child")
        training = sum(children["training"].values())
        if training % self.plan.batch_size == 1 and max(self.plan.spatial_size) <= 32:
            raise SiteFault(
                f"its {training} training cases leave a batch of one, which batch norm cannot take at this size"
            )
        for part in PARTS:
            try:
                self._dataset(part).prepare()
            except CohortError as error:
                raise SiteFault(
                    f"{len(error.errors)} cases of its {part} part are at fault; its own log names them"
                ) from error
        return {
            "children": {part: [children[part][0], children[part][1]] for part in PARTS},
            "synthetic": describe_data(self.file.dataset_dir)["synthetic"],
            "configuration": fingerprint(self.file.bundle_root, OVERLAY),
            "versions": {"torch": torch.__version__.split("+")[0], "monai": monai.__version__},
        }

    def train(self, weights: Mapping[str, NDArray[Any]], round_: int) -> dict[str, Any]:
        """One round: where the validation scores of the global weights (each in its layer's shape) lie, then local epochs.

        Returns:
            "update" (name -> float32 array), "cases", "loss" (mean over the batches), "spread" (of `validate`; None in round 0,
            whose weights nobody has trained).

        Raises:
            Interrupted: the server no longer waits.
            SiteFault: the training broke down.
        """
        told = self.validate(weights, round_) if round_ else None
        trainer = self._trainer
        trainer.optimizer.state.clear()
        trainer.state.epoch = round_ * self.plan.local_epochs
        trainer.state.iteration = trainer.state.epoch * trainer.state.epoch_length
        self._take(weights)
        names = list(weights) if not round_ else self.exchanged()
        values = dict(self.network.named_parameters())
        self._anchor = {name: values[name].detach().clone() for name in names if name in values}
        self._losses = []
        given = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        self._algo.train(ExchangeObject(weights=given), extra={})
        if self._interrupted():
            raise Interrupted
        try:
            update = self._algo.get_weights().weights  # type: ignore[no-untyped-call]
        except ValueError as error:  # MonaiAlgo looks for NaN itself
            raise SiteFault("its training gave weights that are NaN") from error
        self._local.keep()
        return {
            "update": {name: update[name].numpy().astype(np.float32) for name in self.exchanged()},
            "cases": len(self._split["training"]),
            "loss": float(np.mean(self._losses)),
            "spread": told,
        }

    def validate(self, weights: Mapping[str, NDArray[Any]], round_: int) -> dict[str, Any]:
        """Score validation by the global weights of a round, each in its layer's shape, and tell where the branches' scores lie;
        `count` tells more."""
        self._take(weights)
        self._local.remember(round_)
        scored = self._score("validation")
        self._enough("validation", scored)
        self._kept = {"branches": scored.scores}, scored.labels
        return Spread.of(scored.scores).to_message()

    def fuse(self, weights: Mapping[str, NDArray[Any]], best_rounds: Mapping[str, int]) -> dict[str, Any]:
        """The same for the branches of the best rounds, and for the fused score by every weight vector.

        Shapes are those of `validate`.
        """
        self._take(weights, best_rounds)
        scored = self._score("validation")
        self._enough("validation", scored)
        self._kept = {"branches": scored.scores, "fused": fused_scores(scored.scores)}, scored.labels
        return {name: Spread.of(scores).to_message() for name, scores in self._kept[0].items()}

    def count(self, edges: Mapping[str, Any]) -> dict[str, Any]:
        """Histograms of the scores of the last `validate` or `fuse`, over the bins that the server laid.

        Once: counted again over other bins, they would tell the scores themselves.

        Raises:
            SiteFault: there are no scores to count, or the bins are not the plan's.
        """
        if self._kept is None or not set(edges) <= set(self._kept[0]):
            raise SiteFault("it has no scores to count: it was started again, or has counted them")
        scores, labels = self._kept
        sides = {name: np.asarray(one, np.float64) for name, one in edges.items()}
        if any(one.shape != (scores[name].shape[1], self.plan.bins + 1) for name, one in sides.items()):
            raise SiteFault(f"it was asked for other bins than the plan's {self.plan.bins}")
        self._kept = None
        return {name: tell(scores[name], labels, one).to_message() for name, one in sides.items()}

    def evaluate(
        self,
        weights: Mapping[str, NDArray[Any]],
        best_rounds: Mapping[str, int],
        found: Mapping[str, Any],
        *,
        edges: Sequence[float],
    ) -> dict[str, Any]:
        """Keep the finished model here, score validation and testing, and tell the metrics.

        The weights are in their layers' shapes, `found` is of `FederatedFusion.to_dict`, `edges` are of the histogram's bins.
        """
        network = self._take(weights, best_rounds)
        network.fusion_weights.copy_(torch.tensor(found["weights"]))
        network.threshold.copy_(torch.tensor(found["threshold"]))
        network.spatial_size.copy_(torch.tensor(self.plan.spatial_size))
        file = self.work_dir / "model.pt"
        save({name: value.cpu() for name, value in network.state_dict().items()}, file)
        origin = {
            "modalities": list(network.modalities),
            "spatial_size": list(self.plan.spatial_size),
            "data": describe_data(self.file.dataset_dir),
            "settings": {"brain_extraction": self.file.brain_extraction, **self.plan.to_dict()},
            "best_rounds": dict(best_rounds),
            "federated_fusion": dict(found),
        }
        write_origin(file, origin)
        metrics: dict[str, Any] = {}
        for part in ("validation", "testing"):
            scored = self._score(part)
            version = f"federated+{sha256(file)[:8]}"
            table = self.work_dir / part / "predictions.csv"
            write_predictions(table, scored, network, modalities=network.modalities, model_version=version)
            if min(scored.children) >= self._fewest:
                values = fused(scored, network)
                told = tell(values[:, None], scored.labels, [edges])
                metrics[part] = {
                    **classification_metrics(scored.labels, values, threshold=float(network.threshold)).to_dict(),
                    "histogram": told.to_message(),
                }
        return metrics

    def exchanged(self) -> list[str]:
        """The names of the weights that are averaged."""
        return exchanged_for(self.network, self.plan)

    def close(self) -> None:
        """End MONAI's workflow."""
        self._algo.finalize()

    def _dataset(self, part: str) -> StudyDataset:
        if part not in self._datasets:
            transform = self._parser.get_parsed_content("preprocessing")
            self._datasets[part] = StudyDataset(self._split[part], transform, cache_dir=self.file.cache_dir)
        return self._datasets[part]

    def _score(self, part: str) -> Scored:
        return score(self.network, self._dataset(part))

    def _enough(self, part: str, scored: Scored) -> None:
        if min(scored.children) < self._fewest:
            raise SiteFault(f"its {part} part holds fewer than {self._fewest} children of an outcome")

    def _take(self, weights: Mapping[str, NDArray[Any]], best_rounds: Mapping[str, int] | None = None) -> ETSCNet:
        """The global weights, and of batch norm what stays here: as it is now, or as it was in each branch's best round."""
        state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        self.network.load_state_dict({**self._local.state(best_rounds), **state}, strict=False)
        return self.network

    def _pull(self) -> None:
        """FedProx: the gradient of mu / 2 |w - w_global|² is added to the loss's, before every step."""
        if not self.plan.proximal:
            return
        for name, value in self.network.named_parameters():
            if value.grad is not None and name in self._anchor:
                value.grad.add_(value.detach() - self._anchor[name], alpha=self.plan.proximal)

    def _after_batch(self, engine: Engine) -> None:
        self._losses.append(float(engine.state.output[0]["loss"]))
        if self._interrupted():
            engine.terminate()
