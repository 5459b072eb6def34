"""`etscnet.json`, the manifest of an export: all that is known here of the model. Every file is checked before it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etscnet_edge.errors import InputError
from etscnet_edge.memory import engine_bytes
from etscnet_edge.soundness import unsound

NAME = "etscnet.json"
SCHEMA = 3
REMEDY = "Export again: python -m export onnx --bundle_root bundle."


@dataclass(frozen=True)
class Manifest:
    """What the manifest says.

    Attributes:
        folder: of the export.
        said: the whole file.
    """

    folder: Path
    said: dict[str, Any]

    @property
    def modalities(self) -> list[str]:
        """The names of the image's channels, in their order."""
        return list(self.said["modalities"])

    @property
    def spatial_size(self) -> tuple[int, int, int]:
        """(x, y, z) voxels."""
        x, y, z = self.said["spatial_size"]
        return int(x), int(y), int(z)

    @property
    def limits(self) -> dict[str, Any]:
        """What a study may be: "voxel_mm", "extent_mm", "brain_ml" (lowest, highest), "centre_distance_mm", "min_squareness",
        "max_voxels", "min_contrast", "max_correlation", "max_skull_share"."""
        return dict(self.said["preprocessing"]["limits"])

    @property
    def temperature(self) -> dict[str, Any]:
        """{"temperature": T} of the calibrated probability; {"temperature": None, "reason"} where there is none."""
        none = {"temperature": None, "reason": "no temperature: an earlier export, which holds none."}
        said = self.said.get("temperature", none)
        if said.get("temperature") is None:
            return {"temperature": None, "reason": said["reason"]}
        return {"temperature": said["temperature"]}

    @property
    def reference(self) -> dict[str, Any]:
        """What the training cohort looked like, see quality.judge; {"reason"} where the export does not say it."""
        none = {"reason": "no reference: an earlier export, which does not say what the training cohort looked like."}
        return dict(self.said.get("reference", none))

    def needed_mb(self, form: str, runtime: str = "cpu") -> float:
        """What a form takes beyond the libraries when it is loaded and run, 10^6 bytes: as the export measured it on the
        processor, or estimated of a TensorRT engine."""
        entry = self.said["forms"][form]
        if runtime != "tensorrt":
            return float(entry["memory_mb"])
        return engine_bytes(self.said["inputs"]["image"]["shape"], self.said["files"][entry["file"]]["bytes"]) / 1e6

    def choose(self, name: str | None = None, *, runtime: str = "cpu", memory_mb: float | None = None) -> str:
        """The name of a form that runs on this processor.

        Args:
            name: of the form; None: the first that fits of those made for this processor, then "standard".
            runtime: that it is for.
            memory_mb: what it may take when it is loaded and run, 10^6 bytes; None: no limit.

        Raises:
            InputError: no such form, one that this processor can't run, or one that takes more memory.
        """
        forms, flags = self.said["forms"], cpu_flags()
        made_for_this = [key for key, form in forms.items() if form["cpu_flag"] and runs_on(form, flags)]
        candidates = [name] if name else [*made_for_this, "standard"]
        if candidates[-1] not in forms:
            raise InputError(
                f"no form {candidates[-1]!r}",
                expected=f"one of {list(forms)}",
                remedy="Correct --form.",
                file=self.folder / NAME,
            )
        if not runs_on(forms[candidates[-1]], flags):
            raise InputError(
                f"the form {name} is for {forms[name]['meant_for']}",
                expected="a form for this processor",
                remedy="Take --form standard.",
                file=self.folder / forms[name]["file"],
            )
        if memory_mb is None:
            return candidates[0]
        needed = {key: self.needed_mb(key, runtime) for key in candidates}
        for key, needs in needed.items():
            if needs <= memory_mb:
                return key
        raise InputError(
            f"the model takes {', '.join(f'{needs:.0f} MB ({key})' for key, needs in needed.items())}",
            expected=f"at most {memory_mb:.0f} MB, which the budget leaves for it",
            remedy="Give more --memory_mb, or export with --lean.",
        )

    def file(self, name: str) -> Path:
        """A file of the export, its hash checked.

        Raises:
            InputError: it is missing, not one of the export's, or was changed.
        """
        path = self._path(name)
        self._check(path, sha256(path))
        return path

    def content(self, name: str) -> bytes:
        """The bytes of a file of the export, their hash checked: what is loaded is what was checked.

        Raises:
            InputError: as `file`.
        """
        path = self._path(name)
        content = path.read_bytes()
        self._check(path, hashlib.sha256(content).hexdigest())
        return content

    def _path(self, name: str) -> Path:
        path = self.folder / name
        if name not in self.said["files"] or Path(name).name != name:
            raise InputError(f"{name!r} is no file of this export", expected="a file of the manifest", remedy=REMEDY)
        if not path.is_file():
            expected = f"SHA-256 {self.said['files'][name]['sha256']}"
            raise InputError("the file is missing", expected=expected, remedy=REMEDY, file=path)
        return path

    def _check(self, path: Path, found: str) -> None:
        expected = self.said["files"][path.name]["sha256"]
        if found != expected:
            said = f"not the file that was exported (SHA-256 {found})"
            raise InputError(said, expected=expected, remedy=REMEDY, file=path)


def read_manifest(folder: str | Path, *, for_timing: bool = False) -> Manifest:
    """The manifest in an export's folder.

    Args:
        folder: of the export.
        for_timing: take one of another size than the weights', whose scores mean nothing, too.

    Raises:
        InputError: no manifest, not JSON, of another schema, or of an export for timing alone.
    """
    path = Path(folder) / NAME
    try:
        said = json.loads(path.read_text())
    except OSError as error:
        raise InputError(
            f"no manifest ({error.strerror})", expected=NAME, remedy="Correct --exports.", file=path
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", expected="a manifest", remedy=REMEDY, file=path) from error
    schema = said.get("schema") if isinstance(said, dict) else None
    if schema != SCHEMA:
        older = "Update etscnet-edge." if isinstance(schema, int) and schema > SCHEMA else REMEDY
        raise InputError(f"a manifest of schema {schema}", expected=f"schema {SCHEMA}", remedy=older, file=path)
    if fault := unsound(said):
        raise InputError(f"a manifest with {fault}", expected="what an export writes", remedy=REMEDY, file=path)
    if said["for_timing_only"] and not for_timing:
        raise InputError("an export for timing alone", expected="the size of the training", remedy=REMEDY, file=path)
    return Manifest(Path(folder), said)


def sha256(path: Path) -> str:
    """In hexadecimal digits; read in pieces, so that no file is held whole."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def runs_on(form: Mapping[str, Any], flags: set[str]) -> bool:
    """Whether a processor with these flags runs the form."""
    return (not form["cpu_flag"] or form["cpu_flag"] in flags) and form["without_flag"] not in flags


def cpu_flags() -> set[str]:
    """What the processor says that it has, from /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    said = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(said.partition(":")[2].split())
