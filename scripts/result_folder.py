"""The folder of a run over studies: what an earlier run left there is kept where this one would write the same, and nowhere else.

CASE.json is written last of a study's files, and says by its `fingerprint` what it was made from. No torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.files import write_atomically
from scripts.fingerprint import result_fingerprint
from scripts.prediction_table import TABLES


class ResultFolder:
    """Results by case.

    Args:
        path: the folder.
        run: `fingerprint.run_fingerprint` of the run that writes here.
        pictures: whether a result is whole only with its picture.
    """

    def __init__(self, path: str | Path, run: str, *, pictures: bool) -> None:
        self.path, self.run, self.pictures = Path(path), run, pictures
        self.fingerprints: dict[str, str] = {}  # case -> of its result
        self._tables_are_there = True

    def find(self, cases: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """case -> the result that is there already and is this run's. The cases' files are looked at now."""
        self.fingerprints = {str(case["case"]): result_fingerprint(self.run, case) for case in cases}
        found = {name: self._read(name) for name in self.fingerprints}
        return {
            name: result
            for name, result in found.items()
            if result.get("fingerprint") == self.fingerprints[name]
            and (not self.pictures or self._file(name, ".png").is_file())
        }

    def older(self) -> int:
        """How many of the cases have a result of other weights, settings or files."""
        found = [(self._read(name), made) for name, made in self.fingerprints.items()]
        return sum(bool(said) and said.get("fingerprint") != made for said, made in found)

    def write(self, result: Mapping[str, Any]) -> None:
        """Write a case's result, with its fingerprint; the tables that knew nothing of it go first."""
        name = result["case"]
        if self._tables_are_there:
            for table in TABLES:
                (self.path / table).unlink(missing_ok=True)
            self._tables_are_there = False
        self._file(name, "_refused.png").unlink(missing_ok=True)
        write_atomically(self._file(name, ".json"), json.dumps(result, indent=2) + "\n")

    def drop(self, name: str) -> None:
        """Of a case that failed, an earlier run's result."""
        if self._read(name):
            self._file(name, ".json").unlink(missing_ok=True)
            self._file(name, ".png").unlink(missing_ok=True)

    def _read(self, name: str) -> dict[str, Any]:
        """A result; empty where there is none, or none of ours."""
        try:
            said = json.loads(self._file(name, ".json").read_text())
        except (OSError, ValueError):
            return {}
        return said if isinstance(said, dict) and said.get("case") == name and "score" in said else {}

    def _file(self, name: str, ending: str) -> Path:
        return self.path / f"{name}{ending}"
