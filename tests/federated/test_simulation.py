"""NVFlare's simulator with real sites: an ordinary round, a site with NaN, a site that drops out and returns; what travels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from federated.aggregation import average
from federated.histograms import Spread, bound, middles
from federated.rehearsal import LATE_BY_S, parsed, spoilt
from federated.simulate import read_sites, run_simulation
from federated.site import Site
from federated.start import starting_network
from federated.weights import exchanged_names, initial_weights
from scripts.errors import CohortError, InputError
from scripts.stats.roc import auc
from tests.federated.hospitals import NAMES, SECRET, small_plan

# On a loaded machine a round of three sites takes long; the site that is late waits as long as this.
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def simulated(hospitals: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rounds: ordinary; site-b sends NaN; site-c is late; ordinary again."""
    output = tmp_path_factory.mktemp("simulated") / "run"
    witness = {
        "path": "tests.federated.hospitals.Witness",
        "args": {"folder": str(output / "witness" / "{site}")},
    }
    plan = small_plan(rounds=4, round_timeout_s=TIMEOUT_S)
    faults = ["site-b:nan@1", "site-c:late@2"]
    run_simulation(hospitals, output, plan, rehearse=faults, result_filters=[witness])
    return output


def rounds(folder: Path) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = json.loads((folder / "rounds.json").read_text())["rounds"]
    return said


def test_an_ordinary_round_averages_all_sites(simulated: Path) -> None:
    first, *_, last = rounds(simulated)
    assert first["accepted"] == dict.fromkeys(NAMES, 4) and first["changed"]
    assert last["accepted"] == dict.fromkeys(NAMES, 4) and last["voters"] == list(NAMES)


def test_a_site_with_nan_is_refused_for_its_round_and_back_in_the_next(simulated: Path) -> None:
    said = rounds(simulated)[1]
    assert list(said["accepted"]) == ["site-a", "site-c"] and "NaN" in said["refused"]["site-b"] and said["changed"]
    state = torch.load(simulated / "state.pt", weights_only=True)
    assert all(bool(torch.isfinite(value).all()) for value in state["weights"].values())


def test_a_site_that_is_too_late_is_left_out_and_comes_back(simulated: Path) -> None:
    said = rounds(simulated)
    assert said[2]["silent"] == ["site-c"] and list(said[2]["accepted"]) == ["site-a", "site-b"]
    assert TIMEOUT_S <= said[2]["seconds"] < TIMEOUT_S + 30
    assert "site-c" in said[3]["accepted"]
    assert LATE_BY_S > 0


def test_every_site_has_its_model_its_predictions_and_its_metrics(simulated: Path) -> None:
    said = json.loads((simulated / "sites.json").read_text())
    assert list(said["sites"]) == list(NAMES) and said["voters"] == list(NAMES)
    models = [(simulated / "sites" / name / "model.pt") for name in NAMES]
    weights = [torch.load(file, weights_only=True) for file in [simulated / "model.pt", *models]]
    for name, value in weights[0].items():
        if name.endswith("num_batches_tracked"):
            continue  # a counter that nothing reads
        assert all(torch.equal(value, other[name]) for other in weights[1:]), name
    for name in NAMES:
        assert len((simulated / "sites" / name / "testing" / "predictions.csv").read_text().splitlines()) == 5


def test_what_leaves_a_site_is_weights_counts_histograms_and_metrics(simulated: Path, hospitals: list[Path]) -> None:
    shapes = {f"array float32 {tuple(value.shape)}" for value in starting_network(small_plan()).state_dict().values()}
    messages = sorted((simulated / "witness").rglob("*.json"))
    assert len(messages) >= 3 * 7  # describe, four rounds, validate, fuse, evaluate; one came too late
    for file in messages:
        text = file.read_text()
        assert not any(secret in text for secret in (SECRET, str(hospitals[0].parent), "nii", "sub-")), file
        data = json.loads(text)["DXO"]
        assert data["kind"] in ("WEIGHT_DIFF", "STATISTICS")
        known = {"children", "synthetic", "configuration", "versions", "spread", "fused", "branches", "metrics"}
        if data["kind"] == "STATISTICS":
            assert set(data["data"]) <= known
            assert "array" not in json.dumps(data["data"])
        else:
            assert all(name.startswith("branches.") and value in shapes for name, value in data["data"].items())
            assert set(data["meta"]) <= {"cases", "loss", "spread", "nvflare_filters"}


def test_the_first_round_is_the_average_that_the_sites_give_without_nvflare(
    simulated: Path, hospitals: list[Path], tmp_path: Path
) -> None:
    plan = small_plan(rounds=4)
    network = starting_network(plan)
    start = initial_weights(network, exchanged_names(network))
    sites = [Site(site, plan, tmp_path / site.name) for site in read_sites(hospitals)]
    updates = {site.file.name: (4, site.train(start, 0)["update"]) for site in sites}
    weights = average(start, updates)
    said = rounds(simulated)
    losses = [float(np.mean(site._losses)) for site in sites]
    assert said[0]["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
    answers = [site.validate(weights, 1) for site in sites]
    scored = [Spread(told["number"], np.asarray(told["total"]), np.asarray(told["squares"])) for told in answers]
    edges = (scored[0] + scored[1] + scored[2]).edges(plan.bins).tolist()
    told = [site.count({"branches": edges})["branches"] for site in sites]
    counts = np.sum([one["counts"] for one in told], axis=0)
    # Scores of a network of one round lie within 1e-6: what another order of threads rounds may change bins, and no more.
    for modality, row in zip(("flair", "t2w"), counts, strict=True):
        limit = said[1]["bound"][modality] + bound(row)
        assert abs(said[1]["validation"][modality] - auc(*middles(row))) <= limit


def test_sites_at_fault_are_all_named_before_anything_starts(hospitals: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"dataset_dir": "nowhere", "datalist": "none.json"}))
    with pytest.raises(CohortError, match=r"one\.json[\s\S]*two\.json"):
        read_sites([tmp_path / "one.json", tmp_path / "two.json"])
    with pytest.raises(InputError, match="different names in one folder"):
        read_sites([hospitals[0]])


def test_a_rehearsed_fault_is_read_or_refused() -> None:
    assert parsed(["site-a:nan@1-2"], NAMES) == {"site-a": {"1": "nan", "2": "nan"}}
    for wrong in ("site-d:nan@1", "site-a:tired@1", "site-a:nan"):
        with pytest.raises(InputError, match="fault"):
            parsed([wrong], NAMES)


def test_a_spoilt_answer_leaves_the_sites_own_alone() -> None:
    answer: dict[str, Any] = {"update": {"w": np.ones(3, np.float32)}, "cases": 4}
    assert (
        np.isnan(spoilt(answer, "nan")["update"]["w"]).all() and np.isinf(spoilt(answer, "huge")["update"]["w"]).all()
    )
    assert spoilt(answer, "shape")["update"]["w"].shape == (2,) and spoilt(answer, "cases")["cases"] == 40
    assert (answer["update"]["w"] == 1).all() and answer["cases"] == 4
