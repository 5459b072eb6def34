"""An exported file in the place of the network, for `run inference`: an ONNX graph by the overlay `inference_onnx.json`, a
TensorRT engine by `inference_trt.json`.

The export's manifest, `etscnet.json`, gives the file and its hash, the modalities, the grid, fusion weights and threshold.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scripts.errors import InputError
from scripts.files import sha256
from scripts.network import ETSCNet
from scripts.tensorrt_engine import REMEDY as BUILD_AGAIN
from scripts.tensorrt_engine import Engine, load_library

NEEDED = ("modalities", "spatial_size", "fusion_weights", "threshold", "forms", "files")
REMEDY = "Export again: python -m export onnx --bundle_root bundle."


class ExportedNetwork(ETSCNet):
    """Scores images as ETSCNet does, from the manifest's file: image (B, M, x, y, z) -> pred (B, 1) or logits (B, M).

    A subclass gives `_branch_scores`.

    Args:
        said: what the manifest says.

    Attributes:
        file_sha256: of the file that scores.
    """

    file_sha256: str

    def __init__(self, said: dict[str, Any]) -> None:
        super().__init__(said["modalities"], nn.Identity)  # the branches are in the file
        self.fusion_weights.copy_(torch.tensor(said["fusion_weights"]))
        self.threshold.fill_(said["threshold"])
        self.spatial_size.copy_(torch.tensor(said["spatial_size"]))

    def forward(self, image: Tensor, return_logits: bool = False) -> Tensor:
        """image (B, M, x, y, z) -> pred (B, 1); with `return_logits` the branches' logits (B, M), from their scores."""
        scores = torch.cat([self._branch_scores(one[None].contiguous()) for one in image.float()])
        logits = torch.logit(scores, eps=1e-7).to(image.device)  # float32 scores of 0 and 1 have no logit
        return logits if return_logits else self.fuse(logits)

    def _branch_scores(self, image: Tensor) -> Tensor:
        """image (1, M, x, y, z) float32 -> (1, M)."""
        raise NotImplementedError


class GraphNetwork(ExportedNetwork):
    """The ONNX graph, on ONNX Runtime and the CPU.

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
        said = _manifest(Path(manifest), Path(checkpoint))
        super().__init__(said)
        file = _checked(Path(manifest), said, "forms", form, remedy=REMEDY)
        self.file_sha256 = said["files"][file.name]["sha256"]
        try:
            from scripts.onnx_session import Session  # a machine that scores with an engine may have no ONNX Runtime
        except ImportError as error:
            raise InputError(
                "no ONNX Runtime", expected="the package onnxruntime", remedy="pip install onnxruntime", file=file
            ) from error
        self._session = Session(file, threads=threads)

    def _branch_scores(self, image: Tensor) -> Tensor:
        _, branch_scores = self._session.run(image.cpu().numpy())
        return torch.from_numpy(branch_scores)


class EngineNetwork(ExportedNetwork):
    """The TensorRT engine, on the GPU that it was built on.

    Args:
        manifest: etscnet.json; the engine lies beside it.
        checkpoint: the weights that the engine must come from.
        engine: its file's name.
        device: torch's; a GPU.

    Raises:
        InputError: what GraphNetwork raises, and no GPU, no TensorRT or another version than the engine's, an engine of an
            earlier export, or one that does not load here.
    """

    def __init__(
        self,
        manifest: str | Path,
        *,
        checkpoint: str | Path,
        engine: str = "etscnet.engine",
        device: torch.device | str = "cuda",
    ) -> None:
        said = _manifest(Path(manifest), Path(checkpoint))
        super().__init__(said)
        file = _checked(Path(manifest), said, "engines", engine, remedy=BUILD_AGAIN)
        built = said["engines"][engine]
        graph = said["files"].get(said["forms"].get(built["form"], {}).get("file"), {}).get("sha256")
        if built["onnx_sha256"] != graph:
            raise InputError("an engine of an earlier export", expected=graph, remedy=BUILD_AGAIN, file=file)
        if torch.device(device).type != "cuda" or not torch.cuda.is_available():
            raise InputError(
                f"no NVIDIA GPU for the engine (device {device})",
                expected=f"the one that it was built for, {built['gpu'] or built['compute_capability']}",
                remedy="Run it there, or score with inference_onnx.json or without an overlay.",
                file=file,
            )
        library = built["target"].replace("-", "_")
        installed = load_library(library).__version__
        if installed != built["version"]:
            raise InputError(
                f"an engine of {library} {built['version']}", expected=installed, remedy=BUILD_AGAIN, file=file
            )
        self.file_sha256 = said["files"][file.name]["sha256"]
        self._engine = Engine(file, library=library, device=device)

    def _branch_scores(self, image: Tensor) -> Tensor:
        return self._engine.run({"image": image.to(self._engine.device)})["branch_scores"].clone()


def _manifest(path: Path, checkpoint: Path) -> dict[str, Any]:
    """What it says, of these weights and not for timing."""
    try:
        said: dict[str, Any] = json.loads(path.read_text())
        weights, timing, *_ = said["origin"]["sha256"], said["for_timing_only"], *(said[key] for key in NEEDED)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InputError(
            f"no export ({type(error).__name__}: {error})",
            expected="etscnet.json beside its files",
            remedy=REMEDY,
            file=path,
        ) from error
    if weights != sha256(checkpoint):
        raise InputError("an export of other weights", expected=f"weights of {checkpoint}", remedy=REMEDY, file=path)
    if timing:
        raise InputError("an export for timing alone", expected="the size of the training", remedy=REMEDY, file=path)
    return said


def _checked(manifest: Path, said: dict[str, Any], kind: str, name: str, *, remedy: str) -> Path:
    """The file of a form or an engine, with the hash that the manifest says."""
    entries = said.get(kind, {})
    if name not in entries:
        raise InputError(
            f"{name!r} is not among the export's {kind}",
            expected=f"one of {list(entries)}",
            remedy=remedy,
            file=manifest,
        )
    file = manifest.parent / str(entries[name]["file"])
    expected = said["files"].get(file.name, {}).get("sha256")
    if not file.is_file() or sha256(file) != expected:
        raise InputError("not the file that was exported", expected=f"SHA-256 {expected}", remedy=remedy, file=file)
    return file
