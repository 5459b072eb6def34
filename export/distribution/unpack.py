"""Unpack an archive that came from elsewhere: its hash first, then every entry's name, kind and size, and only then a file.

Nothing is written before all of it has been judged, and the target appears whole or not at all.
"""

from __future__ import annotations

import io
import re
import shutil
import stat
import tempfile
import unicodedata
import zipfile
from hashlib import sha256
from pathlib import Path, PurePosixPath

from export.distribution.layout import MAX_FILE_BYTES
from scripts.answer import Answer
from scripts.errors import InputError

MAX_ENTRIES = 2000
MAX_TOTAL_BYTES = 200 * 10**6
REMEDY = "Do not use it. Get the archive again, with the hash that its makers signed."
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # devices on Windows
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


def read_archive(path: str | Path, *, expected_sha256: str) -> dict[str, bytes]:
    """The files of an archive by name, all of them judged, none of them written.

    Args:
        path: a zip.
        expected_sha256: its hash, from a place that is trusted.

    Raises:
        InputError: another hash, no zip, or an entry that is no plain file with a harmless name and a bearable size.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError("no such file", expected="an archive", remedy="Correct the path.", file=file)
    if file.stat().st_size > MAX_TOTAL_BYTES:
        raise _refused(f"{file.stat().st_size} bytes", f"{MAX_TOTAL_BYTES} at most", file)
    content = file.read_bytes()  # what is hashed is what is unpacked
    found = sha256(content).hexdigest()
    if found != expected_sha256.lower():
        raise _refused(f"SHA-256 {found}", expected_sha256, file)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            entries = opened.infolist()
            _judge_all(entries, file)
            return {entry.filename: _read(opened, entry, file) for entry in entries if not entry.is_dir()}
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise _refused(f"no sound zip ({error})", "a zip", file) from error


def unpack(archive: str | Path, output_dir: str | Path, *, expected_sha256: str) -> list[Path]:
    """Unpack an archive into a folder that holds none of it yet; returns what was written.

    Raises:
        InputError: as `read_archive`, or something is there already.
    """
    files = read_archive(archive, expected_sha256=expected_sha256)
    target = Path(output_dir)
    tops = sorted({name.split("/")[0] for name in files})
    for top in tops:
        if (target / top).exists() or (target / top).is_symlink():
            remedy = "Give another folder, or remove what is there."
            raise InputError(f"{top} is there already", expected="a free place", remedy=remedy, file=target / top)
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".unpack-") as folder:
        for name, content in files.items():
            path = Path(folder).joinpath(*PurePosixPath(name).parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for top in tops:
            shutil.move(Path(folder) / top, target / top)
    return [target.joinpath(*PurePosixPath(name).parts) for name in files]


def unpack_archive(archive: str | Path, output_dir: str | Path, *, sha256: str) -> Answer:
    """Unpack an archive whose hash is known, and only what is harmless: no path that leads elsewhere, no link, no bomb.

    Args:
        archive: the zip.
        output_dir: folder where it goes.
        sha256: its hash, 64 hexadecimal digits, from a signed manifest or another trusted place.

    Example:
        python -m export unpack --archive bundle.zip --output_dir bundles \\
            --sha256 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae

    Returns:
        How many files, and which.

    Raises:
        InputError: another hash, or an entry that is not harmless. Nothing is written then.
    """
    files = unpack(archive, output_dir, expected_sha256=sha256)
    return Answer(f"{len(files)} files unpacked to {output_dir}", {"output_dir": output_dir, "files": files})


def _judge_all(entries: list[zipfile.ZipInfo], file: Path) -> None:
    if len(entries) > MAX_ENTRIES:
        raise _refused(f"{len(entries)} entries", f"{MAX_ENTRIES} at most", file)
    total = sum(entry.file_size for entry in entries)
    if total > MAX_TOTAL_BYTES:
        raise _refused(f"{total} bytes unpacked", f"{MAX_TOTAL_BYTES} at most", file)
    seen: dict[str, str] = {}
    folders: set[str] = set()
    for entry in entries:
        _judge(entry, file)
        same = unicodedata.normalize("NFC", entry.filename.rstrip("/")).casefold()
        if same in seen:
            found = f"{entry.filename!r} and {seen[same]!r} are one name on some file systems"
            raise _refused(found, "names that differ", file)
        seen[same] = entry.filename
        folders |= {str(parent) for parent in PurePosixPath(same).parents}
    for same, name in seen.items():
        if same in folders and not name.endswith("/"):
            raise _refused(f"{name!r} is a file and a folder", "one of both", file)


def _judge(entry: zipfile.ZipInfo, file: Path) -> None:
    """Refuse an entry that is no plain file or folder within the target."""
    name, kind = entry.filename, stat.S_IFMT(entry.external_attr >> 16)
    original = entry.orig_filename  # zipfile cuts a name at a zero byte and turns backslashes on Windows
    parts = name.removesuffix("/").split("/")
    if original != name or _FORBIDDEN.search(name):
        raise _refused(f"the name {original!r} holds a forbidden character", "a portable name", file)
    if not name or name.startswith("/"):
        raise _refused(f"the absolute path {name!r}", "a path within the archive", file)
    if any(part in ("", ".", "..") for part in parts):
        raise _refused(f"the path {name!r} leads elsewhere", "a path within the archive", file)
    if any(_RESERVED.fullmatch(part) or part[-1] in " ." for part in parts):
        raise _refused(f"the name {name!r} means something else on Windows", "a portable name", file)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR) != (entry.is_dir() and kind != 0):
        raise _refused(f"{name!r} is no plain file (mode {entry.external_attr >> 16:o})", "files and folders", file)
    if entry.flag_bits & 1:
        raise _refused(f"{name!r} is encrypted", "an open archive", file)
    if entry.file_size > MAX_FILE_BYTES:
        raise _refused(f"{name!r} unpacks to {entry.file_size} bytes", f"{MAX_FILE_BYTES} at most", file)


def _read(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, file: Path) -> bytes:
    """An entry's content, no more of it than it declares."""
    with opened.open(entry) as stream:
        content = stream.read(entry.file_size + 1)
    if len(content) != entry.file_size:
        raise _refused(f"{entry.filename!r} is not as long as it says", f"{entry.file_size} bytes", file)
    return content


def _refused(found: str, expected: str, file: Path) -> InputError:
    return InputError(found, expected=expected, remedy=REMEDY, file=file)
