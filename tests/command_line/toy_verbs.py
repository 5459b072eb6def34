"""Verbs for the tests of the command line: every kind of option."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from scripts.answer import Answer
from scripts.errors import InputError, failed_check

if TYPE_CHECKING:
    from tests.command_line.toy_kinds import Shape

SIZES = ((32, 32, 32), (64, 64, 32))
COUNT = 7


def take(
    subject: str,
    dataset_dir: str | Path,
    *,
    count: int = COUNT,
    share: float = 0.5,
    common: bool = False,
    folder: Path | None = None,
    limit: int | None = None,
    how: Literal["warn", "refuse"] = "refuse",
    shape: Shape = "round",
    names: str | Sequence[str] = (),
    spatial_size: Sequence[int] | None = None,
    sizes: Sequence[Sequence[int]] = SIZES,
    filters: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Take every kind of option. It says what it was given,
    and nothing else.

    A second paragraph.

    Args:
        subject: a name, 100 % text.
        dataset_dir: a folder.
        count, limit: of things, between 1
            and many.
        share: a part.
        common: or not.
        folder: another folder.
        how: what is done.
        shape: of the thing.
        names: several: of whom.
        spatial_size: voxels.
        sizes: of several.
        filters: each a mapping.

    Example:
        python -m toy take --subject 007 \\
            --dataset_dir data/cohort

    Returns:
        What was given.
    """
    given = dict(sorted(locals().items()))
    return repr(given)


def answer(*, output: str = "out") -> Answer:
    """Answer with what was given.

    Args:
        output: a file.
    """
    print("a library's chatter")
    os.system("echo the chatter of a process")
    return Answer("for people", {"output": output, "folder": Path("a"), "none": float("nan")})


def some_failed() -> Answer:
    """Answer that a case failed."""
    return Answer("one failed", {"failed": 1}, failed=True)


def fault() -> str:
    """Find a fault in the input."""
    try:
        raise InputError("no image", expected="one", remedy="Give it.")
    except InputError as error:
        raise RuntimeError("machinery") from error


def stop() -> None:
    """Be stopped."""
    raise KeyboardInterrupt


def check() -> Answer:
    """Find something wrong."""
    raise failed_check("2 differ", expected="none", remedy="Look.", data={"differ": 2})


def much() -> str:
    """Say more than a pipe holds."""
    return "word " * 200_000


def wait() -> None:
    """Wait to be stopped."""
    print("waiting", flush=True)
    time.sleep(60)
