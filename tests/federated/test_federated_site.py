"""A hospital's side: MonaiAlgo on the bundle, what a round depends on, what stays, and what is told."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from federated.faults import Interrupted, SiteFault
from federated.histograms import Told, search, understood, understood_spread
from federated.messages import answer_message, read_answer, read_task, task_message
from federated.site import Site
from federated.site_file import read_site
from federated.weights import exchanged_names, initial_weights
from scripts.checkpoint import load_model, provenance
from scripts.datalist import read_datalist
from scripts.errors import CohortError, InputError
from scripts.network import ETSCNet
from tests.federated.hospitals import SECRET, even_edges, small_plan


def site_of(file: Path, work: Path, **changes: Any) -> Site:
    return Site(read_site(file), small_plan(**changes), work)


def start_of(site: Site) -> dict[str, Any]:
    return initial_weights(site.network, exchanged_names(site.network))


def moved(start: dict[str, Any], answer: dict[str, Any]) -> float:
    """How far the branches' weights (not their statistics) went."""
    names = [name for name in answer["update"] if name.endswith("weight")]
    return math.sqrt(sum(float(np.square(answer["update"][name]).sum()) for name in names))


@pytest.fixture(scope="module")
def trained(hospitals: list[Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A site's whole part in a training of two rounds, everything that it answers among it."""
    work = tmp_path_factory.mktemp("site")
    site = site_of(hospitals[0], work)
    answers: dict[str, Any] = {"describe": site.describe()}
    start = start_of(site)
    answers["train 0"] = site.train(start, 0)
    weights = {name: start[name] + answers["train 0"]["update"][name] for name in start}
    answers["train 1"] = site.train(weights, 1)
    best = {"flair": 1, "t2w": 1}
    answers["fuse"] = site.fuse(weights, best)
    rows = {"fused": 9, "branches": 2}
    spreads = {name: understood_spread(answers["fuse"][name], rows=n, number=4) for name, n in rows.items()}
    edges = {name: one.edges(50) for name, one in spreads.items() if not isinstance(one, str)}
    answers["count"] = site.count({name: one.tolist() for name, one in edges.items()})
    fused, branches = (understood(answers["count"][name], rows=n, bins=50, children=(2, 2)) for name, n in rows.items())
    assert isinstance(fused, Told) and isinstance(branches, Told)
    found = search(fused, branches, edges["fused"])
    answers["evaluate"] = {"metrics": site.evaluate(weights, best, found.to_dict(), edges=edges["fused"][0].tolist())}
    site.close()
    return {"answers": answers, "start": start, "weights": weights, "work": work, "found": found}


def test_a_round_depends_on_weights_number_and_data_alone(
    trained: dict[str, Any], hospitals: list[Path], tmp_path: Path
) -> None:
    returned = site_of(hospitals[0], tmp_path)  # it never saw round 0
    again = returned.train(trained["weights"], 1)
    first = trained["answers"]["train 1"]
    assert again["loss"] == first["loss"] and again["spread"] == first["spread"]
    assert all((again["update"][name] == value).all() for name, value in first["update"].items())


def test_training_moves_every_exchanged_weight_by_finite_amounts(trained: dict[str, Any]) -> None:
    update = trained["answers"]["train 0"]["update"]
    assert list(update) == list(trained["start"])
    assert all(value.dtype == np.float32 and np.isfinite(value).all() for value in update.values())
    still = [name for name, value in update.items() if not value.any()]
    assert not still
    assert trained["answers"]["train 0"]["cases"] == 4


def test_fedprox_keeps_the_weights_nearer(trained: dict[str, Any], hospitals: list[Path], tmp_path: Path) -> None:
    distance = []  # after four steps: Adam's first is as long whatever the gradient, and begins where the pull is none
    for proximal in (0.0, 1000.0):
        site = site_of(hospitals[0], tmp_path / str(proximal), proximal=proximal, local_epochs=4)
        distance.append(moved(trained["start"], site.train(trained["start"], 0)))
    assert distance[1] < 0.8 * distance[0]


def test_the_proximal_gradient_is_that_of_the_proximal_loss(hospitals: list[Path], tmp_path: Path) -> None:
    site = site_of(hospitals[0], tmp_path, proximal=0.3)
    name, value = next(iter(site.network.named_parameters()))
    anchor = torch.zeros_like(value)
    site._anchor = {name: anchor}
    value.grad = torch.ones_like(value)
    expected = torch.autograd.grad(value.sum() + 0.3 / 2 * ((value - anchor) ** 2).sum(), value)[0]
    site._pull()
    torch.testing.assert_close(value.grad, expected)


@pytest.mark.parametrize(("kind", "kept"), [("statistics", "running_mean"), ("all", "weight")])
def test_batch_norm_that_stays_is_in_no_update_and_survives_the_sites_process(
    hospitals: list[Path], tmp_path: Path, kind: str, kept: str
) -> None:
    site = site_of(hospitals[0], tmp_path, local_batch_norm=kind)
    start = start_of(site)
    answer = site.train(start, 0)
    norm = f"branches.flair._bn0.{kept}"
    assert norm in start and norm not in answer["update"] and norm not in site.exchanged()
    assert "branches.flair._conv_stem.weight" in answer["update"]
    own = site.network.state_dict()[norm].clone()
    assert not torch.equal(own, torch.from_numpy(start[norm]))
    shared = {name: start[name] + value for name, value in answer["update"].items()}
    returned = site_of(hospitals[0], tmp_path, local_batch_norm=kind)
    returned.validate(shared, 1)
    assert torch.equal(returned.network.state_dict()[norm], own)
    if kind == "all":
        returned.train(shared, 1)
    returned.fuse(shared, {"flair": 1, "t2w": 1})  # as it was in that round, not as it is now
    assert torch.equal(returned.network.state_dict()[norm], own)


def test_nothing_that_is_told_holds_an_image_a_name_or_a_path(trained: dict[str, Any], hospitals: list[Path]) -> None:
    site = read_site(hospitals[0])
    shapes = {value.shape for value in trained["start"].values()}
    for task, answer in trained["answers"].items():
        message = pickle.dumps(dict(answer_message(answer)))
        for secret in (SECRET, str(site.dataset_dir), ".nii.gz"):
            assert secret.encode() not in message, (task, secret)
        for name, value in (answer.get("update") or {}).items():
            assert name.startswith("branches.") and value.shape in shapes
        figures = leaves({name: value for name, value in answer.items() if name != "update"})
        assert len(figures) < 1500  # an image of 32 x 32 x 32 has 65,536 voxels; nine histograms hold 900 counts


def leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Every single value of a message, with the name of the innermost key over it."""
    if isinstance(value, dict):
        return [leaf for key, one in value.items() for leaf in leaves(one, key)]
    if isinstance(value, list):
        return [leaf for one in value for leaf in leaves(one, name)]
    return [(name, value)]


def test_of_the_scores_counts_and_sums_over_children_are_told_and_no_score(trained: dict[str, Any]) -> None:
    told = leaves({name: trained["answers"][name] for name in ("fuse", "count")})
    assert {name for name, _ in told} == {"number", "total", "squares", "counts", "squared_error", "log_loss"}
    assert all(isinstance(value, int) for name, value in told if name == "counts")
    assert sum(name != "counts" for name, _ in told) == 2 + 4 * (9 + 2)  # four sums a histogram, two numbers
    scored = leaves(trained["answers"]["evaluate"])
    assert not {"score", "scores", "case", "cases", "labels", "branch_scores"} & {name for name, _ in scored}


def test_messages_come_back_as_they_went(trained: dict[str, Any]) -> None:
    answer = trained["answers"]["train 1"]
    back = read_answer(answer_message(answer))
    assert back["cases"] == 4 and back["spread"] == answer["spread"]
    assert all((back["update"][name] == value).all() for name, value in answer["update"].items())
    weights, numbers = read_task(task_message(small_plan().to_dict(), weights=trained["weights"], numbers={"round": 3}))
    assert (
        numbers["round"] == 3 and numbers["plan"] == small_plan().to_dict() and len(weights) == len(trained["weights"])
    )


def test_the_sites_model_and_predictions_stay_there_and_agree(trained: dict[str, Any]) -> None:
    file = trained["work"] / "model.pt"
    network = load_model(ETSCNet(["flair", "t2w"]), file, spatial_size=(32, 32, 32), device="cpu")
    assert network.fusion_weights.tolist() == pytest.approx(trained["found"].weights)
    assert float(network.threshold) == pytest.approx(trained["found"].threshold)
    assert provenance(file)["data"]["synthetic"] is True
    metrics = trained["answers"]["evaluate"]["metrics"]["testing"]
    assert metrics["n"] == 4 and metrics["intervals"]["auc"][0] <= metrics["auc"] <= metrics["intervals"]["auc"][1]


def altered(file: Path, folder: Path, **changes: Any) -> Path:
    """A copy of a site's file whose paths still lead to its data."""
    said = json.loads(file.read_text())
    said |= {name: str(file.parent / said[name]) for name in ("dataset_dir", "datalist")}
    target = folder / file.name
    target.write_text(json.dumps({**said, "cache_dir": str(folder / "cache"), **changes}))
    return target


def test_a_site_that_agreed_to_something_else_says_so(hospitals: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SiteFault, match=r"agreed to spatial_size \[64, 64, 32\], the plan has \[32, 32, 32\]"):
        site_of(altered(hospitals[0], tmp_path, spatial_size=[64, 64, 32]), tmp_path)
    with pytest.raises(SiteFault, match="agreed to modalities"):
        site_of(altered(hospitals[0], tmp_path, modalities=["flair"]), tmp_path)


def test_a_site_without_both_outcomes_says_so(hospitals: list[Path], tmp_path: Path) -> None:
    said = json.loads(
        json.loads(hospitals[0].read_text()) and (hospitals[0].parent / "site-a" / "datalist.json").read_text()
    )
    said["validation"] = [case for case in said["validation"] if case["label"] == 1]
    (tmp_path / "datalist.json").write_text(json.dumps(said))
    site = site_of(altered(hospitals[0], tmp_path, datalist=str(tmp_path / "datalist.json")), tmp_path / "work")
    with pytest.raises(SiteFault, match="its validation part holds no uncontrolled child"):
        site.describe()


def test_cases_at_fault_are_counted_to_the_server_and_named_at_the_site_alone(
    hospitals: list[Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(hospitals[0].parent / "site-a", data)
    case = read_datalist(data / "datalist.json")["testing"][0]
    Path(case["flair"]).write_bytes(b"no image")
    file = altered(hospitals[0], tmp_path, dataset_dir=str(data), datalist=str(data / "datalist.json"))
    with pytest.raises(SiteFault, match="1 cases of its testing part are at fault") as caught:
        site_of(file, tmp_path / "work").describe()
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value.__cause__, CohortError) and SECRET in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"datalist": "none.json"}, "there is no datalist"),
        ({"dataset_dir": "none"}, "there is no folder"),
        ({"data_dir": "x"}, "data_dir"),
    ],
)
def test_a_sites_file_at_fault_is_told(
    hospitals: list[Path], tmp_path: Path, change: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_site(altered(hospitals[0], tmp_path, **change))


def test_scores_are_counted_once_and_are_gone_with_the_process(hospitals: list[Path], tmp_path: Path) -> None:
    site = site_of(hospitals[0], tmp_path)
    edges = {"branches": even_edges(2, 50).tolist()}
    with pytest.raises(SiteFault, match="no scores to count"):
        site.count(edges)
    site.validate(start_of(site), 1)
    with pytest.raises(SiteFault, match="other bins than the plan's 50"):
        site.count({"branches": even_edges(2, 5000).tolist()})
    assert np.sum(site.count(edges)["branches"]["counts"]) == 2 * 4
    with pytest.raises(SiteFault, match="no scores to count"):  # other bins would tell more
        site.count({"branches": (0.4 + 0.2 * even_edges(2, 50)).tolist()})


def test_a_round_that_the_server_gave_up_ends_after_the_batch(hospitals: list[Path], tmp_path: Path) -> None:
    plan = small_plan(local_epochs=50)
    site = Site(read_site(hospitals[0]), plan, tmp_path, interrupted=lambda: True)
    with pytest.raises(Interrupted):
        site.train(start_of(site), 0)
    assert len(site._losses) == 1


def test_a_sites_own_limits_hold_whatever_the_server_plans(hospitals: list[Path], tmp_path: Path) -> None:
    file = altered(hospitals[0], tmp_path, min_children=3, max_bins=60)
    with pytest.raises(SiteFault, match="agreed to 60 bins, the plan has 100"):
        site_of(file, tmp_path, bins=100)
    site = site_of(file, tmp_path, min_children=1)
    with pytest.raises(SiteFault, match="fewer than 3 children"):
        site.validate(start_of(site), 1)
