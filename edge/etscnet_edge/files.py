"""Files that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from etscnet_edge.errors import InputError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write to a temporary name beside it, then rename; the folder is made.

    Raises:
        InputError: the path is a folder or a device.
        OSError: there is no room, or no right; nothing is left behind then.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise InputError("the path is no file", expected="a file's name", remedy="Give another one.", file=path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
