"""The edge package's wheel that a release takes: built already, of this checkout's source."""

from __future__ import annotations

import tomllib
import zipfile
from pathlib import Path

from scripts.errors import InputError

REMEDY = "make edge-wheel"


def find_wheel(checkout: str | Path, wheel: str | Path | None = None) -> Path:
    """The wheel.

    Args:
        checkout: the folder that holds `edge` and `dist`.
        wheel: None: that of the package's version in `dist`.

    Raises:
        InputError: there is none, or its code is not the checkout's.
    """
    root = Path(checkout)
    said = tomllib.loads((root / "edge" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name = f"{said['name'].replace('-', '_')}-{said['version']}-py3-none-any.whl"
    file = root / "dist" / name if wheel is None else Path(wheel)
    if not file.is_file() or file.name != name:
        raise InputError("no such wheel", expected=name, remedy=REMEDY, file=file)
    source = {
        path.relative_to(root / "edge").as_posix(): path.read_bytes()
        for path in (root / "edge" / "etscnet_edge").rglob("*.py")
    }
    with zipfile.ZipFile(file) as opened:
        built = {name: opened.read(name) for name in opened.namelist() if name.endswith(".py")}
    other = sorted(name for name in source.keys() | built.keys() if source.get(name) != built.get(name))
    if other:
        expected = "the code of this checkout"
        raise InputError(f"{other[0]} is another", expected=expected, remedy=REMEDY, file=file)
    return file
