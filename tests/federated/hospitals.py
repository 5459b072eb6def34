"""Small hospitals on disk for tests, sites that answer without a network, and a filter that writes down what leaves a site."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from nvflare.apis.filter import Filter
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable

from federated.aggregation import Weights
from federated.asking import Answer
from federated.histograms import Spread, fused_scores, tell
from federated.plan import Plan
from scripts.cohort import write_datalist
from scripts.network import ETSCNet
from tests.conftest import write_study

NAMES = ("site-a", "site-b", "site-c")
SECRET = "Kinderklinik"  # in every case's name: must be in no message


def make_hospitals(root: Path, *, children: int = 12) -> list[Path]:
    """Three sites of small brain-extracted studies, half of the children with a bright lesion; their files."""
    files = []
    for number, name in enumerate(NAMES):
        folder, rows = root / name, ["participant_id\toutcome"]
        for child in range(children):
            subject = f"sub-{SECRET}{name[-1]}{child:02d}"
            write_study(folder, subject, seed=100 * number + child, bright=float(child % 2))
            rows.append(f"{subject}\t{'uncontrolled' if child % 2 else 'controlled'}")
        (folder / "participants.tsv").write_text("\n".join(rows) + "\n")
        description = {"Name": f"tiny {name}", "BIDSVersion": "1.10.0", "Synthetic": True}
        (folder / "dataset_description.json").write_text(json.dumps(description))
        write_datalist(folder, folder / "datalist.json", fractions=(4, 4, 4))
        file = root / f"{name}.json"
        file.write_text(json.dumps({"dataset_dir": name, "datalist": f"{name}/datalist.json"}))
        files.append(file)
    return files


def small_plan(**changes: Any) -> Plan:
    said = {"spatial_size": (32, 32, 32), "rounds": 2, "local_epochs": 1, "batch_size": 4, "min_children": 2}
    return Plan.of({**said, **changes})


class Linear(torch.nn.Module):
    """A branch of five weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)


def small_network() -> ETSCNet:
    torch.manual_seed(0)
    return ETSCNet(["flair", "t2w"], backbone=Linear)


class Sites:
    """Sites that answer at once: a site's update moves every weight towards its own target; its scores are its own.

    Args:
        targets: site -> what its weights go to.
        faults: (site, round) -> "nan", "silent", "fault", "shape" or "cases".
    """

    def __init__(self, targets: Mapping[str, float], faults: Mapping[tuple[str, int], str] | None = None) -> None:
        self.targets, self.faults = dict(targets), dict(faults or {})
        self.asked: list[tuple[str, int | None]] = []
        self.given: dict[tuple[str, int], Weights] = {}
        self.kept: dict[str, dict[str, np.ndarray]] = {}

    def __call__(
        self,
        task: str,
        *,
        weights: Weights | None,
        numbers: Mapping[str, Any],
        timeout_s: int,
        sites: Collection[str] | None = None,
    ) -> dict[str, Answer]:
        self.asked.append((task, numbers.get("round")))
        asked = [site for site in self.targets if sites is None or site in sites]
        return {site: answer for site in asked if (answer := self.answer(site, task, weights, numbers)) is not None}

    def answer(self, site: str, task: str, weights: Weights | None, numbers: Mapping[str, Any]) -> Answer | None:
        labels, scores = self.scores(site, weights)
        if task == "describe":
            pair = [int((labels == 0).sum()), int((labels == 1).sum())]
            children = dict.fromkeys(("training", "validation", "testing"), pair)
            versions = {"torch": "2", "monai": "1"}
            return Answer(
                "answer", {"children": children, "synthetic": True, "configuration": "x", "versions": versions}
            )
        if task == "train":
            assert weights is not None
            kind = self.faults.get((site, int(numbers["round"])))
            if kind == "silent":
                return None
            if kind == "fault":
                return Answer("fault", reason="it broke down")
            self.given[site, int(numbers["round"])] = weights
            update = {name: (self.targets[site] - value) * np.float32(0.5) for name, value in weights.items()}
            first = next(iter(update))
            if kind == "nan":
                update[first] = np.full_like(update[first], np.nan)
            if kind == "shape":
                update[first] = update[first][:, 1:]
            spread = self.keep(site, branches=scores)["branches"] if numbers["round"] else None
            cases = 1000 if kind == "cases" else labels.size
            return Answer("answer", {"update": update, "cases": cases, "loss": 0.5, "spread": spread})
        if task == "validate":
            return Answer("answer", {"spread": self.keep(site, branches=scores)["branches"]})
        if task == "fuse":
            return Answer("answer", self.keep(site, branches=scores, fused=fused_scores(scores)))
        if task == "count":
            told = {k: tell(self.kept[site][k], labels, one).to_message() for k, one in numbers["edges"].items()}
            return Answer("answer", told)
        return Answer("answer", {"metrics": {}})

    def keep(self, site: str, **scores: np.ndarray) -> dict[str, Any]:
        self.kept[site] = scores
        return {name: Spread.of(one).to_message() for name, one in scores.items()}

    def scores(self, site: str, weights: Weights | None) -> tuple[np.ndarray, np.ndarray]:
        """Labels (N,) and branch scores (N, 2): the better, the nearer the weights are to 1."""
        generator = np.random.default_rng(len(site) + int(10 * self.targets[site]))
        labels = np.arange(8 + 2 * int(self.targets[site])) % 2
        distance = 1.0 if not weights else float(np.mean([np.abs(value - 1).mean() for value in weights.values()]))
        noise = generator.normal(0, 0.1 + distance, (labels.size, 2))
        return labels, 1 / (1 + np.exp(-(labels[:, None] - 0.5 + noise)))


class Witness(Filter):  # type: ignore[misc]  # nvflare has no types
    """Writes down everything that a site is about to send: names, types and shapes, and every text in full.

    Args:
        folder: one file a message, in it {site} for the site's name.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder, self.count = folder, 0

    def process(self, shareable: Shareable, fl_ctx: FLContext) -> Shareable:
        folder = Path(self.folder.format(site=fl_ctx.get_identity_name()))
        folder.mkdir(parents=True, exist_ok=True)
        self.count += 1
        seen = described(dict(shareable))
        (folder / f"{os.getpid()}-{self.count:03d}.json").write_text(json.dumps(seen))
        return shareable


def described(value: Any) -> Any:
    """A message in words: arrays by dtype and shape, lists of numbers by their shape, the rest as it is."""
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape}"
    if isinstance(value, Mapping):
        return {str(key): described(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        try:
            array = np.asarray(value)
            if array.dtype.kind in "if" and array.size > 12:
                return f"list {array.dtype} {array.shape}"
        except ValueError:
            pass
        return [described(one) for one in value]
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


def even_edges(rows: int, bins: int) -> NDArray[np.float64]:
    """Bins of one width over [0, 1]."""
    return np.tile(np.arange(bins + 1) / bins, (rows, 1))
