"""Which commit a release is made from."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from scripts.errors import InputError


@dataclass(frozen=True)
class Commit:
    """The checkout's commit.

    Attributes:
        digest: 40 hexadecimal digits.
        made: when.
        changed: files that differ from it, or are not in it.
    """

    digest: str
    made: datetime
    changed: tuple[str, ...]


def commit_of(checkout: str | Path) -> Commit:
    """The commit that a checkout stands at.

    Raises:
        InputError: it is no git checkout.
    """
    digest, made = _git(checkout, "log", "-1", "--format=%H %cI").split()
    status = _git(checkout, "status", "--porcelain", "--untracked-files=all")
    changed = tuple(line[3:] for line in status.splitlines())
    return Commit(digest, datetime.fromisoformat(made), changed)


def _git(checkout: str | Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        remedy = "Release from a clone of the repository."
        raise InputError("no git checkout", expected="a commit", remedy=remedy, file=checkout) from error
