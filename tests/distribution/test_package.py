"""What the bundle's archive holds: the Zoo's layout, the same bytes wherever it is made, the code that the checkout has."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from export.distribution.layout import MAX_FILE_BYTES, NAME, contents
from export.distribution.package import package
from export.distribution.reach import reach
from export.distribution.zoo_style import in_zoo_style, program
from scripts.errors import InputError
from scripts.files import sha256
from tests.conftest import BUNDLE, ROOT


def test_the_layout_is_the_zoos(archive: Path) -> None:
    assert archive.name == f"{NAME}_v0.1.0.zip"
    names = zipfile.ZipFile(archive).namelist()
    assert {name.split("/")[0] for name in names} == {NAME}
    assert {name.split("/")[1] for name in names} == {"LICENSE", "configs", "docs", "models", "scripts"}
    for needed in ("LICENSE", "configs/metadata.json", "configs/inference.json", "configs/train.json"):
        assert f"{NAME}/{needed}" in names
    for needed in ("models/model.pt", "docs/README.md", "docs/data_license.txt", "scripts/network.py"):
        assert f"{NAME}/{needed}" in names
    assert {path.name for path in (archive.parent / "unit_tests").iterdir()} == {
        f"test_{NAME}.py",
        f"test_{NAME}_dist.py",
    }


def test_every_tracked_file_of_the_bundle_is_packed_as_it_is(unpacked: Path) -> None:
    listed = subprocess.run(
        ["git", "-C", str(BUNDLE), "ls-files", "-z", "."], capture_output=True, text=True, check=True
    )
    tracked = [name for name in listed.stdout.split("\0") if name]
    assert len(tracked) > 20
    for name in tracked:
        assert (unpacked / name).read_bytes() == (BUNDLE / name).read_bytes(), name


def test_no_file_is_larger_than_the_zoo_takes(archive: Path) -> None:
    sizes = [entry.file_size for entry in zipfile.ZipFile(archive).infolist()]
    assert max(sizes) <= MAX_FILE_BYTES == 25_000_000


def test_a_larger_file_is_refused(tmp_path: Path) -> None:
    checkout = small_checkout(tmp_path)
    (checkout / "bundle" / "models" / "model.pt").write_bytes(bytes(MAX_FILE_BYTES + 1))
    with pytest.raises(InputError, match=r"models/model\.pt: 25\.0 MB; expected 25 MB"):
        contents(checkout)


def test_a_checkout_without_weights_is_refused(tmp_path: Path) -> None:
    checkout = small_checkout(tmp_path)
    (checkout / "bundle" / "models" / "model.pt").unlink()
    with pytest.raises(InputError, match=r"no models/model\.pt"):
        contents(checkout)


def test_another_place_umask_and_date_give_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    checkout = small_checkout(tmp_path / "a longer path")
    shutil.copyfile(BUNDLE / "models" / "model.pt", checkout / "bundle" / "models" / "model.pt")
    for path in checkout.rglob("*"):
        os.utime(path, (10**9, 10**9))
        path.chmod(0o700)
    (checkout / "bundle" / "runs").mkdir()
    (checkout / "bundle" / "runs" / "model.pt").write_bytes(b"of a training")
    (checkout / "bundle" / "docs" / ".DS_Store").write_bytes(b"of a Mac")
    command = f"umask 077; exec {sys.executable} -m export package --output_dir {tmp_path}/out --checkout '{checkout}'"
    environment = {**os.environ, "TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert sha256(tmp_path / "out" / archive.name) == sha256(archive)
    assert sha256(archive) in done.stdout


def test_packing_again_replaces_what_was_there(archive: Path, tmp_path: Path) -> None:
    (tmp_path / NAME / "scripts").mkdir(parents=True)
    (tmp_path / NAME / "scripts" / "gone.py").write_text("raise RuntimeError\n")
    package(tmp_path)
    assert not (tmp_path / NAME / "scripts" / "gone.py").exists()
    assert (tmp_path / archive.name).read_bytes() == archive.read_bytes()


def test_the_packed_code_is_the_checkouts_program_in_the_zoos_layout(unpacked: Path) -> None:
    modules = reach(ROOT).files
    packed = sorted(path.relative_to(unpacked) for path in (unpacked / "scripts").rglob("*") if path.is_file())
    assert packed == sorted(modules)
    for module in modules:
        ours, theirs = (root.joinpath(module).read_text() for root in (ROOT, unpacked))
        assert program(ours) == program(theirs), module
        assert ast.get_docstring(ast.parse(ours)) == ast.get_docstring(ast.parse(theirs))


def test_a_module_whose_imports_would_run_in_another_order_around_a_statement_is_told_apart() -> None:
    first = "import os\nos.environ['A'] = '1'\nimport json\n"
    assert program(first) != program("import json\nimport os\nos.environ['A'] = '1'\n")
    assert program("import os\nimport json\n") == program("import json\n\nimport os\n")
    assert program("x = 1\n") != program("x = 2\n")


def test_isort_and_black_change_layout_alone() -> None:
    source = "import os\n\nimport torch\n\nfrom scripts.files import sha256\n\n\ndef f(\n    a: int,\n) -> int:\n    return a\n"
    formatted = in_zoo_style(source, name="f.py")
    assert "import torch\nfrom scripts.files import sha256\n" in formatted  # both from elsewhere, in the Zoo's tree
    assert "def f(a: int) -> int:" in formatted


def test_a_configuration_that_names_no_module_is_refused(tmp_path: Path) -> None:
    checkout = small_checkout(tmp_path)
    config = checkout / "bundle" / "configs" / "extra.json"
    config.write_text(json.dumps({"network": {"_target_": "scripts.nowhere.Network"}}))
    with pytest.raises(InputError, match=r"extra\.json: no module for 'scripts\.nowhere\.Network'"):
        reach(checkout)


def small_checkout(folder: Path) -> Path:
    """What a package is made of, with weights of one byte."""
    folder.mkdir(exist_ok=True)
    for name in ("bundle", "scripts"):
        ignored = shutil.ignore_patterns("__pycache__", "model.pt", "runs")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("CHANGELOG.md", "constraints.txt", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / "bundle" / "models" / "model.pt").write_bytes(b"w")
    return folder
