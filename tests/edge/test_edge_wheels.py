"""The bundle of wheels is whole, by the target's own markers, or not there at all."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from deploy.bundle import REQUIREMENTS, SUMS, BundleError, bundle, check
from deploy.bundle import main as run_bundle
from deploy.targets import DEFAULT, TARGETS
from deploy.wheels import EXTRAS


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    needs: Sequence[str] = (),
    *,
    tag: str = "py3-none-any",
    extras: Sequence[str] = (),
) -> Path:
    """A wheel that holds nothing but its metadata."""
    folder.mkdir(exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-{tag}.whl"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [*(f"Provides-Extra: {extra}" for extra in extras), *(f"Requires-Dist: {said}" for said in needs)]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


@pytest.fixture(scope="module", autouse=True)
def no_configuration() -> Iterator[None]:
    """pip knows no other index."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIP_CONFIG_FILE", os.devnull)
        patch.delenv("PIP_FIND_LINKS", raising=False)
        yield


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return write_index(tmp_path / "index")


def write_index(folder: Path) -> Path:
    """What the package needs: a runtime whose newest version has no wheel for 3.10, and what only some Pythons need."""
    for version, python in (("1.0", "cp310"), ("1.0", "cp312"), ("2.0", "cp312")):
        write_wheel(folder, "runtime", version, tag=f"{python}-{python}-manylinux_2_28_aarch64")
    needs = ['backport>=1; python_version < "3.11"', 'news; python_version >= "3.12"', "deep[more]"]
    # pip brings what this machine would need, too.
    write_wheel(folder, "web", "1.0", [*needs, f'hosts; platform_machine == "{platform.machine()}"'])
    write_wheel(
        folder, "deep", "1.0", ['deeper==1.0; extra == "more"', 'never; extra == "other"'], extras=("more", "other")
    )
    for name in ("backport", "news", "deeper", "pip", "hosts"):
        write_wheel(folder, name, "1.0")
    write_wheel(folder, "backport", "0.9")
    return folder


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return write_edge_wheel(tmp_path / "dist")


def write_edge_wheel(folder: Path) -> Path:
    needs = ['runtime>=1; extra == "cpu"', 'web; extra == "server"', 'old; sys_platform == "win32"']
    return write_wheel(folder, "etscnet-edge", "0.1.0", needs, extras=EXTRAS)


def make(wheel: Path, output: Path, index: Path) -> str:
    return bundle(str(wheel), output_dir=str(output), targets=("aarch64-cp310", "aarch64-cp312"), index=str(index))


@pytest.fixture(scope="module")
def made(no_configuration: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a bundle, and what was said of it."""
    folder = tmp_path_factory.mktemp("made")
    said = make(write_edge_wheel(folder / "dist"), folder / "bundle", write_index(folder / "index"))
    return folder / "bundle", said


def test_bundle_holds_what_each_target_needs(made: tuple[Path, str]) -> None:
    output, table = made
    held = {
        name: {"-".join(file.name.split("-")[:2]) for file in (output / name).glob("*.whl")} for name in DEFAULT[:2]
    }
    both = {"etscnet_edge-0.1.0", "web-1.0", "deep-1.0", "deeper-1.0", "pip-1.0"}
    both |= {"hosts-1.0"} if platform.machine() == "aarch64" else set()
    assert held["aarch64-cp310"] == both | {"runtime-1.0", "backport-1.0"}
    assert held["aarch64-cp312"] == both | {"runtime-2.0", "news-1.0"}
    assert [row.split()[0] for row in table.splitlines()[1:3]] == list(held)
    for name in held:
        folder = output / name
        sums = dict(line.split("  ")[::-1] for line in (folder / SUMS).read_text().splitlines())
        assert sums == {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.name != SUMS
        }
        pinned = re.findall(
            r"^(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})$", (folder / REQUIREMENTS).read_text(), re.MULTILINE
        )
        assert {digest for *_, digest in pinned} == {
            sums[file] for file in sums if file.endswith("whl") and file[:3] != "pip"
        }
        assert ("etscnet-edge[cpu,png,server]", "0.1.0") in [row[:2] for row in pinned]
    assert [path.name for path in output.parent.iterdir() if path.name.startswith(".")] == []


def test_missing_wheel_leaves_the_old_bundle(made: tuple[Path, str], wheel: Path, index: Path, tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    (index / "backport-1.0-py3-none-any.whl").unlink()  # pip, on Python 3.11, would not miss it
    with pytest.raises(BundleError, match=r"aarch64-cp310: no complete set of wheels .*backport>=1"):
        make(wheel, output, index)
    assert not output.exists()
    write_wheel(index, "backport", "1.0")
    shutil.copytree(made[0], output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    for path in index.glob("runtime-*cp312-*"):
        path.unlink()
    with pytest.raises(BundleError, match=r"aarch64-cp312: no complete set of wheels .*runtime"):
        make(wheel, output, index)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_changed_and_unlisted_files_are_refused(made: tuple[Path, str], tmp_path: Path) -> None:
    output = tmp_path / "bundle"
    shutil.copytree(made[0], output)
    target, folder = TARGETS["aarch64-cp310"], output / "aarch64-cp310"
    check(target, folder)
    (folder / "extra.whl").touch()
    with pytest.raises(BundleError, match=r"extra\.whl: not as SHA256SUMS says"):
        check(target, folder)
    (folder / "extra.whl").unlink()
    other = folder / "web-1.0-py3-none-any.whl"
    other.write_bytes(other.read_bytes() + b"\0")
    with pytest.raises(BundleError, match=r"web-1\.0-py3-none-any\.whl: not as SHA256SUMS says"):
        check(target, folder)
    lines = (folder / SUMS).read_text().splitlines(keepends=True)
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    (folder / SUMS).write_text("".join(f"{digest}  {other.name}\n" if other.name in line else line for line in lines))
    with pytest.raises(BundleError, match=r"don't install without a network .*DO NOT MATCH"):  # by requirements.txt
        check(target, folder)


def test_other_folders_targets_and_wheels_are_refused(wheel: Path, index: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="exists and is no bundle"):
        make(wheel, index, index)
    with pytest.raises(BundleError, match="no target riscv64-cp310"):
        bundle(str(wheel), output_dir=str(tmp_path / "bundle"), targets=["riscv64-cp310"], index=str(index))
    with pytest.raises(BundleError, match="is no wheel of etscnet-edge"):
        make(index / "web-1.0-py3-none-any.whl", tmp_path / "bundle", index)
    bare = write_wheel(tmp_path / "bare", "etscnet-edge", "0.1.0", extras=("cpu",))
    with pytest.raises(BundleError, match="has no extra png, server"):
        make(bare, tmp_path / "bundle", index)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--targets", "riscv64-cp310"], 2, "--targets riscv64-cp310; expected one of aarch64-cp310, aarch64-cp312"),
        (["--output", "dist"], 2, "no option --output; did you mean --output_dir?"),
        ([], 1, "error: nowhere.whl is no wheel of etscnet-edge"),
    ],
)
def test_its_command_says_what_is_wrong(
    words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        run_bundle(["--wheel", "nowhere.whl", *words])
    assert left.value.code == status and said in capsys.readouterr().err
