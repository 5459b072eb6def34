"""An exported graph in the place of the network: `run inference` with the overlay `inference_onnx.json` scores on ONNX Runtime.

The export's manifest, `etscnet.json`, gives the graph's file and hash, the modalities, the grid, fusion weights and threshold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scripts.checkpoint import sha256
from scripts.errors import InputError
from scripts.network import ETSCNet

REMEDY = "Export again: python -m export onnx --bundle_root bundle."


class ExportedNetwork(ETSCNet):
    """Scores images as ETSCNet does, by an ONNX graph on the CPU: image (B, M, x, y, z) -> pred (B, 1) or logits (B, M).

    Args:
        manifest: etscnet.json; the graph lies beside it.
        checkpoint: the weights that the graph must come from.
        form: of the manifest's forms.
        threads: of ONNX Runtime; 0 takes its default, one a core.

    Raises:
        InputError: no such manifest, form or file, a file that was changed, a graph of other weights, or one made for timing.
    """

    def __init__(
        self, manifest: str | Path, *, checkpoint: str | Path, form: str = "standard", threads: int = 0
    ) -> None:
        said, file = _graph(Path(manifest), Path(checkpoint), form)
        super().__init__(said["modalities"], nn.Identity)  # the branches are in the graph
        self.fusion_weights.copy_(torch.tensor(said["fusion_weights"]))
        self.threshold.fill_(said["threshold"])
        self.spatial_size.copy_(torch.tensor(said["spatial_size"]))
        self._session = _session(file, threads)

    def forward(self, image: Tensor, return_logits: bool = False) -> Tensor:
        """image (B, M, x, y, z) -> pred (B, 1); with `return_logits` the branches' logits (B, M), from their scores."""
        scores = [
            torch.from_numpy(self._session.run(["branch_scores"], {"image": one[None].cpu().numpy()})[0])
            for one in image.float()
        ]
        logits = torch.logit(torch.cat(scores), eps=1e-7).to(image.device)  # float32 scores of 0 and 1 have no logit
        return logits if return_logits else self.fuse(logits)


def _graph(manifest: Path, checkpoint: Path, form: str) -> tuple[dict[str, Any], Path]:
    """The manifest and the checked file of the form."""
    try:
        said = json.loads(manifest.read_text())
        entry = said["forms"][form]
        file, expected = manifest.parent / entry["file"], said["files"][entry["file"]]["sha256"]
        weights, timing = said["origin"]["sha256"], said["for_timing_only"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"no export with the form {form!r} ({type(error).__name__}: {error})",
            expected="etscnet.json beside its files",
            remedy=REMEDY,
            file=manifest,
        ) from error
    if not file.is_file() or sha256(file) != expected:
        raise InputError("not the file that was exported", expected=f"SHA-256 {expected}", remedy=REMEDY, file=file)
    if weights != sha256(checkpoint):
        raise InputError(
            "an export of other weights", expected=f"weights of {checkpoint}", remedy=REMEDY, file=manifest
        )
    if timing:
        raise InputError(
            "an export for timing alone", expected="the size of the training", remedy=REMEDY, file=manifest
        )
    return said, file


def _session(file: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "no ONNX Runtime", expected="the package onnxruntime", remedy="pip install onnxruntime", file=file
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = options.enable_mem_reuse = False  # much less memory: see export/session.py
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
