"""What a result was made from, as one number: the run's settings, and the case's files. Equal numbers, equal results.

A file is known by its path, size and time of change; weights and graphs by their content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

DIGITS = 32  # of SHA-256


def describe_case(case: Mapping[str, Any], *, without: Collection[str] = ()) -> Iterator[bytes]:
    """A case's entries, and the state of the files that they name.

    Args:
        case: `scripts.bids`.
        without: keys whose value does not matter.
    """
    for key, value in sorted(case.items()):
        if key not in without:
            yield f"{key}={value};".encode()
        if isinstance(value, (str, Path)) and Path(value).is_file():
            state = Path(value).stat()
            yield f"{state.st_size},{state.st_mtime_ns};".encode()


def run_fingerprint(settings: Mapping[str, Any]) -> str:
    """Of all that is the same for every case of a run."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:DIGITS]


def result_fingerprint(run: str, case: Mapping[str, Any]) -> str:
    """Of one case's result.

    Args:
        run: `run_fingerprint`.
        case: with its label and name, which are part of the result.
    """
    made = hashlib.sha256(run.encode())
    for part in describe_case(case):
        made.update(part)
    return made.hexdigest()[:DIGITS]
