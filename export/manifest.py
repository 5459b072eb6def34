"""`etscnet.json`, the manifest: all that a device knows of the model. The export writes it and nothing else does.

Every file of the export stands in it with its SHA-256, the manifest excepted, and parity.json, which is written after it.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from export.bundle import TrainedBundle
from export.forms import Form
from export.memory import form_memory
from export.preprocess_graph import parameters
from scripts.checkpoint import model_version, origin_warning
from scripts.errors import InputError
from scripts.files import sha256, write_atomically
from scripts.likeness.reference import NONE_WRITTEN as NO_REFERENCE
from scripts.outcome import OUTCOMES
from scripts.stats.temperature import NONE_WRITTEN as NO_TEMPERATURE

MANIFEST = "etscnet.json"
SCHEMA = 3
TOLERANCE = {"float32": 1e-5, "float16": 1e-3}  # of a score, by precision
PACKAGES = ("torch", "monai", "onnx", "onnxscript", "onnxruntime", "numpy")


def write_manifest(
    bundle: TrainedBundle, forms: Mapping[str, Form], folder: Path, *, spatial_size: Sequence[int]
) -> dict[str, Any]:
    """Write `etscnet.json` for the files in the folder; returns what it says."""
    network, origin = bundle.network, bundle.origin
    modalities = list(network.modalities)
    memory = form_memory(forms, folder, shape=(1, len(modalities), *spatial_size))
    for_timing = tuple(spatial_size) != bundle.spatial_size
    manifest = {
        "schema": SCHEMA,
        "name": "eTSC-Net",
        "version": model_version(bundle.weights, bundle.version),
        "intended_use": bundle.intended_use,
        "warnings": [
            *filter(None, [origin_warning(bundle.weights)]),
            *[f"The weights were trained at {list(bundle.spatial_size)}: this export is for timing alone."]
            * for_timing,
        ],
        "for_timing_only": for_timing,
        "modalities": modalities,
        "spatial_size": list(spatial_size),
        "inputs": {"image": {"shape": [1, len(modalities), *spatial_size], "dtype": "float32", "range": [0.0, 1.0]}},
        "outputs": {
            "pred": {"shape": [1, 1], "dtype": "float32"},
            "branch_scores": {"shape": [1, len(modalities)], "dtype": "float32"},
        },
        "preprocessing": {"file": "preprocess.onnx", **parameters(bundle.preprocessing, spatial_size=spatial_size)},
        "fusion_weights": [float(weight) for weight in network.fusion_weights],
        "threshold": float(network.threshold),
        "chosen_on_validation": {name: origin.get(name) for name in ("fusion", "threshold")},
        "temperature": origin.get("temperature") or {"temperature": None, "reason": NO_TEMPERATURE},
        "reference": _reference(origin, for_timing=for_timing),
        "labels": {str(label): outcome for label, outcome in enumerate(OUTCOMES)},
        "forms": {
            name: {
                "file": form.file,
                "precision": form.precision,
                "meant_for": form.meant_for,
                "cpu_flag": form.cpu_flag,
                "without_flag": form.without_flag,
                "tolerance": TOLERANCE[form.precision],
                "memory_mb": memory[name],
            }
            for name, form in forms.items()
        },
        "golden": "golden.npz",
        "files": {
            path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in sorted(folder.iterdir())
            if path.is_file() and path.suffix in (".onnx", ".npz")
        },
        "origin": {
            name: origin.get(name) for name in ("sha256", "data", "settings", "epochs", "best_epochs", "made_with")
        },
        "made_with": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    write_atomically(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def _reference(origin: Mapping[str, Any], *, for_timing: bool) -> dict[str, Any]:
    """What the training cohort looked like but for the features, which an exported graph does not give; or why it is not said."""
    if for_timing:
        return {"reason": "no reference: the weights were trained at another size."}
    said = origin.get("reference")
    return {key: value for key, value in said.items() if key != "features"} if said else {"reason": NO_REFERENCE}


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of an export, every file of it checked.

    Raises:
        InputError: no manifest, one of another schema, or a file that is missing or not the one that was exported.
    """
    path, remedy = Path(folder) / MANIFEST, "Export again: python -m export onnx --bundle_root bundle."
    if not path.is_file():
        raise InputError("no manifest", expected=f"{MANIFEST} of an export", remedy=remedy, file=path)
    try:
        manifest = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"not JSON ({error})", expected="a manifest", remedy=remedy, file=path) from error
    found = manifest.get("schema") if isinstance(manifest, dict) else None
    if found != SCHEMA:
        raise InputError(f"a manifest of schema {found}", expected=f"schema {SCHEMA}", remedy=remedy, file=path)
    for name, entry in manifest["files"].items():
        file = path.parent / name
        if not file.is_file() or sha256(file) != entry["sha256"]:
            said = "is missing" if not file.is_file() else "is not the file that was exported"
            raise InputError(f"{name} {said}", expected=f"SHA-256 {entry['sha256']}", remedy=remedy, file=file)
    return dict(manifest)
