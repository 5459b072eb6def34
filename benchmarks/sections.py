"""A record of several commands: each writes its own section, the others stay."""

from __future__ import annotations

import re
from pathlib import Path

from scripts.files import write_atomically


def write_section(path: Path, title: str, text: str) -> None:
    """Put the text under the heading `## title`, in the place of what is there, or at the end.

    Raises:
        ValueError: the record does not exist.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected the record, with its introduction.")
    before, *sections = re.split(r"(?m)^(?=## )", path.read_text())
    new = f"## {title}\n\n{text}"
    places = [number for number, section in enumerate(sections) if section.startswith(f"## {title}\n")]
    sections = [new if number in places else section for number, section in enumerate(sections)]
    parts = [before, *sections, *([] if places else [new])]
    write_atomically(path, "\n\n".join(part.strip() for part in parts) + "\n")
