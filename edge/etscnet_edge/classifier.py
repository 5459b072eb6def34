"""A pair of NIfTI files -> the score that seizures will be controlled: the exported model, loaded once."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etscnet_edge import __version__
from etscnet_edge.brain_extraction.checks import GATES
from etscnet_edge.brain_extraction.manifest import read_brain_manifest
from etscnet_edge.brain_extraction.studies import study_extractor
from etscnet_edge.errors import InputError
from etscnet_edge.golden import accept
from etscnet_edge.manifest import Manifest, read_manifest
from etscnet_edge.memory import peak_mb, resident_mb
from etscnet_edge.prediction import Prediction
from etscnet_edge.preprocess import PREPROCESSING
from etscnet_edge.quality import case_statistics, judge, ras_grid
from etscnet_edge.runtimes import RUNTIMES, Network, OnnxSession, Opener, import_onnxruntime
from etscnet_edge.source import Source
from etscnet_edge.study import Study, read_study

GPU_FORM = "gpu-fp32"
BRAIN_EXTRACTION = ("none", "network", "mask")
NO_DISTANCE = "not computed: the exported files give no features."
EDGE = 1e-7  # of 0 and 1, which have no logit; float32 scores do reach them
# A voxel while it is read and prepared: decoded and scaled (8 bytes each at most, and 8 in between), float32, masks.
BYTES_A_VOXEL = 32
Image = NDArray[np.float32]


class Classifier:
    """The exported model. A context manager.

    The network is loaded in a thread while the first study is read; what fails then is said by the first call.

    Args:
        exports: the folder of etscnet.json.
        runtime: "cpu", "cuda" or "ort-tensorrt" of ONNX Runtime, or "tensorrt" itself.
        form: of the manifest's; None: on the CPU the one for this processor, else gpu-fp32.
        threads: of ONNX Runtime.
        preprocessing: "numpy", or "graph": preprocess.onnx on ONNX Runtime.
        memory_mb: the most resident memory of this process, 10^6 bytes; None: no limit.
        engines: where TensorRT's engines lie; None: beside the export.
        for_timing: take an export for timing, whose scores mean nothing, too.
        brain_extraction: of images that come without masks: "none", they hold the brain alone; "network", it is found by
            brain_extraction.onnx of the export, on the CPU; "mask", they are refused.
        mask_quality: what a mask of the network's that can't be a brain's does: "refuse" the study, or "warn" in its result.

    Raises:
        InputError: files that are not those of the export, a form that does not run here, no such runtime, or a budget of memory
            that does not do.
    """

    def __init__(
        self,
        exports: str | Path,
        *,
        runtime: str = "cpu",
        form: str | None = None,
        threads: int = 2,
        preprocessing: str = "numpy",
        memory_mb: float | None = None,
        engines: str | Path | None = None,
        for_timing: bool = False,
        brain_extraction: str = "none",
        mask_quality: str = "refuse",
    ) -> None:
        start = time.perf_counter()
        for option, given, known in (
            ("runtime", runtime, [*RUNTIMES, "tensorrt"]),
            ("preprocessing", preprocessing, list(PREPROCESSING)),
            ("brain_extraction", brain_extraction, list(BRAIN_EXTRACTION)),
            ("mask_quality", mask_quality, list(GATES)),
        ):
            if given not in known:
                found, remedy = f"no {option} {given!r}", f"Correct --{option}."
                raise InputError(found, expected=f"one of {known}", remedy=remedy)
        self.manifest = manifest = read_manifest(exports, for_timing=for_timing)
        import nibabel  # noqa: F401 the libraries first: they are part of what is resident

        if runtime in RUNTIMES:
            import_onnxruntime(runtime)
        left = None if memory_mb is None else memory_mb - resident_mb()
        self.form = manifest.choose(form or (None if runtime == "cpu" else GPU_FORM), runtime=runtime, memory_mb=left)
        self.brain_extraction, self._extract, self._brain_warnings = brain_extraction, None, []
        if brain_extraction == "network":
            brains = read_brain_manifest(exports)
            brains.content()  # a changed file is refused now, and again when it is loaded
            _check_fit(brains.said["network"]["memory_mb"], left)
            self._extract = study_extractor(brains, threads=threads, memory_mb=memory_mb, mask_quality=mask_quality)
            self._brain_warnings = list(brains.said["warnings"])
        entry = manifest.said["forms"][self.form]
        self._limits = manifest.limits
        if left is not None:
            for_a_study = (left - manifest.needed_mb(self.form, runtime)) * 1e6
            most = int(for_a_study / BYTES_A_VOXEL / len(manifest.modalities))
            self._limits["max_voxels"] = min(self._limits["max_voxels"], most)
        self._preprocess = PREPROCESSING[preprocessing](manifest)
        load = _open(manifest, self.form, runtime, threads=threads, engines=engines)
        self.model = {
            "version": manifest.said["version"],
            "form": self.form,
            "file": entry["file"],
            "sha256": manifest.said["files"][entry["file"]]["sha256"],
            "runtime": runtime,
            "precision": entry["precision"],
            "preprocessing": self._preprocess.name,
            "threads": threads,
            "package": __version__,
        }
        self.platform = "tensorrt_plan" if runtime == "tensorrt" else "onnxruntime_onnx"
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._network = self._loader.submit(self._timed, load, start)

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the memory back."""
        self._loader.shutdown()
        if self._network.exception() is None:
            self._network.result().close()
        self._preprocess.close()

    def accept(self) -> float:
        """Run the golden case, which warms the network up, too; returns the largest difference of a score from torch's.

        Raises:
            InputError: see golden.accept.
        """
        network = self._network.result()
        return accept(
            self.manifest,
            lambda image: network.run({"image": image}),
            precision=self.model["precision"],
            preprocessing=self._preprocess,
        )

    def predict(
        self, images: Mapping[str, str | Path | Source], masks: Mapping[str, str | Path | Source] | None = None
    ) -> Prediction:
        """Score one study.

        Args:
            images: modality -> NIfTI file, one for each of the model's.
            masks: modality -> brain mask on its image's grid, all of them or none; without, see `brain_extraction`.

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
        if not masks and self.brain_extraction == "mask":
            raise InputError("no masks", expected=f"one of each of {modalities}", remedy="Give every image's mask.")
        start = time.perf_counter()
        study = self.read({name: images[name] for name in modalities}, masks)
        brains = study.brain_extraction
        extracted = float(brains.get("milliseconds", 0.0))
        read, start = round(_since(start) - extracted, 1), time.perf_counter()
        image = self.prepare(study)
        files = {name: {"name": source.name, "sha256": source.sha256} for name, source in study.sources.items()}
        grids = {name: ras_grid(volume.affine, volume.stored.shape) for name, volume in study.volumes.items()}
        del study  # its volumes: the network needs the room
        for name, channel in zip(modalities, image[0], strict=True):
            if not np.isfinite(channel).all():
                raise InputError(
                    f"{name}: the prepared image is not finite",
                    expected="intensities that float32 holds",
                    remedy="Convert the series again.",
                    file=files[name]["name"],
                )
        prepared, start = _since(start), time.perf_counter()
        statistics = {
            name: case_statistics(channel, *grids[name]) for name, channel in zip(modalities, image[0], strict=True)
        }
        quality, unlike = judge(statistics, self.manifest.reference)
        looked_at, start = _since(start), time.perf_counter()
        self._network.result()
        waited, start = _since(start), time.perf_counter()
        score, branches = self.score(image)
        ran = _since(start)
        verdict = self.verdict(score)
        said = [*self._brain_warnings, *brains.get("faults", [])] if brains["method"] == "network" else []
        return Prediction(
            score=score,
            branch_scores=branches,
            decision=verdict["decision"],
            threshold=verdict["threshold"],
            calibrated_probability=verdict.get("calibrated_probability"),
            calibration=self.manifest.temperature,
            quality=quality,
            out_of_distribution={"flagged": None, "reason": NO_DISTANCE},
            brain_extraction=brains,
            files=files,
            model=self.model,
            milliseconds={
                "load": self.load_ms,
                "read": read,
                "brain_extraction": extracted,
                "preprocess": prepared,
                "quality": looked_at,
                "wait_for_load": waited,
                "network": ran,
            },
            peak_memory_mb=peak_mb(),
            warnings=[self.manifest.said["intended_use"], *self.manifest.said["warnings"], *said, *unlike],
            image=image,
        )

    def read(self, images: Mapping[str, str | Path | Source], masks: Mapping[str, str | Path | Source]) -> Study:
        """The study's volumes, checked by the manifest's limits and the budget of memory; errors as `predict`."""
        orientation = self.manifest.said["preprocessing"]["orientation"]
        extract = None if masks else self._extract
        return read_study(images, masks, orientation=orientation, limits=self._limits, extract=extract)

    def prepare(self, study: Study) -> Image:
        """Volumes on their own grids -> image (1, M, x, y, z) float32 in [0, 1]; one volume a thread."""
        with ThreadPoolExecutor(len(study.volumes)) as pool:
            channels = pool.map(
                lambda name: self._preprocess(study.volumes[name], study.masks.get(name)), study.volumes
            )
            return np.stack(list(channels))[None]

    def score(self, image: Image) -> tuple[float, dict[str, float]]:
        """image (1, M, x, y, z) float32 in [0, 1] -> fused score, modality -> its branch's.

        Raises:
            InputError: a score that is not a number.
        """
        outputs = self._network.result().run({"image": image})
        score, branches = float(outputs["pred"][0, 0]), [float(value) for value in outputs["branch_scores"][0]]
        if not all(map(math.isfinite, (score, *branches))):
            found = f"the network's scores are {score}, {branches}"
            raise InputError(found, expected="finite scores", remedy="Report this study.")
        return score, dict(zip(self.manifest.modalities, branches, strict=True))

    def verdict(self, score: float) -> dict[str, Any]:
        """What a score means: "decision" from the "threshold" on, and the "intended_use"; where the manifest has a temperature,
        the "calibrated_probability"."""
        said = self.manifest.said
        decision = said["labels"][str(int(score >= said["threshold"]))]
        meant = {"decision": decision, "threshold": said["threshold"], "intended_use": said["intended_use"]}
        if (temperature := self.manifest.temperature["temperature"]) is None:
            return meant
        held = min(max(score, EDGE), 1 - EDGE)
        return {**meant, "calibrated_probability": 1 / (1 + ((1 - held) / held) ** (1 / temperature))}

    def _timed(self, load: Opener, start: float) -> Network:
        network = load()
        self.load_ms = _since(start)
        self.model["runtime"] = network.version
        return network


def _open(manifest: Manifest, form: str, runtime: str, *, threads: int, engines: str | Path | None) -> Opener:
    """What loads the network; its files are checked here and now."""
    if runtime == "tensorrt":
        from etscnet_edge.build import engine_for
        from etscnet_edge.tensorrt_engine import TensorRTEngine

        engine = engine_for(manifest, form=form, engines=None if engines is None else Path(engines))
        return lambda: TensorRTEngine(engine)
    file = manifest.said["forms"][form]["file"]
    content = manifest.content(file)
    return lambda: OnnxSession(content, name=file, threads=threads, runtime=runtime)


def _check_fit(needed_mb: float, left_mb: float | None) -> None:
    if left_mb is not None and needed_mb > left_mb:
        raise InputError(
            f"the brain extraction takes {needed_mb:.0f} MB",
            expected=f"at most {left_mb:.0f} MB, which the budget leaves for it",
            remedy="Give more --memory_mb, or leave --brain_extraction network.",
        )


def _since(start: float) -> float:
    return round((time.perf_counter() - start) * 1e3, 1)
