"""Rounds with sites that misbehave, and a server that is stopped; the sites here answer without a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from federated.asking import Answer
from federated.plan import Plan
from federated.server import FederatedServer
from scripts.errors import CohortError, InputError
from scripts.network import ETSCNet
from tests.federated.hospitals import Sites, small_network

TARGETS = {"site-a": 1.0, "site-b": 2.0, "site-c": 3.0}  # with 10, 12 and 14 children


def server(folder: Path, **changes: Any) -> FederatedServer:
    network = small_network()
    names = [name for name in network.state_dict() if name.startswith("branches.")]
    return FederatedServer(
        Plan(rounds=3, **changes), network, exchanged=names, output_dir=folder, say=lambda text: None
    )


def rounds(folder: Path) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = json.loads((folder / "rounds.json").read_text())["rounds"]
    return said


def test_a_round_is_the_mean_of_the_sites_by_their_children(tmp_path: Path) -> None:
    made = server(tmp_path)
    before = {name: value.copy() for name, value in made.weights.items()}
    sites = Sites(TARGETS)
    made.run(sites)
    mean = (10 * 1.0 + 12 * 2.0 + 14 * 3.0) / 36
    for name, value in before.items():
        np.testing.assert_allclose(sites.given["site-a", 1][name], value + (mean - value) / 2, rtol=1e-6)
    assert [one["accepted"] for one in rounds(tmp_path)] == [{"site-a": 10, "site-b": 12, "site-c": 14}] * 3
    order = ["describe", "train", "train", "count", "train", "count", "validate", "count", "fuse", "count", "evaluate"]
    assert [task for task, _ in sites.asked] == order


def test_a_site_with_nan_is_refused_for_that_round_named_and_counted(tmp_path: Path) -> None:
    sites = Sites(TARGETS, {("site-b", 0): "nan", ("site-b", 2): "nan"})
    made = server(tmp_path)
    start = {name: value.copy() for name, value in made.weights.items()}
    made.run(sites)
    said = rounds(tmp_path)
    assert [list(one["accepted"]) for one in said] == [["site-a", "site-c"], list(TARGETS), ["site-a", "site-c"]]
    assert "NaN" in said[0]["refused"]["site-b"] and not said[1]["refused"]
    assert [one["offences"].get("site-b") for one in said] == [1, 1, 2]
    mean = (10 * 1.0 + 14 * 3.0) / 24  # of the others alone
    first = next(iter(start))
    np.testing.assert_allclose(sites.given["site-b", 1][first], start[first] + (mean - start[first]) / 2, rtol=1e-6)
    assert all(np.isfinite(value).all() for value in made.weights.values())


@pytest.mark.parametrize(("kind", "said"), [("shape", "not float32"), ("cases", "declared 14")])
def test_wrong_shapes_and_wrong_numbers_of_cases_are_refused(tmp_path: Path, kind: str, said: str) -> None:
    server(tmp_path).run(Sites(TARGETS, {("site-c", 1): kind}))
    assert said in rounds(tmp_path)[1]["refused"]["site-c"]


def test_a_site_that_drops_out_is_named_and_gets_the_current_weights_when_it_returns(tmp_path: Path) -> None:
    sites = Sites(TARGETS, {("site-c", 1): "silent"})
    made = server(tmp_path)
    made.run(sites)
    said = rounds(tmp_path)
    assert said[1]["silent"] == ["site-c"] and list(said[1]["accepted"]) == ["site-a", "site-b"]
    assert said[2]["silent"] == [] and "site-c" in said[2]["accepted"]
    for name, value in sites.given["site-c", 2].items():
        assert (value == sites.given["site-a", 2][name]).all()  # what everybody gets
        assert not (value == sites.given["site-a", 1][name]).all()  # and it moved on while the site was away


def test_a_site_that_breaks_down_is_told_in_its_own_words(tmp_path: Path) -> None:
    server(tmp_path).run(Sites(TARGETS, {("site-a", 1): "fault"}))
    assert rounds(tmp_path)[1]["failed"] == {"site-a": "it broke down"}


def test_too_few_usable_answers_change_nothing_and_three_such_rounds_end_it(tmp_path: Path) -> None:
    faults = {(site, round_): "nan" for site in ("site-a", "site-b") for round_ in range(3)}
    made = server(tmp_path)
    before = {name: value.copy() for name, value in made.weights.items()}
    with pytest.raises(InputError, match="3 rounds in a row"):
        made.run(Sites(TARGETS, faults))
    assert all((made.weights[name] == value).all() for name, value in before.items())
    assert [one["changed"] for one in rounds(tmp_path)] == [False] * 3


def test_a_stopped_server_goes_on_to_the_same_end(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    class Stopping(Sites):
        def __call__(self, task: str, **said: Any) -> dict[str, Answer]:
            if task == "train" and said["numbers"]["round"] == 2:
                raise Stop
            return super().__call__(task, **said)

    whole, parts = tmp_path / "whole", tmp_path / "parts"
    uninterrupted = server(whole)
    uninterrupted.run(Sites(TARGETS))
    with pytest.raises(Stop):
        server(parts).run(Stopping(TARGETS))
    resumed, sites = server(parts), Sites(TARGETS)
    resumed.run(sites)
    assert [round_ for task, round_ in sites.asked if task == "train"] == [2]
    assert all((resumed.weights[name] == value).all() for name, value in uninterrupted.weights.items())
    said = [json.loads((folder / "model.json").read_text())["federated_fusion"] for folder in (whole, parts)]
    assert said[0] == said[1]


def test_another_plan_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    server(tmp_path).run(Sites(TARGETS))
    with pytest.raises(InputError, match="begun here with proximal 0"):
        server(tmp_path, proximal=0.1).run(Sites(TARGETS))


def test_the_model_is_each_branchs_best_round_with_the_federated_threshold(tmp_path: Path) -> None:
    made, sites = server(tmp_path), Sites(TARGETS)
    said = made.run(sites)
    origin = json.loads((tmp_path / "model.json").read_text())
    for modality, round_ in origin["best_rounds"].items():
        name = f"branches.{modality}.layer.weight"
        weights = sites.given["site-a", round_][name] if round_ < 3 else made.weights[name]
        best = max(one["validation"].get(modality, 0) for one in rounds(tmp_path))
        assert made.best[modality].auc >= best
        assert (made.network.state_dict()[name].numpy() == weights).all()
    network: ETSCNet = made.network
    assert float(network.threshold) == pytest.approx(said["fusion"]["threshold"])
    assert origin["data"]["synthetic"] is True and origin["data"]["cases"]["training"] == 36


def test_sites_that_cannot_take_part_stop_the_training_before_it_begins(tmp_path: Path) -> None:
    class Faulty(Sites):
        def answer(self, site: str, task: str, *rest: Any) -> Answer | None:
            if task == "describe" and site != "site-a":
                return Answer("fault", reason="its training part holds no controlled child")
            return super().answer(site, task, *rest)

    with pytest.raises(CohortError, match=r"site-b: its training part[\s\S]*site-c: its training part"):
        server(tmp_path).run(Faulty(TARGETS))
    assert not (tmp_path / "state.pt").exists()


def test_sites_with_differently_configured_bundles_cannot_train_together(tmp_path: Path) -> None:
    class Other(Sites):
        def answer(self, site: str, task: str, *rest: Any) -> Answer | None:
            found = super().answer(site, task, *rest)
            if task == "describe" and site == "site-b" and found is not None:
                return Answer("answer", {**found.data, "configuration": "y"})
            return found

    with pytest.raises(InputError, match="configured differently"):
        server(tmp_path).run(Other(TARGETS))
