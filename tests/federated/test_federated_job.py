"""The NVFlare job, what a site permits, and who may import whom."""

from __future__ import annotations

import inspect
import json
import re
from importlib import import_module
from pathlib import Path

import pytest

from federated.executor import SITE_FILE, SiteExecutor
from federated.job import CONTROLLER, EXECUTOR, PERMISSIONS, write_job
from federated.messages import TASKS
from federated.plan import Plan
from federated.poc import permit
from federated.site_file import read_site
from scripts.errors import InputError
from tests.federated.hospitals import small_plan


def test_the_job_is_numbers_and_two_classes(tmp_path: Path) -> None:
    job = write_job(tmp_path / "job", small_plan(proximal=0.1), server={"output_dir": ""})
    assert sorted(str(file.relative_to(job)) for file in job.rglob("*") if file.is_file()) == [
        "app/config/config_fed_client.json",
        "app/config/config_fed_server.json",
        "meta.json",
    ]
    server = json.loads((job / "app/config/config_fed_server.json").read_text())
    assert Plan.of(server["workflows"][0]["args"]["plan"]) == small_plan(proximal=0.1)
    text = "".join(file.read_text() for file in job.rglob("*.json"))
    assert (
        set(re.findall(r'"path": "([\w.]+)"', text)) == {CONTROLLER, EXECUTOR} == set(PERMISSIONS["class_allow_list"])
    )
    for path in PERMISSIONS["class_allow_list"]:
        module, name = path.rsplit(".", 1)
        assert inspect.isclass(getattr(import_module(module), name))


def test_a_real_sites_class_takes_no_argument_from_a_job() -> None:
    assert list(inspect.signature(SiteExecutor).parameters) == []


def test_a_filter_of_nvflare_goes_into_the_sites_side(tmp_path: Path) -> None:
    percentile = {"path": "nvflare.app_common.filters.percentile_privacy.PercentilePrivacy", "args": {"percentile": 10}}
    job = write_job(tmp_path / "job", small_plan(), result_filters=[percentile])
    said = json.loads((job / "app/config/config_fed_client.json").read_text())
    assert said["task_result_filters"] == [{"tasks": list(TASKS), "filters": [percentile]}]


def test_a_startup_kit_allows_the_two_classes_forbids_the_log_and_holds_the_site(
    hospitals: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "local").mkdir()
    default = {"format_version": 2, "class_allow_list": ["everything"], "allow_log_streaming": True}
    (tmp_path / "local" / "resources.json.default").write_text(json.dumps(default))
    permit(tmp_path, hospitals[1])
    said = json.loads((tmp_path / "local" / "resources.json").read_text())
    assert said["class_allow_list"] == [CONTROLLER, EXECUTOR] and said["allow_log_streaming"] is False
    assert said["format_version"] == 2
    site, original = read_site(tmp_path / "local" / SITE_FILE), read_site(hospitals[1])
    assert site.datalist.samefile(original.datalist) and site.cache_dir == original.cache_dir


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rounds": 0}, "rounds is 0"),
        ({"proximal": -1}, "proximal is -1"),
        ({"proximal": float("nan")}, "proximal is nan"),
        ({"local_batch_norm": "some"}, "one of none, statistics, all"),
        ({"spatial_size": (33, 32, 32)}, "multiples of 32"),
        ({"bins": 1}, "bins is 1"),
        ({"epochs": 3}, "settings epochs"),
        ({"modalities": ("flair", "flair")}, "flair"),
    ],
)
def test_a_plan_out_of_range_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Plan.of({**Plan().to_dict(), **change})
