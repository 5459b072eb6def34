"""An archive that was tampered with is refused before a file of it is written."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from export.distribution import unpack as module
from export.distribution.archive import DATE, archive
from export.distribution.layout import MAX_FILE_BYTES
from export.distribution.unpack import read_archive, unpack, unpack_archive
from scripts.errors import InputError
from scripts.files import sha256
from tests.distribution.conftest import zip_of


def refuse(path: Path, match: str) -> None:
    """Our own tool refuses the zip although its hash is the expected one, and leaves nothing behind."""
    target = path.parent / "target"
    with pytest.raises(InputError, match=match):
        unpack(path, target, expected_sha256=sha256(path))
    assert not target.exists() or not list(target.iterdir())
    assert sorted(path.parent.iterdir()) == sorted({path, *([target] if target.exists() else [])})


def entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name, DATE)
    made.create_system, made.external_attr = 3, mode << 16
    return made


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("../evil.py", "leads elsewhere"),
        ("bundle/../../evil.py", "leads elsewhere"),
        ("bundle/./evil.py", "leads elsewhere"),
        ("bundle//evil.py", "leads elsewhere"),
        ("/etc/evil", "absolute path"),
        ("C:/evil.py", "forbidden character"),
        ("..\\evil.py", "forbidden character"),
        ("bundle/evil\n.py", "forbidden character"),
        ("bundle/evil.py:stream", "forbidden character"),
        ("bundle/CON.txt", "on Windows"),
        ("bundle/evil.py ", "on Windows"),
        ("bundle/evil.", "on Windows"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str, match: str, tmp_path: Path) -> None:
    refuse(zip_of(tmp_path / "a.zip", [("bundle/LICENSE", b"x"), (entry(name), b"evil")]), match)


def test_a_name_that_is_cut_at_a_zero_byte_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", [("bundle/a.pyX.txt", b"x")])
    path.write_bytes(path.read_bytes().replace(b"a.pyX.txt", b"a.py\0.txt"))
    refuse(path, "forbidden character")


@pytest.mark.parametrize(
    "mode", [stat.S_IFLNK | 0o777, stat.S_IFIFO | 0o644, stat.S_IFCHR | 0o644, stat.S_IFDIR | 0o755]
)
def test_a_link_or_a_device_is_refused(mode: int, tmp_path: Path) -> None:
    refuse(zip_of(tmp_path / "a.zip", [(entry("bundle/link", mode), b"/etc/passwd")]), "no plain file")


@pytest.mark.parametrize(
    "names",
    [
        ("b/model.pt", "b/model.pt"),
        ("b/model.pt", "b/Model.pt"),
        ("b/Straße", "b/STRASSE"),
        ("b/\u00e9", "b/e\u0301"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(names: tuple[str, str], tmp_path: Path) -> None:
    refuse(zip_of(tmp_path / "a.zip", [(name, b"x") for name in names]), "one name on some file systems")


def test_a_file_that_is_a_folder_too_is_refused(tmp_path: Path) -> None:
    refuse(zip_of(tmp_path / "a.zip", [("b/a", b"x"), ("b/A/c", b"x")]), "a file and a folder")


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("b/zeros", bytes(MAX_FILE_BYTES + 1))
    assert path.stat().st_size < 100_000
    refuse(path, "unpacks to 25000001 bytes")


def test_a_bomb_of_many_parts_is_refused(tmp_path: Path) -> None:
    path, part = tmp_path / "a.zip", bytes(MAX_FILE_BYTES)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        for number in range(module.MAX_TOTAL_BYTES // MAX_FILE_BYTES + 1):
            made.writestr(f"b/{number}", part)
    refuse(path, "bytes unpacked")


def test_a_bomb_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("b/zeros", bytes(3_000_000))
    said, lied = (size.to_bytes(4, "little") for size in (3_000_000, 3_000))
    path.write_bytes(path.read_bytes().replace(said, lied))
    refuse(path, "no sound zip|not as long as it says")


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    entries = [(f"b/{number}", b"") for number in range(module.MAX_ENTRIES + 1)]
    refuse(zip_of(tmp_path / "a.zip", list(entries)), "2001 entries")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", [("b/model.pt", b"weights" * 100)])
    path.write_bytes(path.read_bytes().replace(b"weights", b"Weights", 1))
    refuse(path, "no sound zip")


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"not a zip")
    refuse(path, "no sound zip")


def test_another_hash_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", [("b/model.pt", b"weights")])
    with pytest.raises(InputError, match=f"SHA-256 {sha256(path)}"):
        unpack(path, tmp_path / "target", expected_sha256="0" * 64)
    assert not (tmp_path / "target").exists()


def test_what_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "a.zip", [("b/model.pt", b"weights")])
    (tmp_path / "target" / "b").mkdir(parents=True)
    with pytest.raises(InputError, match="is there already"):
        unpack(path, tmp_path / "target", expected_sha256=sha256(path))
    assert not list((tmp_path / "target" / "b").iterdir())


def test_a_sound_archive_gives_its_files(tmp_path: Path) -> None:
    files = {"LICENSE": b"text", "models/model.pt": bytes(range(256))}
    path = tmp_path / "a.zip"
    path.write_bytes(archive(files, base="b"))
    assert read_archive(path, expected_sha256=sha256(path)) == {f"b/{name}": files[name] for name in files}
    assert "2 files unpacked" in unpack_archive(str(path), str(tmp_path / "target"), sha256=sha256(path).upper()).text
    assert (tmp_path / "target" / "b" / "models" / "model.pt").read_bytes() == bytes(range(256))
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["b"]


def test_the_archives_bytes_hang_on_names_and_contents_alone() -> None:
    made = archive({"b": b"2", "a": b"1"}, base="x")
    assert made == archive({"a": b"1", "b": b"2"}, base="x")
    assert made != archive({"a": b"1", "b": b"3"}, base="x")
