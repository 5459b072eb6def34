"""What a run over studies writes: predictions.csv, one JSON and one picture a case, failures.csv; metrics of an evaluation."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events
from monai.engines import IterationEvents

from scripts.checkpoint import model_version, origin_warning
from scripts.dataset import TolerantLoader
from scripts.errors import InputError
from scripts.files import sha256, write_atomically, write_csv
from scripts.likeness.case import Likeness
from scripts.network import ETSCNet
from scripts.pictures import case_picture, roc_picture
from scripts.stats.metrics import classification_metrics

RESEARCH_ONLY = "Research only, not for diagnosis."
DECISIONS = ("uncontrolled", "controlled")  # by label


class PredictionWriter:
    """Writes each study's result as soon as it is there, and the tables at the end.

    Args:
        network: with its weights loaded; gives fusion weights and threshold.
        loader: its failures go to failures.csv.
        output_dir: predictions.csv, failures.csv, <case>.json, <case>.png.
        checkpoint: the file that the weights came from.
        bundle_version: of metadata.json.
        pictures: whether to draw a page a case.
    """

    def __init__(
        self,
        network: ETSCNet,
        loader: TolerantLoader,
        *,
        output_dir: str | Path,
        checkpoint: str | Path,
        bundle_version: str,
        pictures: bool = True,
    ) -> None:
        self.network, self.loader, self.output_dir, self.pictures = network, loader, Path(output_dir), pictures
        self.checkpoint, self.bundle_version = checkpoint, bundle_version
        self.results: list[dict[str, Any]] = []
        self.warnings: list[str] = []  # of every result, whatever the case
        self._likeness: Likeness | None = None
        self._model: dict[str, Any] = {}
        self._network_started = self._network_seconds = 0.0

    def attach(self, engine: Engine) -> None:
        """Listen to the evaluator, whose outputs are lists of {"pred": (1,), "branch_scores": (M,)}."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_STARTED, self._start_network)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._stop_network)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write_cases)
        engine.add_event_handler(Events.COMPLETED, self._write_tables)

    def finish(self) -> None:
        """End the program with status 1 if studies failed, saying where the reasons are.

        Raises:
            SystemExit: studies failed. Every other study's result is written.
        """
        failures = self.loader.failures
        if failures:
            first = "\n".join(f"  {failure['reason']}" for failure in failures[:20])
            file = self.output_dir / "failures.csv"
            raise SystemExit(
                f"{len(failures)} of {len(failures) + len(self.results)} studies failed, see {file}:\n{first}"
            )

    def _start(self, engine: Engine) -> None:
        self.results = []
        self.warnings = [RESEARCH_ONLY, *filter(None, [origin_warning(self.checkpoint)])]
        self._close()
        self._likeness = Likeness(self.network, self.checkpoint, self.loader.dataset.data)
        self._model = {
            "fusion_weights": dict(
                zip(self.network.modalities, _rounded(self.network.fusion_weights.tolist()), strict=True)
            ),
            "threshold": round(float(self.network.threshold), 6),
            "model_version": model_version(self.checkpoint, self.bundle_version),
            "model_sha256": sha256(self.checkpoint),
            "device": str(engine.state.device),
        }

    def _close(self) -> None:
        if self._likeness is not None:
            self._likeness.close()

    def _start_network(self, _: Engine) -> None:
        self._network_started = time.perf_counter()

    def _stop_network(self, engine: Engine) -> None:
        _ = engine.state.output["pred"].cpu()  # waits for the GPU, whose work is queued
        self._network_seconds = time.perf_counter() - self._network_started

    def _write_cases(self, engine: Engine) -> None:
        for index, (sample, output) in enumerate(zip(engine.state.batch, engine.state.output, strict=True)):
            score, branches = float(output["pred"]), [float(value) for value in output["branch_scores"]]
            if not all(map(math.isfinite, (score, *branches))):
                self.loader.fail(sample["case"], _no_score(sample["case"]))
                continue
            image = np.asarray(sample["image"].cpu())
            try:
                result = self._result(
                    sample, score, branches, likeness=self._judge(sample["case"], score, image, index)
                )
            except InputError as error:
                self.loader.fail(sample["case"], error)
                continue
            self.results.append(result)
            write_atomically(self.output_dir / f"{result['case']}.json", json.dumps(result, indent=2) + "\n")
            if self.pictures:
                case_picture(image, result, path=self.output_dir / f"{result['case']}.png")

    def _judge(self, case: str, score: float, image: np.ndarray, index: int) -> tuple[dict[str, Any], list[str]]:
        if self._likeness is None:
            raise ValueError("the run has not started.")
        return self._likeness.judge(case, score, image, index=index)

    def _result(
        self,
        sample: Mapping[str, Any],
        score: float,
        branches: Sequence[float],
        *,
        likeness: tuple[dict[str, Any], list[str]],
    ) -> dict[str, Any]:
        judged, warnings = likeness
        seconds = {name: round(float(value), 3) for name, value in sample["seconds"].items()}
        result: dict[str, Any] = {
            "case": sample["case"],
            "score": round(score, 6),
            "branch_scores": dict(zip(self.network.modalities, _rounded(branches), strict=True)),
            "decision": DECISIONS[int(score >= float(self.network.threshold))],
        }
        if "label" in sample:
            result["label"] = int(sample["label"])
        if "extraction" in sample:
            result["brain_extraction"] = json.loads(sample["extraction"])
        doubts = [f"Brain mask: {sample['extraction_faults']}."] if sample.get("extraction_faults") else []
        seconds["network"] = round(self._network_seconds, 3)
        return {**result, **judged, **self._model, "warnings": [*self.warnings, *doubts, *warnings], "seconds": seconds}

    def _write_tables(self, _: Engine) -> None:
        self._close()
        write_csv(
            self.output_dir / "predictions.csv", [_row(result) for result in self.results], columns=self._columns()
        )
        write_csv(self.output_dir / "failures.csv", self.loader.failures, columns=["case", "reason"])
        for case, picture in self.loader.pictures.items():
            write_atomically(self.output_dir / f"{case}_refused.png", picture)

    def _columns(self) -> list[str]:
        branches = [f"score_{modality}" for modality in self.network.modalities]
        label = ["label"] * any("label" in result for result in self.results)
        like = ["calibrated_probability", "quality_p", "out_of_distribution_p", "unlike_training"]
        return ["case", *label, "score", *branches, "decision", "threshold", *like, "model_version", "seconds"]


