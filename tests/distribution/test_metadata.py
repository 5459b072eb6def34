"""The metadata say what CHANGELOG.md, the imports and the pinned versions say, and meet the official schema when packed."""

from __future__ import annotations

import ast
import json
import sys
import tomllib
import warnings
from importlib.metadata import packages_distributions
from pathlib import Path

import jsonschema
import pytest
from monai.bundle import ConfigParser

from export.distribution.metadata import SEPARATE, THROUGH_OTHERS, check, read_changelog, write_metadata
from export.distribution.zoo_checks import NEEDED
from scripts.errors import InputError
from tests.conftest import BUNDLE, ROOT
from tests.distribution.conftest import pinned_versions
from tests.distribution.test_package import small_checkout

SAID = json.loads((BUNDLE / "configs" / "metadata.json").read_text())


def test_the_changelog_is_that_of_the_file() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert SAID["changelog"] == read_changelog(ROOT)
    for version, points in SAID["changelog"].items():
        assert f"\n## {version}" in text
        assert all(f"- {point}\n" in text for point in points.split("; "))
    assert SAID["version"] == next(iter(SAID["changelog"]))
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == SAID["version"]


def test_a_stale_file_is_refused_and_the_verb_brings_it_up_to_date(tmp_path: Path) -> None:
    checkout = small_checkout(tmp_path / "checkout")
    changelog = checkout / "CHANGELOG.md"
    changelog.write_text(changelog.read_text().replace("## 0.1.0", "## 0.2.0\n\n- one; more\n\n## 0.1.0"))
    with pytest.raises(InputError, match="not up to date: version, changelog"):
        check(checkout)
    write_metadata(str(checkout))
    said = check(checkout)
    assert said["version"] == "0.2.0"
    assert list(said["changelog"]) == ["0.2.0", "0.1.0"]


@pytest.mark.parametrize("text", ["# Changelog\n", "## 0.1.0\n\nnothing\n", "## 0.1.0\n\n- a\n\n## 0.1.0\n\n- b\n"])
def test_a_changelog_that_says_nothing_or_one_version_twice_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(text)
    with pytest.raises(InputError, match="CHANGELOG"):
        read_changelog(tmp_path)


def test_the_packages_are_those_that_the_packed_code_imports(unpacked: Path) -> None:
    """Every import of a packed file, wherever it stands in it, by another reading than the code's own."""
    known = packages_distributions()
    imported = set()
    for file in (unpacked / "scripts").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            imported |= {name.split(".")[0] for name in names} - {"scripts", *sys.stdlib_module_names}
    packages = {known[name][0] if name in known else "hd-bet" for name in imported}
    assert "HD_BET" in imported
    base = {"monai", "torch", "numpy"}
    declared = {**SAID["required_packages_version"], **SAID[SEPARATE]}
    assert {name.lower() for name in packages} - base == declared.keys() - THROUGH_OTHERS.keys()
    assert SAID[SEPARATE].keys() == {"hd-bet"}
    assert {"brainextractor", "onnxruntime", "nibabel", "pytorch-ignite"} <= SAID["required_packages_version"].keys()


def test_monai_reads_the_packages_as_they_are_written(unpacked: Path) -> None:
    """It puts `optional_packages_version` in the place of the required ones, with a warning."""
    parser = ConfigParser()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        parser.read_meta(str(unpacked / "configs" / "metadata.json"))
    assert parser["_meta_"]["required_packages_version"] == SAID["required_packages_version"]


def test_what_is_needed_through_others_is_named_in_the_bundle(unpacked: Path) -> None:
    everything = "".join(path.read_text() for path in unpacked.rglob("*") if path.suffix in (".py", ".json", ".md"))
    for package, through in THROUGH_OTHERS.items():
        assert package in SAID["required_packages_version"]
        assert through in everything, package


def test_the_versions_are_the_tested_ones() -> None:
    pins = pinned_versions(ROOT)
    assert (SAID["monai_version"], SAID["pytorch_version"], SAID["numpy_version"]) == (
        pins["monai"],
        pins["torch"],
        pins["numpy"],
    )
    declared = {**SAID["required_packages_version"], **SAID[SEPARATE]}
    assert declared.pop("hd-bet") in (ROOT / "constraints-hd-bet.txt").read_text()
    assert declared == {name: pins[name] for name in declared}


def test_the_metrics_are_those_of_the_evidence() -> None:
    measured = json.loads((BUNDLE / "docs" / "evidence" / "easy_metrics.json").read_text())["fused"]
    assert SAID["eval_metrics"]["auc_on_synthetic_test_cases"] == pytest.approx(measured["auc"], abs=5e-4)
    assert len(SAID["eval_metrics"]) == 3


def test_the_packed_metadata_meet_the_official_schema(unpacked: Path, shared_dir: Path) -> None:
    schema = json.loads((shared_dir / "schema" / "meta_schema_20240725.json").read_text())
    packed = json.loads((unpacked / "configs" / "metadata.json").read_text())
    assert Path(packed["schema"]).name == "meta_schema_20240725.json"
    jsonschema.validate(packed, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({name: value for name, value in packed.items() if name != "task"}, schema)


def test_the_model_card_has_the_sections_of_the_zoos_template(unpacked: Path) -> None:
    lines = (unpacked / "docs" / "README.md").read_text().splitlines()
    headings = [line.strip("# *") for line in lines if line.startswith("#")]
    for section in (
        "Authors",
        "Tags",
        "Model Description",
        "Data",
        "Preprocessing",
        "Performance",
        "Additional Usage Steps",
        "System Configuration",
        "Limitations",
        "Citation Info",
        "References",
    ):
        assert section in headings
    assert lines[0].startswith("# ")


def test_the_documents_of_the_package_name_no_file_that_it_lacks(unpacked: Path) -> None:
    assert all((unpacked / name).is_file() for name in NEEDED)
    card = (unpacked / "docs" / "README.md").read_text()
    for name in ("configs/train.json", "configs/inference.json", "configs/evaluate.json", "docs/data_license.txt"):
        assert name in card
        assert (unpacked / name).is_file()
    assert "bundle/configs" not in card  # the commands run from the bundle's own folder
