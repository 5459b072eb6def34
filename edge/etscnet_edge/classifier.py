"""A pair of NIfTI files -> the score that seizures will be controlled, with everything that a reader of it must know."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge import __version__
from etscnet_edge.errors import InputError
from etscnet_edge.manifest import read_manifest
from etscnet_edge.nifti import Volume
from etscnet_edge.runtimes import OnnxSession, float32
from etscnet_edge.study import check_brain, read_mask, read_study


@dataclass(frozen=True)
class Prediction:
    """One study's result.

    Attributes:
        score: fused, 0 to 1, that seizures will be controlled.
        branch_scores: modality -> its own.
        decision: the label from the threshold on.
        threshold: of the decision.
        files: what was scored, modality -> path; masks as "<modality>_mask".
        model: version, form, file, SHA-256, runtime, threads.
        milliseconds: by stage: "load" of the model, "read" with all checks, "preprocess", "network".
        peak_memory_mb: the most resident memory that the process has had, 10^6 bytes; None where the system doesn't tell.
        warnings: the intended use, and what the manifest says of the weights.
    """

    score: float
    branch_scores: dict[str, float]
    decision: str
    threshold: float
    files: dict[str, str]
    model: dict[str, Any]
    milliseconds: dict[str, float]
    peak_memory_mb: float | None
    warnings: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


class Classifier:
    """The exported model, loaded once. A context manager.

    Args:
        exports: the folder of etscnet.json.
        form: of the manifest's; None: the one for this processor.
        threads: of ONNX Runtime.

    Raises:
        InputError: files that are not those of the export, a form that does not run here, or no ONNX Runtime.
    """

    def __init__(self, exports: str | Path, *, form: str | None = None, threads: int = 2) -> None:
        start = time.perf_counter()
        self.manifest = read_manifest(exports)
        name, file = self.manifest.form(form)
        self._network = OnnxSession(file, threads=threads)
        self._preprocess = OnnxSession(self.manifest.file(self.manifest.said["preprocessing"]["file"]), threads=1)
        self.load_ms = _since(start)
        self.model = {
            "version": self.manifest.said["version"],
            "form": name,
            "file": file.name,
            "sha256": self.manifest.said["files"][file.name]["sha256"],
            "runtime": f"onnxruntime {self._network.version}, CPU",
            "threads": threads,
            "precision": self.manifest.said["forms"][name]["precision"],
            "package": __version__,
        }

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._network.close()
        self._preprocess.close()

    def predict(self, images: Mapping[str, str | Path], masks: Mapping[str, str | Path] | None = None) -> Prediction:
        """Score one study.

        Args:
            images: modality -> NIfTI file, one for each of the model's.
            masks: modality -> brain mask on its image's grid, all of them or none; without, the images are brain-extracted.

        Raises:
            InputError: a modality missing or unknown, or a file that is at fault. There is no score then.
        """
        masks, modalities = dict(masks or {}), self.manifest.modalities
        for given, what in ((images, "images"), (masks, "masks")):
            if set(given) != set(modalities) and (given or what == "images"):
                raise InputError(
                    f"{what} of {sorted(given)}",
                    expected=f"one of each of {modalities}",
                    remedy="Give every modality's file.",
                )
        start = time.perf_counter()
        orientation, limits = self.manifest.said["preprocessing"]["orientation"], self.manifest.limits
        ordered = {name: images[name] for name in modalities}
        study = read_study(ordered, orientation=orientation, limits=limits)
        inside = {name: read_mask(masks[name], study[name], orientation=orientation, limits=limits) for name in masks}
        for name, volume in study.items():
            check_brain(name, volume, inside.get(name), limits=limits)
        read, start = _since(start), time.perf_counter()
        image = self.prepare(study, inside)
        prepared, start = _since(start), time.perf_counter()
        outputs = self._network.run({"image": image})
        ran = _since(start)
        score, branches = float(outputs["pred"][0, 0]), [float(value) for value in outputs["branch_scores"][0]]
        if not all(map(math.isfinite, (score, *branches))):
            raise InputError(
                f"the network's scores are {score}, {branches}", expected="finite scores", remedy="Report this study."
            )
        threshold, labels = float(self.manifest.said["threshold"]), self.manifest.said["labels"]
        return Prediction(
            score=score,
            branch_scores=dict(zip(modalities, branches, strict=True)),
            decision=labels[str(int(score >= threshold))],
            threshold=threshold,
            files={**{n: str(p) for n, p in ordered.items()}, **{f"{n}_mask": str(p) for n, p in masks.items()}},
            model=self.model,
            milliseconds={"load": self.load_ms, "read": read, "preprocess": prepared, "network": ran},
            peak_memory_mb=_peak_memory_mb(),
            warnings=[self.manifest.said["intended_use"], *self.manifest.said["warnings"]],
        )

    def prepare(self, study: Mapping[str, Volume], masks: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.float32]:
        """Volumes on their own grids -> image (1, M, x, y, z) float32 in [0, 1]; one volume a thread."""
        x, y, z = self.manifest.spatial_size
        image = np.empty((1, len(study), x, y, z), dtype=np.float32)

        def channel(number: int, name: str) -> None:
            volume = study[name]
            mask = masks.get(name)
            inputs = {
                "volume": volume.stored,
                "slope": float32(volume.slope),
                "intercept": float32(volume.intercept),
                "mask": np.ones(volume.stored.shape, dtype=bool) if mask is None else mask,
            }
            image[0, number] = self._preprocess.run(inputs)["image"][0, 0]

        with ThreadPoolExecutor(len(study)) as pool:
            for _ in pool.map(channel, range(len(study)), study):
                pass
        return image


def _since(start: float) -> float:
    return round((time.perf_counter() - start) * 1e3, 1)


def _peak_memory_mb() -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    said = next((line for line in lines if line.startswith("VmHWM:")), None)
    return None if said is None else round(int(said.split()[1]) * 1.024e-3, 1)
