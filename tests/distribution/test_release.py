"""The release command: everything in one folder, hashed and signed; and what it, and its check, refuse."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from export.distribution.checkout import commit_of
from export.distribution.edge_wheel import find_wheel
from export.distribution.layout import NAME
from export.distribution.release import release
from export.distribution.release_manifest import verify_release, write_manifest
from export.distribution.sbom import check_bill
from export.distribution.signature import make_key, read_private_key, sign
from export.manifest import SCHEMA
from scripts.errors import InputError
from scripts.files import sha256
from tests.conftest import BUNDLE, ROOT

EXPORTED = ("etscnet.onnx", "preprocess.onnx", "golden.npz")


def write_export(folder: Path, *, weights: str) -> Path:
    """A folder with an export's manifest; no graph in it is one, and nothing here runs one."""
    folder.mkdir(parents=True)
    for name in EXPORTED:
        (folder / name).write_bytes(name.encode())
    (folder / "parity.json").write_text("{}")
    files = {name: {"sha256": sha256(folder / name), "bytes": len(name)} for name in EXPORTED}
    said = {"schema": SCHEMA, "files": files, "origin": {"sha256": weights}, "for_timing_only": False}
    (folder / "etscnet.json").write_text(json.dumps(said))
    return folder


def write_wheel(folder: Path, *, change: str = "") -> Path:
    """A wheel of the edge package's own code."""
    wheel = folder / "etscnet_edge-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as made:
        for path in sorted((ROOT / "edge" / "etscnet_edge").rglob("*.py")):
            content = path.read_text() + (change if path.name == "nifti.py" else "")
            made.writestr(path.relative_to(ROOT / "edge").as_posix(), content)
        made.writestr("etscnet_edge/page/index.html", "")
    return wheel


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key, wheel and export."""
    folder = tmp_path_factory.mktemp("inputs")
    make_key(folder / "key")
    write_wheel(folder)
    write_export(folder / "exports", weights=sha256(BUNDLE / "models" / "model.pt"))
    return folder


def make(inputs: Path, output_dir: Path) -> str:
    wheel = inputs / "etscnet_edge-0.1.0-py3-none-any.whl"
    return release(inputs / "key", output_dir, exports=inputs / "exports", edge_wheel=wheel, allow_changes=True)


@pytest.fixture(scope="module")
def released(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of this checkout."""
    target = tmp_path_factory.mktemp("dist") / "release"
    said = make(inputs, target)
    assert "not checked" in said
    return target


@pytest.fixture
def copy(released: Path, tmp_path: Path) -> Path:
    """One that a test may damage."""
    return Path(shutil.copytree(released, tmp_path / "release"))


def test_a_release_holds_everything_and_its_check_passes(released: Path, inputs: Path, archive: Path) -> None:
    names = {path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file()}
    described = {"bundle.cdx.json", "edge.cdx.json", "licences.md", "licences.json", "vulnerabilities.json"}
    signed = {"release.json", "release.json.sig", "SHA256SUMS", "CHANGELOG.md"}
    exported = {f"exports/{name}" for name in (*EXPORTED, "etscnet.json", "parity.json")}
    assert names == {archive.name, "etscnet_edge-0.1.0-py3-none-any.whl"} | described | signed | exported
    assert (released / archive.name).read_bytes() == archive.read_bytes()
    assert "signed by" in verify_release(str(released), str(inputs / "key.pub")).text
    said = json.loads((released / "release.json").read_text())
    assert said["commit"] == commit_of(ROOT).digest
    assert "not checked" in said["vulnerabilities"]
    assert said["files"].keys() == names - {"release.json", "release.json.sig", "SHA256SUMS"}


