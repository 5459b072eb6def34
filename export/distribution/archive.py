"""A zip that is the same bytes wherever it is made, of files that are given by name.

Names sorted, one date, one mode, one system, no extra fields, no folders, and stored: compressed bytes depend on the zlib that
made them, and of this bundle all but a tenth are weights, which do not shrink.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
MODE = 0o100644  # a plain file, readable by all
UNIX = 3


def archive(files: Mapping[str, bytes], *, base: str) -> bytes:
    """The zip of files.

    Args:
        files: content by name, with "/" between folders.
        base: the folder that holds all of them in the archive.
    """
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as made:
        for name in sorted(files):
            entry = zipfile.ZipInfo(f"{base}/{name}", DATE)
            entry.create_system, entry.external_attr = UNIX, MODE << 16
            made.writestr(entry, files[name])
    return target.getvalue()
