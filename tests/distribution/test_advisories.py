"""Which versions an advisory of OSV's schema speaks of, and that nothing is called safe that was not looked at."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from export.distribution.advisories import audit, audit_dependencies, installed, is_affected
from scripts.errors import InputError
from tests.conftest import ROOT


def ranges(*events: dict[str, str]) -> list[dict[str, Any]]:
    return [{"type": "ECOSYSTEM", "events": list(events)}]


FIXED = ranges({"introduced": "0"}, {"fixed": "2.0"}, {"introduced": "3.0"}, {"fixed": "3.1"})
OPEN = ranges({"introduced": "1.5"})
LAST = ranges({"introduced": "1.0"}, {"last_affected": "2.0"})


@pytest.mark.parametrize(
    ("version", "given", "affected"),
    [
        ("1.9", FIXED, True),
        ("0.0.dev0", FIXED, True),
        ("2.0", FIXED, False),
        ("2.0rc1", FIXED, True),
        ("2.5", FIXED, False),
        ("3.0", FIXED, True),
        ("3.0.post1", FIXED, True),
        ("3.1", FIXED, False),
        ("10.0", FIXED, False),
        ("1.4", OPEN, False),
        ("1.10", OPEN, True),
        ("2.0", LAST, True),
        ("2.0.1", LAST, False),
        ("0.9", LAST, False),
        ("1.9+cpu", FIXED, True),
        ("2.0+cpu", FIXED, False),
        ("2.0+cpu", LAST, True),
    ],
)
def test_a_version_is_affected_by_the_schemas_rule(version: str, given: list[dict[str, Any]], affected: bool) -> None:
    assert is_affected(version, versions=[], ranges=given) is affected
    shuffled = [{**one, "events": one["events"][::-1]} for one in given]
    assert is_affected(version, versions=[], ranges=shuffled) is affected


def test_listed_versions_count_however_they_are_written() -> None:
    assert is_affected("1.0", versions=["not a version", "1.0.0"], ranges=[])
    assert not is_affected("1.0.1", versions=["1.0.0"], ranges=[])


def advisory(name: str = "Pillow", **said: Any) -> dict[str, Any]:
    package = {"package": {"ecosystem": said.pop("ecosystem", "PyPI"), "name": name}, "ranges": FIXED}
    return {
        "id": "PYSEC-1",
        "modified": "2026-01-02T00:00:00Z",
        "aliases": ["CVE-1"],
        "summary": "It breaks.",
        "affected": [package],
        **said,
    }


def write(folder: Path, *advisories: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for number, said in enumerate(advisories):
        (folder / f"{number}.json").write_text(json.dumps(said))
    return folder


def test_an_affected_package_is_found_by_its_normal_name(tmp_path: Path) -> None:
    result = audit({"pillow": "1.9"}, write(tmp_path / "osv", advisory(), advisory("other")))
    assert not result
    assert [(one.package, one.advisory, one.fixed_in) for one in result.found] == [
        ("pillow", "PYSEC-1", ("2.0", "3.1"))
    ]
    assert "| pillow | 1.9 | PYSEC-1 CVE-1 | 2.0, 3.1 | It breaks. |" in result.summary()


def test_a_repaired_version_another_ecosystem_and_a_withdrawn_advisory_are_not(tmp_path: Path) -> None:
    given = [advisory(ecosystem="npm"), advisory(withdrawn="2026-01-03T00:00:00Z"), advisory("other")]
    result = audit({"pillow": "1.9"}, write(tmp_path / "osv", *given))
    assert result
    assert (result.advisories, result.newest) == (2, "2026-01-02T00:00:00Z")
    assert "none is known of 1 packages by 2 advisories" in result.summary()
    assert audit({"pillow": "2.5"}, write(tmp_path / "other", advisory()))


def test_a_git_range_says_nothing_of_a_version(tmp_path: Path) -> None:
    said = advisory()
    said["affected"][0]["ranges"] = [{"type": "GIT", "repo": "x", "events": [{"introduced": "0"}]}]
    assert audit({"pillow": "1.9"}, write(tmp_path / "osv", said))


def test_without_advisories_nothing_is_called_safe() -> None:
    result = audit({"pillow": "1.9"}, None)
    assert not result
    assert not result.checked
    assert "not checked" in result.summary()
    assert "none" not in result.summary()


def test_an_empty_folder_or_a_file_that_is_no_advisory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no advisory"):
        audit({}, write(tmp_path / "empty"))
    with pytest.raises(InputError, match="no folder and no zip"):
        audit({}, tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"0\.json: KeyError"):
        audit({}, write(tmp_path / "other", {"id": "no time"}))
    broken = advisory()
    broken["affected"][0]["ranges"] = ranges({"introduced": "one"})
    with pytest.raises(InputError, match="InvalidVersion"):
        audit({"pillow": "1.9"}, write(tmp_path / "broken", broken))


def test_the_verb_looks_up_what_is_installed_and_fails_on_a_finding(tmp_path: Path) -> None:
    packages = installed(ROOT)
    assert {"torch", "monai", "onnxruntime", "starlette"} <= packages.keys()
    bad = advisory("starlette")
    bad["affected"][0].update(ranges=[], versions=[packages["starlette"]])
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("PYSEC-1.json", json.dumps(bad))
    with pytest.raises(InputError, match=r"1 vulnerabilities of \d+ packages by 1 advisories"):
        audit_dependencies(str(archive), output=tmp_path / "found.json", checkout=ROOT)
    assert json.loads((tmp_path / "found.json").read_text())["found"][0]["package"] == "starlette"
    assert "none is known" in audit_dependencies(str(write(tmp_path / "osv", advisory("other"))), checkout=ROOT).text
