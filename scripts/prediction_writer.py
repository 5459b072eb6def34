"""What a run over studies writes: one JSON and one picture a case as soon as it is scored, the tables at the end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import IterationEvents

from scripts.case_result import fusion, scored
from scripts.checkpoint import model_version, origin_warning
from scripts.dataset import TolerantLoader
from scripts.errors import InputError
from scripts.files import sha256, write_atomically
from scripts.fingerprint import run_fingerprint
from scripts.likeness.case import Likeness
from scripts.network import ETSCNet
from scripts.outcome import RESEARCH_ONLY
from scripts.parallel import in_group, rank, wait_for_all
from scripts.pictures import case_picture
from scripts.prediction_table import FAILURES, write_tables
from scripts.result_folder import ResultFolder
from scripts.shards import FOLDER, Shard, forget, forget_all, read_all, write_shard

logger = logging.getLogger(__name__)


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
        self.complete = False  # whether this process has written the tables of all studies
        self._likeness: Likeness | None = None
        self._folder: ResultFolder | None = None
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
        failures, (number, count) = self.loader.failures, (self.loader.rank, self.loader.world_size)
        if not self.complete and not in_group():
            print(f"{number} of {count} is done; when all are: python -m scripts merge --output_dir {self.output_dir}")
        if failures and (self.complete or not in_group()):
            first = "\n".join(f"  {failure['reason']}" for failure in failures[:20])
            file = self.output_dir / (FAILURES if self.complete else FOLDER)
            raise SystemExit(
                f"{len(failures)} of {len(failures) + len(self.results)} studies failed, see {file}:\n{first}"
            )

    def _start(self, engine: Engine) -> None:
        self.complete = False
        self.warnings = [RESEARCH_ONLY, *filter(None, [origin_warning(self.checkpoint)])]
        self._close()
        self._likeness = Likeness(self.network, self.checkpoint, self.loader.dataset.data)
        self._model = {
            **fusion(self.network),
            "model_version": model_version(self.checkpoint, self.bundle_version),
            "model_sha256": sha256(self.checkpoint),
            "device": str(engine.state.device),
        }
        self._look_for_earlier(engine.state.device)

    def _look_for_earlier(self, device: torch.device | str) -> None:
        """Take up the results that an earlier run left, where this run would write the same."""
        sidecar = Path(self.checkpoint).with_suffix(".json")
        run = run_fingerprint(
            {
                **{name: value for name, value in self._model.items() if name != "device"},
                "model_json": sha256(sidecar) if sidecar.is_file() else None,
                "network": [type(self.network).__name__, getattr(self.network, "file_sha256", None)],
                "device": torch.device(device).type,
                "preprocessing": self.loader.dataset.transform_hash.decode(),
            }
        )
        if self.loader.world_size > 1:
            forget(self.output_dir, self.loader.rank, self.loader.world_size)
        self._folder = ResultFolder(self.output_dir, run, pictures=self.pictures)
        kept = self._folder.find(self.loader.cases)
        if not self.loader.resume:
            kept = {}
        self.results, self.loader.done = list(kept.values()), set(kept)
        if kept:
            said = "%d of %d studies are scored already by the same weights and settings, from the same files: kept"
            logger.info(said, len(kept), len(self.loader.cases))
        if older := self._folder.older():
            logger.info("%d studies have a result of other weights, settings or files: scored again", older)

    def _earlier(self) -> ResultFolder:
        if self._folder is None:
            raise ValueError("the run has not started.")
        return self._folder

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
            image = np.asarray(sample["image"].cpu())
            try:
                said = scored(sample["case"], score, branches, network=self.network)
                result = self._result(sample, said, *self._judge(sample["case"], score, image, index))
            except InputError as error:
                self.loader.fail(sample["case"], error)
                continue
            if self.pictures:
                case_picture(image, result, path=self.output_dir / f"{result['case']}.png")
            self._earlier().write(result)  # last: with it the study is done
            self.results.append(result)

    def _judge(self, case: str, score: float, image: np.ndarray, index: int) -> tuple[dict[str, Any], list[str]]:
        if self._likeness is None:
            raise ValueError("the run has not started.")
        return self._likeness.judge(case, score, image, index=index)

    def _result(
        self, sample: Mapping[str, Any], said: dict[str, Any], judged: dict[str, Any], warnings: list[str]
    ) -> dict[str, Any]:
        result = dict(said)
        if "label" in sample:
            result["label"] = int(sample["label"])
        if "extraction" in sample:
            result["brain_extraction"] = json.loads(sample["extraction"])
        doubts = [f"Brain mask: {sample['extraction_faults']}."] if sample.get("extraction_faults") else []
        seconds = {name: round(float(value), 3) for name, value in sample["seconds"].items()}
        seconds["network"] = round(self._network_seconds, 3)
        result |= {**judged, **self._model, "warnings": [*self.warnings, *doubts, *warnings], "seconds": seconds}
        return {**result, "fingerprint": self._earlier().fingerprints[sample["case"]]}

    def _write_tables(self, _: Engine) -> None:
        self._close()
        failures = {failure["case"]: failure for failure in self.loader.failures}
        for case in failures:
            self._earlier().drop(case)
        for case, picture in self.loader.pictures.items():
            write_atomically(self.output_dir / f"{case}_refused.png", picture)
        results = {str(result["case"]): result for result in self.results}
        names = [str(case["case"]) for case in self.loader.cases]
        self.results = [results[name] for name in names if name in results]
        if self.loader.world_size > 1:
            prints = self._earlier().fingerprints
            done = [failures.get(name) or {"case": name, "fingerprint": prints[name]} for name in names]
            self._write_shard(done)
        self.complete = self.loader.world_size == 1 or (in_group() and rank() == 0)
        if self.complete:
            write_tables(self.output_dir, self.results, self.loader.failures, modalities=self.network.modalities)
            forget_all(self.output_dir)

    def _write_shard(self, done: list[dict[str, str]]) -> None:
        """Say what this process has done; the first of a group waits for the others, and takes over what they have done."""
        which = (self.loader.rank, self.loader.world_size)
        studies, modalities = len(self.loader.dataset.data), list(self.network.modalities)
        write_shard(self.output_dir, Shard(self._earlier().run, *which, studies, modalities, done))
        wait_for_all()
        if in_group() and rank() == 0:
            merged = read_all(self.output_dir)
            self.results, self.loader.failures = merged.results, merged.failures
