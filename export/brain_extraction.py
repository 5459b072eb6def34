"""`python -m export brain-extraction`: the network of an HD-BET (nnU-Net v2) model folder as ONNX, for devices without torch.

Writes `brain_extraction.onnx` and `brain_extraction.json`, the manifest: all that nnU-Net's predictor takes from the plan, in
words that `etscnet_edge.brain_extraction` follows. The export fails, and leaves nothing new behind, where ONNX Runtime decides
otherwise than torch.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from export.brain_memory import graph_memory
from export.brain_parity import MAX_DECIDED_OTHERWISE, BrainParity, prove_brain
from export.nnunet import ModelFolder, read_model_folder, resampling_of
from export.to_onnx import check
from export.unet_graph import unet_graph
from scripts.brain_extraction import quality
from scripts.errors import InputError
from scripts.files import sha256, write_atomically
from scripts.outcome import RESEARCH_ONLY

MANIFEST = "brain_extraction.json"
GRAPH = "brain_extraction.onnx"
SCHEMA = 2
PACKAGES = ("torch", "onnx", "onnxruntime", "numpy")
ZYX = (2, 1, 0)  # nnU-Net's readers give (z, y, x); the image's axes are (x, y, z)


def export_brain_extraction(
    hd_bet_weights: str | Path,
    output_dir: str | Path = "exports",
    *,
    trust: str | None = None,
    hd_bet_mirroring: bool = False,
    largest_part: bool = True,
    images: str | Sequence[str] = (),
) -> str:
    """Write HD-BET's network as ONNX, proven against torch: brain_extraction.onnx and brain_extraction.json.

    Args:
        hd_bet_weights: model folder; holds plans.json, dataset.json and fold_all/checkpoint_final.pth, as HD-BET's
            release_2.0.0 does.
        output_dir: folder of the files, beside those of `python -m export onnx`; a failed export leaves what was there.
        trust: the SHA-256 of a checkpoint that torch can't read as plain weights; it is then unpickled, which runs its code.
        hd_bet_mirroring: average over mirrored patches (test-time augmentation): eight times the time.
        largest_part: keep the largest connected part alone, which HD-BET does not do.
        images: NIfTI files, whose patches are compared beside seeded ones.

    Example:
        python -m export brain-extraction --hd_bet_weights hd-bet_params/release_2.0.0 --output_dir exports

    Returns:
        What was written and how close it is to torch.

    Raises:
        InputError: a folder that is not HD-BET's kind, weights that are not the plan's, decisions that differ from torch's.
    """
    model = read_model_folder(hd_bet_weights, trust=None if trust is None else str(trust))
    patch = [int(edge) for edge in model.configuration["patch_size"]]
    files = [images] if isinstance(images, str) else [str(path) for path in images]
    target = Path(output_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        staging = Path(folder)
        notes = f"{RESEARCH_ONLY} Weights: checkpoint of SHA-256 {model.source['checkpoint']['sha256']}."
        graph = unet_graph(model.network, patch, notes=notes)
        check(graph)
        onnx.save(graph, staging / GRAPH)
        parity = prove_brain(model, staging / GRAPH, images=files)
        if not parity:
            raise InputError(
                f"an export that decides otherwise than torch ({parity.line()})",
                expected=f"at most {MAX_DECIDED_OTHERWISE:g} of the voxels",
                remedy="Nothing was written. Report it.",
                file=Path(hd_bet_weights),
            )
        said = manifest(model, parity, staging, mirror=hd_bet_mirroring, largest_part=largest_part)
        write_atomically(staging / MANIFEST, json.dumps(said, indent=1) + "\n")
        target.mkdir(exist_ok=True)
        for name in (GRAPH, MANIFEST):  # the manifest last
            shutil.move(staging / name, target / name)
    return f"{parity.line()}\n{GRAPH} and {MANIFEST} written to {target}"


def manifest(
    model: ModelFolder, parity: BrainParity, folder: Path, *, mirror: bool, largest_part: bool
) -> dict[str, Any]:
    """What `brain_extraction.json` says of the graph in the folder."""
    given, graph = model.configuration, folder / GRAPH
    data, logits = (resampling_of(given, f"resampling_fn_{kind}") for kind in ("data", "probabilities"))
    patch = [int(edge) for edge in given["patch_size"]]
    return {
        "schema": SCHEMA,
        "name": "brain extraction",
        "intended_use": RESEARCH_ONLY,
        "warnings": warnings(model, largest_part=largest_part),
        "network": {
            "file": GRAPH,
            "patch_size": patch,
            "parameters": sum(weight.numel() for weight in model.network.parameters()),
            "memory_mb": graph_memory(graph, [1, 1, *patch]),
        },
        "orientation": "RAS",
        "axes": [ZYX[axis] for axis in model.transpose],
        "spacing": [float(edge) for edge in given["spacing"]],
        "normalisation": {
            "scheme": "ZScoreNormalization",
            "use_mask": bool(given["use_mask_for_norm"][0]),
            "epsilon": 1e-8,
        },
        "resampling": {
            "data": {key: data[key] for key in ("order", "order_z", "separate")},
            "logits": {key: logits[key] for key in ("order", "order_z", "separate")},
            "anisotropy": data["anisotropy"],
        },
        "tiling": {"step": 0.5, "gaussian_sigma": 0.125, "gaussian_peak": 10},
        "mirror_axes": list(model.mirror_axes) if mirror else [],
        "classes": {"0": "background", "1": "brain"},
        "largest_part": largest_part,
        "gate": {
            "min_largest": quality.MIN_LARGEST,
            "max_border": quality.MAX_BORDER,
            "max_below": quality.MAX_BELOW,
            "min_overlap": quality.MIN_OVERLAP,
        },
        "files": {GRAPH: {"sha256": sha256(graph), "bytes": graph.stat().st_size}},
        "source": model.source,
        "parity": parity.to_dict(),
        "made_with": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }


def warnings(model: ModelFolder, *, largest_part: bool) -> list[str]:
    """What a reader of a result must know of its masks."""
    digest = model.source["checkpoint"]["sha256"]
    said = [
        f"Brain masks by {model.source['dataset']} (checkpoint {digest[:12]}), whose training this export can't vouch for."
    ]
    if largest_part:
        said.append("Of each mask the largest connected part was kept, which HD-BET does not do.")
    return said
