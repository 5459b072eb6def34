"""What the Model Zoo's bundle holds, and where it comes from in the checkout.

    <name>/  LICENSE  configs/  models/  docs/  scripts/

The checkout keeps `scripts/` beside `bundle/`; the bundle has it inside. The configurations find it in both (`code_path`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from export.distribution.reach import reach
from export.distribution.zoo_style import in_zoo_style
from scripts.errors import InputError

CHECKOUT = Path(__file__).resolve().parents[2]
NAME = "tsc_mri_outcome_classification"  # the Zoo asks for task and kind of data in it
MAX_FILE_BYTES = 25 * 10**6  # the Zoo's "25MB"
PARTS = ("LICENSE", "configs/*.json", "configs/logging.conf", "models/model.pt", "models/model.json", "docs/**/*")
DOCUMENTS = (".md", ".txt", ".png", ".csv", ".json")


def contents(checkout: str | Path = CHECKOUT) -> dict[str, bytes]:
    """Every file of the bundle by its path in it, sorted; `scripts` in the Zoo's style.

    Raises:
        InputError: a part is missing, or a file is larger than the Zoo takes.
    """
    root = Path(checkout)
    files = {path.relative_to(root / "bundle").as_posix(): path.read_bytes() for path in _parts(root / "bundle")}
    for name, content in files.items():
        if len(content) > MAX_FILE_BYTES:
            raise InputError(
                f"{len(content) / 1e6:.1f} MB",
                expected=f"{MAX_FILE_BYTES / 1e6:g} MB at most",
                remedy="Ship half-precision weights (python -m scripts halve), or a smaller file.",
                file=name,
            )
    for module in reach(root).files:
        source = (root / module).read_text(encoding="utf-8")
        files[module.as_posix()] = in_zoo_style(source, name=str(module)).encode()
    return dict(sorted(files.items()))


def _parts(bundle: Path) -> Iterator[Path]:
    for pattern in PARTS:
        found = sorted(path for path in bundle.glob(pattern) if path.is_file())
        found = [path for path in found if not pattern.startswith("docs") or path.suffix in DOCUMENTS]
        if not found:
            raise InputError(
                f"no {pattern}", expected="a complete bundle", remedy="Take a whole checkout.", file=bundle
            )
        yield from found


def archive_name(version: str) -> str:
    """As the Zoo names its releases."""
    return f"{NAME}_v{version}.zip"


def write_folder(files: dict[str, bytes], folder: Path) -> None:
    """The bundle as a folder: what a checkout of the Zoo holds in models/<name>."""
    for name, content in files.items():
        target = folder.joinpath(*PurePosixPath(name).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
