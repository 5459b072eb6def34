"""An input file's bytes, under the name that errors and results give it: from the disk, or as a client sent them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from etscnet_edge.errors import InputError


@dataclass(frozen=True)
class Source:
    """One file.

    Attributes:
        name: a path, or what the client called it: for people, never opened.
        content: all its bytes: what is hashed is what is scored.
    """

    name: str
    content: bytes

    @cached_property
    def sha256(self) -> str:
        """In hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def short_name(self) -> str:
        """Without folders."""
        return self.name.replace("\\", "/").rpartition("/")[2]

    @property
    def zipped(self) -> bool:
        """Whether it is to be read as gzip: by its name, and without one that says so, by its first bytes."""
        if self.name.endswith((".nii", ".gz")):
            return self.name.endswith(".gz")
        return self.content[:2] == b"\x1f\x8b"


def open_source(given: str | Path | Source, *, max_bytes: int) -> Source:
    """The file's bytes.

    Args:
        given: a path; a source is returned as it is.
        max_bytes: a larger file is refused before it is read.

    Raises:
        InputError: there is no such file, or it is empty or too large.
    """
    if isinstance(given, Source):
        source = given
    else:
        path = Path(given)
        if not path.is_file():
            found = "the path is a folder" if path.is_dir() else "there is no such file"
            raise InputError(found, expected="a NIfTI file", remedy="Correct the path.", file=path)
        if path.stat().st_size > max_bytes:
            raise InputError(
                f"the file has {path.stat().st_size} bytes",
                expected=f"at most {max_bytes}",
                remedy="Give one volume of one series.",
                file=path,
            )
        source = Source(str(path), path.read_bytes())
    if not source.content:
        raise InputError(
            "the file is empty (0 bytes)",
            expected="a complete 3-D NIfTI file (.nii or .nii.gz)",
            remedy="Export or convert the series again.",
            file=source.name,
        )
    return source