def _row(result: Mapping[str, Any]) -> dict[str, Any]:
    branches = {f"score_{modality}": score for modality, score in result["branch_scores"].items()}
    quality, distance = result["quality"], result["out_of_distribution"]
    known = [judged["flagged"] for judged in (quality, distance) if judged["flagged"] is not None]
    like = {
        "quality_p": quality.get("p"),
        "out_of_distribution_p": distance.get("p"),
        "unlike_training": int(any(known)) if known else None,
    }
    return {**result, **branches, **like, "seconds": round(sum(result["seconds"].values()), 3)}


def _no_score(case: str) -> InputError:
    remedy = "Look at the images; if they are sound, the weights are not."
    return InputError("the network gave no finite score", expected="a number", remedy=remedy, case=case)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 6) for value in values]


class EvaluationWriter:
    """Writes metrics.json and roc.png from the predictions of labelled cases. Comes after the PredictionWriter.

    Args:
        predictions: holds the results.
        output_dir: where the files go.
        part: of the split, as metrics.json calls it.
    """

    def __init__(self, predictions: PredictionWriter, output_dir: str | Path, *, part: str = "testing") -> None:
        self.predictions, self.output_dir, self.part = predictions, Path(output_dir), part

    def attach(self, engine: Engine) -> None:
        """Act at the end of the run."""
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _write(self, engine: Engine) -> None:
        results = [result for result in self.predictions.results if "label" in result]
        if len({result["label"] for result in results}) < 2:
            raise InputError(
                f"{len(results)} labelled cases have a score, of one outcome or none",
                expected="cases of both outcomes",
                remedy="See failures.csv, and the outcomes in participants.tsv.",
            )
        labels = np.array([result["label"] for result in results])
        scores = {"fused": np.array([result["score"] for result in results])}
        for modality in self.predictions.network.modalities:
            scores[modality] = np.array([result["branch_scores"][modality] for result in results])
        threshold = results[0]["threshold"]
        metrics = {
            name: classification_metrics(labels, values, threshold=threshold).to_dict()
            for name, values in scores.items()
        }
        content = {
            "split": self.part,
            **metrics,
            "model_version": results[0]["model_version"],
            "warnings": self.predictions.warnings,
        }
        write_atomically(self.output_dir / "metrics.json", json.dumps(content, indent=2) + "\n")
        roc_picture(labels, scores, path=self.output_dir / "roc.png")
        engine.state.metrics.update(
            {name: metrics["fused"][name] for name in ("auc", "acc", "sensitivity", "specificity")}
        )
