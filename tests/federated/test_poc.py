"""NVFlare's POC mode: provisioned services with certificates, an admin, the job submitted and its result downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from federated.poc import poc
from tests.federated.hospitals import NAMES, SECRET


@pytest.mark.slow
def test_the_job_runs_in_a_provisioned_federation_and_no_log_of_a_site_reaches_the_server(
    hospitals: list[Path], tmp_path: Path
) -> None:
    said = poc(
        [str(file) for file in hospitals],
        str(tmp_path),
        rounds=2,
        local_epochs=1,
        spatial_size=(32, 32, 32),
        min_children=2,
    )
    assert said.startswith("FINISHED:COMPLETED")
    rounds = json.loads((tmp_path / "result" / "rounds.json").read_text())["rounds"]
    assert [one["accepted"] for one in rounds] == [dict.fromkeys(NAMES, 4)] * 2
    kits = tmp_path / "poc" / "workspace" / "example_project" / "prod_00"
    for name in NAMES:
        (predictions,) = (kits / name).glob("*/etscnet/testing/predictions.csv")
        assert SECRET in predictions.read_text()  # at the site, and nowhere else:
    for file in [*(tmp_path / "result").rglob("*"), *(kits / "server").rglob("*")]:
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file
