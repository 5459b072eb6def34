"""The archive passes what the Model Zoo checks, in processes that know nothing of the checkout; and a bad one does not."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from export.distribution.archive import archive as zip_bytes
from export.distribution.layout import NAME, contents
from export.distribution.zoo_check import check_archive, zoo_check
from export.distribution.zoo_checks import all_checks
from export.distribution.zoo_ci import zoo_ci_checks
from scripts.errors import InputError
from tests.conftest import ROOT

CHEAP = ("directory", "version and changelog", "isort", "black", "flake8", "download", "training")


def schema(shared_dir: Path) -> Path:
    return shared_dir / "schema" / "meta_schema_20240725.json"


@pytest.fixture(scope="module")
def ten(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first ten children of the cohort, as few as the checks take."""
    folder = tmp_path_factory.mktemp("ten")
    lines = (cohort / "participants.tsv").read_text().splitlines()[:11]
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    for name in ("dataset_description.json", *(line.split("\t")[0] for line in lines[1:])):
        (folder / name).symlink_to(cohort / name)
    return folder


def test_the_archive_passes_the_cheap_checks(archive: Path, ten: Path) -> None:
    findings = check_archive(archive, schema=None, dataset_dir=ten, brain_extraction="none", only=CHEAP)
    assert [finding.check for finding in findings] == list(CHEAP)
    assert all(findings), [finding for finding in findings if not finding]


@pytest.mark.slow
def test_the_archive_passes_all_checks(archive: Path, cohort: Path, shared_dir: Path) -> None:
    said = zoo_check(archive, schema=schema(shared_dir), dataset_dir=cohort, brain_extraction="none").text
    assert said.count("| passed |") == len(all_checks(None)) == 18


def test_the_packed_bundle_gives_the_checkouts_score(
    unpacked: Path, cohort: Path, run_bundle: Callable[..., object], tmp_path: Path
) -> None:
    anat = cohort / "sub-03" / "anat"
    pair = {"flair": anat / "sub-03_FLAIR.nii.gz", "t2w": anat / "sub-03_T2w.nii.gz"}
    run_bundle("inference", "inference.json", **pair, pictures=False, output_dir=tmp_path / "checkout")
    # In a new interpreter, which finds the packed code and no other.
    options = {**pair, "pictures": False, "brain_extraction": "none", "output_dir": tmp_path / "packed"}
    command = [sys.executable, "-m", "monai.bundle", "run", "inference"]
    command += [f"--config_file={unpacked}/configs/inference.json", f"--bundle_root={unpacked}"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the folder is every test's
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = []
    for name in ("checkout", "packed"):
        with (tmp_path / name / "predictions.csv").open() as file:
            rows.append([{**row, "seconds": ""} for row in csv.DictReader(file)])
    assert len(rows[0]) == 1
    assert rows[0] == rows[1]


def test_a_bad_archive_fails_the_checks_that_it_should_and_all_are_told(tmp_path: Path, cohort: Path) -> None:
    code = ("scripts/__init__.py", "scripts/files.py")  # that of the whole is looked at in the good archive
    files = {name: data for name, data in contents(ROOT).items() if not name.startswith("scripts/") or name in code}
    del files["LICENSE"]
    said = json.loads(files["configs/metadata.json"])
    said["version"] = "0.1.1"
    files["configs/metadata.json"] = json.dumps(said).encode()
    files["scripts/files.py"] = files["scripts/files.py"].replace(
        b"import csv\nimport hashlib", b"import hashlib\nimport csv,os"
    )
    files["scripts/extra.py"] = b"def f(x = []):\n    return x\n"
    path = tmp_path / f"{NAME}_v0.1.1.zip"
    path.write_bytes(zip_bytes(files, base=NAME))
    only = ("directory", "version and changelog", "isort", "black", "flake8")
    findings = check_archive(path, schema=None, dataset_dir=cohort, brain_extraction="none", only=only)
    assert [bool(finding) for finding in findings] == [False] * 5
    details = {finding.check: finding.detail for finding in findings}
    assert "LICENSE" in details["directory"]
    assert "0.1.1 is missing" in details["version and changelog"]
    assert "scripts/files.py" in details["isort"]
    assert "scripts/extra.py" in details["black"]
    assert "B006" in details["flake8"]
    with pytest.raises(InputError, match="1 checks failed"):
        zoo_check(path, dataset_dir=cohort, only="directory")


def test_an_unknown_check_is_refused(archive: Path) -> None:
    with pytest.raises(InputError, match="no checks"):
        zoo_check(archive, only=["nonsense"])


def test_a_folder_that_is_no_zoo_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no ci"):
        zoo_ci_checks(tmp_path, None)
