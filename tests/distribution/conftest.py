"""One package of the checkout for all tests here."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest

from export.distribution.layout import NAME
from export.distribution.package import write_package
from export.distribution.unpack import unpack
from scripts.files import sha256


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's zip; its folder and its unit tests lie beside it."""
    return write_package(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def unpacked(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, unpacked."""
    folder = tmp_path_factory.mktemp("unpacked")
    unpack(archive, folder, expected_sha256=sha256(archive))
    return folder / NAME


def zip_of(path: Path, entries: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    """A zip of entries as they are given."""
    with zipfile.ZipFile(path, "w") as made:
        for entry, content in entries:
            made.writestr(entry, content)
    return path


def pinned_versions(root: Path) -> dict[str, str]:
    """constraints.txt, read another way than the code does."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)$", (root / "constraints.txt").read_text(), flags=re.MULTILINE))
