"""Splits over sites, the cross-site table with its intervals and differences, and leaving a site out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from federated.compare import variants
from federated.cross_site import Predicted, cells, differences, predict
from federated.datalists import read_splits, root_of, write_left_out, write_pooled
from federated.leave_one_out import leave_one_out, write_external
from federated.plan import Plan
from federated.simulate import read_sites
from federated.start import starting_network
from federated.tables import write_tables
from scripts.checkpoint import save
from scripts.datalist import read_datalist
from scripts.errors import CohortError, InputError
from scripts.split import PARTS
from scripts.stats.comparison import delong_test
from scripts.stats.roc import auc_interval, delong_variance
from tests.federated.hospitals import NAMES, small_plan

MODALITIES = ("flair", "t2w")


def predicted(seed: int, effect: float, children: int = 30) -> Predicted:
    generator = np.random.default_rng(seed)
    labels = (np.arange(children) % 2).astype(np.int64)
    return Predicted(labels, effect * labels + generator.normal(0, 1, children))


@pytest.fixture
def predictions() -> dict[str, dict[str, Predicted]]:
    """Two models at two sites; the second has scores of one of them alone."""
    good = {site: predicted(number, 2.0) for number, site in enumerate(("a", "b"))}
    bad = {site: Predicted(one.labels, predicted(9 + n, 0.2).scores) for n, (site, one) in enumerate(good.items())}
    return {"good": good, "bad": bad, "half": {"a": bad["a"]}}


def test_pooling_adds_up_the_parts_and_leads_to_the_same_files(hospitals: list[Path], tmp_path: Path) -> None:
    sites = read_sites(hospitals)
    splits = read_splits(sites, MODALITIES)
    pooled = read_datalist(write_pooled(tmp_path / "pooled.json", splits, root_of(sites), MODALITIES), root_of(sites))
    for part in PARTS:
        assert len(pooled[part]) == sum(len(one[part]) for one in splits.values())
        assert {case["flair"] for case in pooled[part]} == {c["flair"] for one in splits.values() for c in one[part]}
    assert all(Path(case["t2w"]).is_file() for case in pooled["training"])


def test_the_site_that_is_left_out_is_all_of_testing_and_nothing_else(hospitals: list[Path], tmp_path: Path) -> None:
    sites = read_sites(hospitals)
    splits = read_splits(sites, MODALITIES)
    file = write_left_out(tmp_path / "out.json", splits, root_of(sites), MODALITIES, site="site-b")
    found = read_datalist(file, root_of(sites))
    assert {case["case"][:6] for case in found["testing"]} == {"site-b"} and len(found["testing"]) == 12
    assert {case["case"][:6] for part in ("training", "validation") for case in found[part]} == {"site-a", "site-c"}
    assert len(found["training"]) == 16 and len(found["validation"]) == 8


def test_a_site_with_other_modalities_or_one_outcome_is_named(hospitals: list[Path]) -> None:
    with pytest.raises(CohortError, match=r"site-a[\s\S]*its datalist is for \['flair', 't2w'\]"):
        read_splits(read_sites(hospitals), ["flair"])


def test_cells_have_delongs_interval_and_the_mean_that_of_independent_sites(
    predictions: dict[str, dict[str, Predicted]],
) -> None:
    found = {(cell.model, cell.site): cell for cell in cells(predictions)}
    one = predictions["good"]["a"]
    assert (found["good", "a"].low, found["good", "a"].high) == auc_interval(one.labels, one.scores)
    assert found["good", "a"].children == (15, 15) and ("half", "mean") not in found
    mean = found["good", "mean"]
    assert mean.auc == pytest.approx((found["good", "a"].auc + found["good", "b"].auc) / 2)
    variance = sum(delong_variance(one.labels, one.scores) for one in predictions["good"].values()) / 4
    assert mean.low == pytest.approx(mean.auc - 1.959964 * math.sqrt(variance), abs=1e-6)


def test_differences_are_paired_and_their_mean_has_the_sites_variances(
    predictions: dict[str, dict[str, Predicted]],
) -> None:
    found = {one.site: one for one in differences(predictions, [("good", "bad")])}
    labels = predictions["good"]["a"].labels
    test = delong_test(labels, predictions["good"]["a"].scores, predictions["bad"]["a"].scores)
    assert found["a"].difference == test.difference and found["a"].p == test.p
    assert found["mean"].difference == pytest.approx((found["a"].difference + found["b"].difference) / 2)
    assert found["mean"].high is not None and found["a"].high is not None
    assert found["mean"].high - found["mean"].difference < found["a"].high - found["a"].difference


def test_no_difference_has_no_interval_rather_than_one_of_width_0(predictions: dict[str, dict[str, Predicted]]) -> None:
    (*_, mean) = differences({"x": predictions["good"], "y": predictions["good"]}, [("x", "y")])
    assert mean.difference == 0 and mean.low is None and mean.p is None


def test_tables_hold_every_model_and_site_and_come_with_a_picture(
    predictions: dict[str, dict[str, Predicted]], tmp_path: Path
) -> None:
    titles = {"good": "the good one", "bad": "the bad one", "half": "half of it"}
    text = write_tables(tmp_path, cells(predictions), differences(predictions, [("good", "bad")]), titles=titles)
    assert "| model | a: 15 controlled, 15 not | b: 15 controlled, 15 not | mean over sites: 30 controlled" in text
    assert "| the good one - the bad one |" in text and "| half of it |" in text
    assert (tmp_path / "cross_site.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "cross_site.csv").read_text().splitlines()) == 1 + 3 + 3 + 1
    assert len((tmp_path / "differences.csv").read_text().splitlines()) == 1 + 3


def test_predictions_are_kept_until_the_weights_change(hospitals: list[Path], tmp_path: Path) -> None:
    sites = read_sites(hospitals)[:1]
    splits = read_splits(sites, MODALITIES)
    network = starting_network(small_plan())
    options = {"output": tmp_path / "cross", "modalities": MODALITIES, "spatial_size": (32, 32, 32)}
    file = tmp_path / "model.pt"
    save(network.state_dict(), file)
    models = {"one": {"site-a": file}}
    first = predict(models, sites, splits, **options)["one"]["site-a"]  # type: ignore[arg-type]
    table = tmp_path / "cross" / "one" / "site-a.csv"
    when = table.stat().st_mtime_ns
    predict(models, sites, splits, **options)  # type: ignore[arg-type]
    assert table.stat().st_mtime_ns == when and first.labels.tolist().count(1) == 2
    network.threshold.fill_(0.7)
    save(network.state_dict(), file)
    predict(models, sites, splits, **options)  # type: ignore[arg-type]
    assert table.stat().st_mtime_ns > when and "0.7" in table.read_text()


def test_the_external_table_has_every_site_with_intervals(tmp_path: Path) -> None:
    interval = {name: [0.5, 0.9] for name in ("auc", "sensitivity", "specificity", "balanced_accuracy")}
    metrics = {**dict.fromkeys(interval, 0.75), "n": 20, "positives": 8, "intervals": interval}
    text = write_external(tmp_path, {"site-a": metrics, "site-b": metrics})
    assert "| site-b | 8 controlled, 12 not | 0.750 (0.500 to 0.900) |" in text
    assert len((tmp_path / "external.csv").read_text().splitlines()) == 1 + 2 * 4
    assert set(json.loads((tmp_path / "external.json").read_text())) == {"site-a", "site-b"}


@pytest.mark.slow
def test_leave_one_out_trains_without_each_site_and_goes_on_where_it_was_stopped(
    hospitals: list[Path], tmp_path: Path
) -> None:
    sites = [str(file) for file in hospitals]
    options = {"epochs": 1, "spatial_size": (32, 32, 32), "batch_size": 4}
    text = leave_one_out(sites, str(tmp_path), **options).text  # type: ignore[arg-type]
    assert all(f"| {name} | 6 controlled, 6 not |" in text for name in NAMES)
    (tmp_path / "without-site-b" / "testing" / "metrics.json").unlink()
    kept = (tmp_path / "without-site-a" / "model.pt").stat().st_mtime_ns
    assert leave_one_out(sites, str(tmp_path), **options).text == text  # type: ignore[arg-type]
    assert (tmp_path / "without-site-a" / "model.pt").stat().st_mtime_ns == kept


def test_equal_scores_at_every_site_have_a_wide_interval_of_the_mean() -> None:
    labels = (np.arange(20) % 2).astype(np.int64)
    same = {site: Predicted(labels, np.full(20, 0.5)) for site in ("a", "b")}
    (*_, mean) = cells({"same": same})
    assert mean.auc == 0.5 and mean.high - mean.low > 0.3


def test_the_federated_trainings_are_those_that_are_asked_for() -> None:
    plan = Plan()
    assert list(variants(plan, 0.1)) == ["fedavg", "fedprox", "fedbn"]
    chosen = variants(plan, 0.1, ["fedprox", "fedavg"])
    assert chosen == {"fedavg": plan, "fedprox": replace(plan, proximal=0.1)}
    with pytest.raises(InputError, match="methods fedsgd; expected some of fedavg, fedprox, fedbn"):
        variants(plan, 0.1, ["fedsgd"])
