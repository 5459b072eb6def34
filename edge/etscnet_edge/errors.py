"""What is said when an input is at fault: which file, what was found, what was expected, what to do."""

from __future__ import annotations

from pathlib import Path


class InputError(ValueError):
    """A fault in the input. No score is produced from such an input.

    Args:
        found: what is wrong, as a fact.
        expected: what would have been right.
        remedy: what the user can do about it.
        file: the file at fault; None where there is none.
    """

    def __init__(self, found: str, *, expected: str, remedy: str, file: str | Path | None = None) -> None:
        where = f"file {file}: " if file else ""
        super().__init__(f"{where}{found}; expected {expected}. {remedy}")
        self.file = None if file is None else str(file)
