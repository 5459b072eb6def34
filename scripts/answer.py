"""What a verb has to say: the same for people and for machines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What a verb has to say.

    Attributes:
        text: for people.
        data: the same for machines: what JSON can hold, and paths. Printed on `--json`.
        failed: some cases failed; the exit status is 1.
    """

    text: str
    data: Mapping[str, Any]
    failed: bool = False

    def __str__(self) -> str:
        return self.text

    def to_json(self) -> str:
        """One JSON object; numbers that JSON lacks (NaN, infinity) are null."""
        return as_json(self.data)


def as_json(data: Mapping[str, Any]) -> str:
    """JSON of mappings, sequences, paths, and numbers; those that JSON lacks are null."""
    return json.dumps(_plain(data), indent=1, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
