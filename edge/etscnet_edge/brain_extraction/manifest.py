"""`brain_extraction.json`, the manifest of an exported brain extraction: all that is known here of its network."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etscnet_edge.brain_extraction.resampling import Resampling
from etscnet_edge.errors import InputError

NAME = "brain_extraction.json"
SCHEMA = 2
REMEDY = "Export again: python -m export brain-extraction --hd_bet_weights DIR."
Holds = Callable[[Any], bool]


@dataclass(frozen=True)
class BrainManifest:
    """What the manifest says.

    Attributes:
        folder: of the export.
        said: the whole file.
    """

    folder: Path
    said: dict[str, Any]

    @property
    def patch(self) -> tuple[int, int, int]:
        """The network's input, in its axes."""
        a, b, c = self.said["network"]["patch_size"]
        return int(a), int(b), int(c)

    @property
    def axes(self) -> tuple[int, int, int]:
        """Which axis of the image (x, y, z) each axis of the network is."""
        a, b, c = self.said["axes"]
        return int(a), int(b), int(c)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """mm, in the network's axes."""
        a, b, c = self.said["spacing"]
        return float(a), float(b), float(c)

    @property
    def file(self) -> str:
        """The network's."""
        return str(self.said["network"]["file"])

    @property
    def gate(self) -> dict[str, float]:
        """What a mask may be: "min_largest", the share in its largest part; "max_border", "max_below", of the largest
        cross-section on a side of the field of view, on its bottom; "min_overlap", Dice of two masks of one head."""
        return {name: float(value) for name, value in self.said["gate"].items()}

    def resampling(self, kind: str) -> Resampling:
        """Of the "data" or the "logits"."""
        how = self.said["resampling"][kind]
        return Resampling(how["order"], how["separate"], float(self.said["resampling"]["anisotropy"]))

    def content(self) -> bytes:
        """The network's bytes, their hash checked: what is loaded is what was checked.

        Raises:
            InputError: the file is missing or was changed.
        """
        path, entry = self.folder / self.file, self.said["files"][self.file]
        if not path.is_file():
            raise InputError("the file is missing", expected=f"SHA-256 {entry['sha256']}", remedy=REMEDY, file=path)
        content = path.read_bytes()
        if (found := hashlib.sha256(content).hexdigest()) != entry["sha256"]:
            found = f"not the file that was exported (SHA-256 {found})"
            raise InputError(found, expected=entry["sha256"], remedy=REMEDY, file=path)
        return content


def read_brain_manifest(folder: str | Path) -> BrainManifest:
    """The manifest in an export's folder.

    Raises:
        InputError: none there, not JSON, of another schema, or with values that can't be.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise InputError(
            "no brain extraction in the exports",
            expected=NAME,
            remedy="python -m export brain-extraction --hd_bet_weights DIR writes it; or give masks, or brain-extracted images.",
            file=path,
        )
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", expected="a manifest", remedy=REMEDY, file=path) from error
    schema = said.get("schema") if isinstance(said, dict) else None
    if schema != SCHEMA:
        older = "Update etscnet-edge." if isinstance(schema, int) and schema > SCHEMA else REMEDY
        raise InputError(f"a manifest of schema {schema}", expected=f"schema {SCHEMA}", remedy=older, file=path)
    for key, holds in KEYS.items():
        if not holds(value := _value(said, key)):
            found = f"no {key}" if value is None else f"{key} {value!r:.200}"
            raise InputError(f"a manifest with {found}", expected="what an export writes", remedy=REMEDY, file=path)
    file = said["network"]["file"]
    entry = said["files"].get(file)
    if Path(file).name != file or not isinstance(entry, dict) or len(str(entry.get("sha256"))) != 64:
        found = f"a manifest whose network {file!r:.200} is no file of it"
        raise InputError(found, expected="what an export writes", remedy=REMEDY, file=path)
    return BrainManifest(Path(folder), said)


def _value(said: dict[str, Any], key: str) -> Any:
    value: Any = said
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _above_0(value: Any) -> bool:
    return _number(value) and value > 0


def _share(value: Any) -> bool:
    return _number(value) and 0 < value <= 1


def _is_one_of(*known: Any) -> Holds:
    return lambda value: any(type(value) is type(one) and value == one for one in known)


def _three(holds: Holds) -> Holds:
    return lambda value: isinstance(value, list) and len(value) == 3 and all(map(holds, value))


def _patch_edge(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1024


def _axes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(axis, int) and 0 <= axis < 3 for axis in value)


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


KEYS: dict[str, Holds] = {
    "network.file": _text,
    "network.patch_size": _three(_patch_edge),
    "network.memory_mb": _above_0,
    "orientation": _is_one_of("RAS"),
    "axes": lambda value: _axes(value) and sorted(value) == [0, 1, 2],
    "spacing": _three(_above_0),
    "normalisation.scheme": _is_one_of("ZScoreNormalization"),
    "normalisation.use_mask": _is_one_of(True, False),
    "normalisation.epsilon": _above_0,
    "resampling.anisotropy": _above_0,
    **{f"resampling.{kind}.order": _is_one_of(1, 3) for kind in ("data", "logits")},
    **{f"resampling.{kind}.order_z": _is_one_of(0) for kind in ("data", "logits")},
    **{f"resampling.{kind}.separate": _is_one_of(True, False, None) for kind in ("data", "logits")},
    "tiling.step": _share,
    "tiling.gaussian_sigma": _above_0,
    "tiling.gaussian_peak": lambda value: _number(value) and 0 < value <= 1000,
    "mirror_axes": lambda value: _axes(value) and len(set(value)) == len(value),
    "classes": _is_one_of({"0": "background", "1": "brain"}),
    "largest_part": _is_one_of(True, False),
    **{f"gate.{name}": _share for name in ("min_largest", "max_border", "max_below", "min_overlap")},
    "source.checkpoint.sha256": lambda value: _text(value) and len(value) == 64,
    "warnings": lambda value: isinstance(value, list) and all(map(_text, value)),
    "files": lambda value: isinstance(value, dict),
}
