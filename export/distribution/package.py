"""`python -m export package`: the bundle in the Model Zoo's layout, as a folder and as a zip that is the same bytes wherever it
is made.

    OUTPUT/NAME/                 the bundle: what goes to the Zoo's models/
    OUTPUT/NAME_vVERSION.zip     the same, as the Zoo's releases have it
    OUTPUT/unit_tests/           what goes to the Zoo's ci/unit_tests
"""

from __future__ import annotations

import shutil
from hashlib import sha256
from pathlib import Path

from export.distribution.archive import archive
from export.distribution.layout import CHECKOUT, NAME, archive_name, contents, write_folder
from export.distribution.metadata import check
from export.distribution.zoo_place import write_unit_tests
from scripts.files import write_atomically


def package(output_dir: str | Path = "dist/package", *, checkout: str | Path = CHECKOUT) -> str:
    """Pack the bundle as the Model Zoo has it: folder, reproducible zip and unit tests.

    Args:
        output_dir: folder of all three; what an earlier run left of them is replaced.
        checkout: folder that holds `bundle` and `scripts`; by default this one.

    Example:
        python -m export package --output_dir dist/package

    Returns:
        What was written.

    Raises:
        InputError: a part is missing or too large, or the metadata are not up to date.
    """
    target = Path(output_dir)
    zipped = write_package(target, checkout=checkout)
    size, digest = zipped.stat().st_size, sha256(zipped.read_bytes()).hexdigest()
    count = sum(1 for path in (target / NAME).rglob("*") if path.is_file())
    return f"{zipped}: {count} files, {size / 1e6:.1f} MB\nSHA-256 {digest}"


def write_package(target: Path, *, checkout: str | Path = CHECKOUT) -> Path:
    """As `package`; returns the zip."""
    version = str(check(checkout)["version"])
    files = contents(checkout)
    for old in (target / NAME, target / "unit_tests"):
        if old.is_dir():
            shutil.rmtree(old)
    for old in target.glob(f"{NAME}_v*.zip"):
        old.unlink()
    write_folder(files, target / NAME)
    write_unit_tests(target / "unit_tests")
    zipped = target / archive_name(version)
    write_atomically(zipped, archive(files, base=NAME))
    return zipped