def test_the_bills_meet_the_schema_and_name_the_released_files(released: Path) -> None:
    for part, named in (("bundle", f"{NAME}_v0.1.0.zip"), ("edge", "exports/etscnet.onnx")):
        text = (released / f"{part}.cdx.json").read_text()
        check_bill(text)
        hashes = {each["name"]: each.get("hashes") for each in json.loads(text)["components"]}
        assert hashes[named] == [{"alg": "SHA-256", "content": sha256(released / named)}]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_checks_it_too(released: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=released, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(": OK") == len(list(released.rglob("*.*"))) - 1  # all but the sums and the signature


def test_the_same_commit_gives_the_same_release(released: Path, inputs: Path, tmp_path: Path) -> None:
    make(inputs, tmp_path / "again")
    assert (tmp_path / "again" / "release.json").read_bytes() == (released / "release.json").read_bytes()
    assert (tmp_path / "again" / "release.json.sig").read_bytes() == (released / "release.json.sig").read_bytes()


def test_a_verified_release_unpacks(released: Path, inputs: Path, tmp_path: Path) -> None:
    verify_release(str(released), str(inputs / "key.pub"), output_dir=str(tmp_path))
    assert sha256(tmp_path / NAME / "models" / "model.pt") == sha256(BUNDLE / "models" / "model.pt")


def test_another_file_a_missing_one_and_one_too_many_are_refused(copy: Path, inputs: Path) -> None:
    zipped, key = copy / f"{NAME}_v0.1.0.zip", str(inputs / "key.pub")
    content = zipped.read_bytes()
    zipped.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"_v0\.1\.0\.zip: is another file"):
        verify_release(str(copy), key, output_dir=str(copy.parent / "out"))
    assert not (copy.parent / "out").exists()
    zipped.unlink()
    with pytest.raises(InputError, match="is missing"):
        verify_release(str(copy), key)
    zipped.write_bytes(content)
    (copy / "exports" / "extra.onnx").write_bytes(b"x")
    with pytest.raises(InputError, match=r"exports/extra\.onnx is not named"):
        verify_release(str(copy), key)


def test_a_link_in_the_place_of_a_file_is_refused(copy: Path, inputs: Path) -> None:
    zipped = copy / f"{NAME}_v0.1.0.zip"
    zipped.rename(copy.parent / "elsewhere.zip")
    zipped.symlink_to(copy.parent / "elsewhere.zip")
    with pytest.raises(InputError, match="is missing, or a link"):
        verify_release(str(copy), str(inputs / "key.pub"))
    zipped.unlink()
    (copy.parent / "elsewhere.zip").rename(zipped)
    (copy / "more").symlink_to(copy.parent)
    with pytest.raises(InputError, match="more is not named"):
        verify_release(str(copy), str(inputs / "key.pub"))


def test_a_manifest_that_fits_other_files_is_refused_without_its_makers_key(copy: Path, inputs: Path) -> None:
    said = json.loads((copy / "release.json").read_text())
    (copy / "CHANGELOG.md").write_text("other\n")
    for name in ("release.json", "release.json.sig", "SHA256SUMS"):
        (copy / name).unlink()
    manifest = write_manifest(copy, {name: said[name] for name in said if name not in ("schema", "files")})
    make_key(copy.parent / "thief")
    sign(manifest, read_private_key(copy.parent / "thief"))
    with pytest.raises(InputError, match="not that of these bytes by this key"):
        verify_release(str(copy), str(inputs / "key.pub"))


def test_a_release_needs_a_key_that_is_there(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        release(tmp_path / "key", tmp_path / "release", allow_changes=True)
    assert not list(tmp_path.iterdir())


def test_an_export_of_other_weights_is_refused(inputs: Path, tmp_path: Path) -> None:
    exports = write_export(tmp_path / "exports", weights="0" * 64)
    wheel = inputs / "etscnet_edge-0.1.0-py3-none-any.whl"
    with pytest.raises(InputError, match="an export of other weights"):
        release(inputs / "key", tmp_path / "release", exports=exports, edge_wheel=wheel, allow_changes=True)
    assert [path.name for path in tmp_path.iterdir()] == ["exports"]


def test_a_wheel_of_other_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"etscnet_edge/nifti\.py is another"):
        find_wheel(ROOT, write_wheel(tmp_path, change="# changed\n"))
    assert find_wheel(ROOT, write_wheel(tmp_path)).is_file()


def test_a_known_vulnerability_stops_the_release(inputs: Path, tmp_path: Path) -> None:
    package = {"ecosystem": "PyPI", "name": "torch"}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
    affected = [{"package": package, "ranges": ranges, "versions": []}]
    (tmp_path / "osv").mkdir()
    said = {"id": "X-1", "modified": "2026-01-01T00:00:00Z", "affected": affected}
    (tmp_path / "osv" / "x.json").write_text(json.dumps(said))
    wheel = inputs / "etscnet_edge-0.1.0-py3-none-any.whl"
    with pytest.raises(InputError, match="X-1"):
        release(inputs / "key", tmp_path / "out", edge_wheel=wheel, advisories=tmp_path / "osv", allow_changes=True)


def test_a_folder_that_is_no_release_is_not_replaced(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="no release"):
        make(inputs, tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_changed_checkout_is_told_from_a_clean_one(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    with pytest.raises(InputError, match="no git checkout"):
        commit_of(tmp_path / "nowhere")
    git("init")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-m", "a")
    assert commit_of(tmp_path).changed == ()
    (tmp_path / "a").write_text("2")
    (tmp_path / "b").write_text("new")
    assert commit_of(tmp_path).changed == ("a", "b")
