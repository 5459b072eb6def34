"""What the parts stand on, their licences, and the bill of materials that says both."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from email.message import Message
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from export.distribution.dependencies import closure, installed_distributions, requirements
from export.distribution.licences import licence_of, licences, write_licences
from export.distribution.metadata import normal
from export.distribution.sbom import bill, check_bill
from scripts.errors import InputError
from scripts.files import sha256
from tests.conftest import ROOT
from tests.distribution.conftest import pinned_versions

MADE = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


class Stand(Distribution):
    """A distribution that is not on the disk."""

    def __init__(self, name: str, version: str = "1.0", *, requires: tuple[str, ...] = (), **said: str) -> None:
        self.message = Message()
        fields = {"Name": name, "Version": version, **{key.replace("_", "-"): value for key, value in said.items()}}
        for key, value in fields.items():
            self.message[key] = value
        for requirement in requires:
            self.message["Requires-Dist"] = requirement

    @property
    def metadata(self) -> Message:  # type: ignore[override]
        return self.message

    @property
    def requires(self) -> list[str]:
        return self.message.get_all("Requires-Dist") or []

    def read_text(self, filename: str) -> str | None:
        return None

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


def test_requirements_are_followed_with_their_extras_and_markers() -> None:
    known = {
        "a": Stand("a", requires=("b[fast]>=1", "never; python_version < '3'")),
        "b": Stand("b", requires=("c", "d; extra == 'fast'", "e; extra == 'slow'")),
        "c": Stand("c", requires=("A",)),
        "d": Stand("d", "2.0"),
        "e": Stand("e"),
    }
    found = {one.name: one for one in closure(["a"], installed=known)}
    assert list(found) == ["a", "b", "c", "d"]
    assert found["a"].needs == ("b",)
    assert found["b"].needs == ("c", "d")
    assert found["c"].needs == ("a",)
    assert [one.name for one in found.values() if one.direct] == ["a"]


def test_an_extra_that_is_asked_for_later_is_followed_too() -> None:
    known = {
        "a": Stand("a", requires=("b", "c")),
        "b": Stand("b", requires=("d; extra == 'x'",)),
        "c": Stand("c", requires=("b[x]",)),
        "d": Stand("d"),
    }
    assert [one.name for one in closure(["a"], installed=known)] == ["a", "b", "c", "d"]


def test_a_missing_or_wrong_version_is_an_error_that_names_who_needs_it() -> None:
    with pytest.raises(InputError, match="b is not installed; expected b, which a needs"):
        closure(["a"], installed={"a": Stand("a", requires=("b",))})
    with pytest.raises(InputError, match=r"a is installed as 1\.0; expected a>=2, which the project needs"):
        closure(["a>=2"], installed={"a": Stand("a")})


def test_every_dependency_of_this_environment_has_the_tested_version() -> None:
    pins = {normal(name): version for name, version in pinned_versions(ROOT).items()}
    parts = {part: closure(required) for part, required in requirements(ROOT).items()}
    for part, direct in (("bundle", "torch"), ("edge", "onnxruntime")):
        assert direct in [one.name for one in parts[part] if one.direct]
        for one in parts[part]:
            if one.name != "setuptools":  # comes with the environment
                assert one.version.split("+")[0] == pins[one.name], one.name
    assert not {"torch", "monai"} & {one.name for one in parts["edge"]}


@pytest.mark.parametrize(
    ("said", "licence", "source"),
    [
        ({"License_Expression": "MIT", "License": "other"}, "MIT", "expression"),
        ({"License": "Apache-2.0"}, "Apache-2.0", "field"),
        (
            {"License": "a\nlong text", "Classifier": "License :: OSI Approved :: BSD License"},
            "BSD License",
            "classifier",
        ),
        ({"License": "UNKNOWN", "Classifier": "License :: OSI Approved :: MIT License"}, "MIT License", "classifier"),
    ],
)
def test_a_licence_is_what_the_metadata_say(said: dict[str, Any], licence: str, source: str) -> None:
    found = licence_of("a", Stand("a", **said))
    assert (found.licence, found.source) == (licence, source)


def test_dependencies_without_a_licence_are_an_error_that_names_all_of_them() -> None:
    known = {
        "a": Stand("a", requires=("b", "c")),
        "b": Stand("b", License="UNKNOWN"),
        "c": Stand("c", "3.0", License_Expression="MIT"),
    }
    with pytest.raises(InputError, match=r"a 1\.0 says no licence; b 1\.0 says no licence"):
        licences(closure(["a"], installed=known))


def test_the_list_of_licences_has_every_dependency_once(tmp_path: Path) -> None:
    write_licences(tmp_path, checkout=ROOT)
    said = json.loads((tmp_path / "licences.json").read_text())
    names = {entry["package"] for part in said.values() for entry in part}
    table = [line for line in (tmp_path / "licences.md").read_text().splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].strip("| ") for row in table[1:]] == sorted(names)
    assert {normal(Requirement(text).name) for text in requirements(ROOT)["bundle"]} <= names
    assert all(entry["licence"] for part in said.values() for entry in part)


def test_the_bill_has_every_dependency_with_purl_licence_and_graph(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    dependencies = closure(requirements(ROOT)["bundle"])
    files = {"models/model.pt": tmp_path / "model.pt"}
    text = bill("bundle", "0.1.0", dependencies=dependencies, files=files, made=MADE, system="here")
    said = json.loads(text)
    assert said["specVersion"] == "1.6"
    libraries = {part["name"]: part for part in said["components"] if part["type"] == "library"}
    assert libraries.keys() == {one.name for one in dependencies}
    torch = libraries["torch"]
    assert torch["purl"] == f"pkg:pypi/torch@{installed_distributions()['torch'].version}".replace("+", "%2B")
    assert all(part["licenses"] for part in said["components"])
    model = next(part for part in said["components"] if part["name"] == "models/model.pt")
    assert model["type"] == "machine-learning-model"
    assert model["hashes"] == [{"alg": "SHA-256", "content": sha256(tmp_path / "model.pt")}]
    graph = {entry["ref"]: entry.get("dependsOn", []) for entry in said["dependencies"]}
    assert libraries["monai"]["bom-ref"] in graph["bundle@0.1.0"]
    assert torch["bom-ref"] in graph[libraries["monai"]["bom-ref"]]


def test_the_same_content_gives_the_same_bill_and_another_file_another(tmp_path: Path) -> None:
    dependencies = closure(["nibabel"])
    (tmp_path / "a").write_bytes(b"1")

    def made() -> str:
        return bill("x", "1", dependencies=dependencies, files={"a": tmp_path / "a"}, made=MADE, system="here")

    first = made()
    assert made() == first
    (tmp_path / "a").write_bytes(b"2")
    assert json.loads(made())["serialNumber"] != json.loads(first)["serialNumber"]


def test_a_bill_that_breaks_the_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="does not meet CycloneDX's schema"):
        check_bill(
            '{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"type": "nonsense", "name": "a"}]}'
        )
