"""What an evaluation writes beside the predictions: metrics.json and roc.png."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events

from scripts.errors import InputError
from scripts.files import write_atomically
from scripts.pictures import roc_picture
from scripts.prediction_writer import PredictionWriter
from scripts.stats.metrics import classification_metrics


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
        if not self.predictions.complete:  # of several processes the one that has all results writes
            return
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
