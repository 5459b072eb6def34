"""All routes of the race: every way in which a user could run the fused network instead of ours, and ours in each form.

Names begin with the family: "torch", "ort" (MONAI's stock export on ONNX Runtime), "openvino", "ours", "gpu".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.forms import FORMS, runs_on
from export.machine import cpu_flags
from export.manifest import read_manifest
from export.route import Route
from scripts.errors import InputError

STOCK = "ort-stock"  # what the others are compared with
REFERENCE = "torch-eager"  # whose score the others are compared with
# Without these glibc gives every large activation back to the kernel and fetches it again: torch's rows measure page faults.
TUNED = {"MALLOC_MMAP_THRESHOLD_": "1000000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
FROZEN = {"TORCHINDUCTOR_FREEZING": "1"}  # torch.compile takes the weights for constants


def all_routes(weights: str | Path, stock: str | Path, *, exports: str | Path | None = None) -> list[Route]:
    """Every route, whether or not it can be run here.

    Args:
        weights: `model.pt`.
        stock: the file of MONAI's stock onnx_export.
        exports: the folder of `etscnet.json`; None leaves ours out.

    Raises:
        InputError: `exports` holds no manifest, or a file that is not the manifest's.
    """
    model, graph = str(weights), str(stock)
    forms: Mapping[str, Any] = {} if exports is None else read_manifest(exports)["forms"]
    files = {name: str(Path(exports or ".") / form["file"]) for name, form in forms.items()}
    portable = {name: file for name, file in files.items() if not forms[name]["cpu_flag"]}  # standard operators alone
    return [
        *_torch(model),
        Route(STOCK, "onnxruntime", "onnxruntime", graph),
        Route("openvino-f32", "openvino", "openvino", graph),
        Route("openvino-bf16", "openvino", "openvino", graph, precision="bfloat16"),
        *(_ours(name, forms[name], file) for name, file in files.items() if not name.startswith("gpu")),
        *_torch_gpu(model),
        *(
            Route(f"gpu-ort-{name}", "onnxruntime", "onnxruntime", file, device="cuda")
            for name, file in {"stock": graph, **portable}.items()
        ),
        *_tensorrt(exports),
    ]


def _ours(name: str, form: Mapping[str, Any], file: str) -> Route:
    unfit = "" if runs_on(FORMS[name], cpu_flags()) else f"for another processor ({form['meant_for']})"
    return Route(f"ours-{name}", "session", "scripts.onnx_session", file, precision=form["precision"], unfit=unfit)


def _torch(model: str) -> list[Route]:
    return [
        Route(f"torch-{mode}{suffix}", "torch", "scripts.network", model, mode=mode, environment=frozen | tuned)
        for mode, frozen in (("eager", {}), ("compile", FROZEN))
        for suffix, tuned in (("", {}), ("-tuned", TUNED))
    ]


def _torch_gpu(model: str) -> list[Route]:
    modes = {
        "eager-fp32": ("eager", "float32"),
        "amp-fp16": ("amp", "float16"),
        "eager-fp16": ("eager", "float16"),
        "eager-bf16": ("eager", "bfloat16"),
        "compile-fp16": ("compile", "float16"),
        "graphs-fp16": ("graphs", "float16"),
    }
    return [
        Route(
            f"gpu-{name}",
            "torch",
            "scripts.network",
            model,
            mode=mode,
            precision=precision,
            device="cuda",
            environment=FROZEN if mode == "compile" else {},
        )
        for name, (mode, precision) in modes.items()
    ]


def _tensorrt(exports: str | Path | None) -> list[Route]:
    """One route an engine; a row that says that there is none, where there is none."""
    folder = Path("." if exports is None else exports)
    engines = ([] if exports is None else sorted(folder.glob("*.engine"))) or [folder / "etscnet.engine"]
    return [
        Route(
            f"gpu-tensorrt-{engine.stem}",
            "tensorrt",
            "tensorrt_rtx" if "rtx" in engine.stem else "tensorrt",
            str(engine),
            device="cuda",
        )
        for engine in engines
    ]


def chosen(routes: Sequence[Route], names: Sequence[str] | str | None) -> list[Route]:
    """The routes of these names, or of these families ("torch", "ours"), also as one text "ours,ort-stock"; all for None.

    Raises:
        InputError: a name that is neither.
    """
    if names is None:
        return list(routes)
    if isinstance(names, str):
        names = [name.strip(" '\"") for name in names.strip("[]()").split(",")]
    known = {route.name for route in routes} | {route.family for route in routes}
    unknown = sorted(set(names) - known)
    if unknown:
        raise InputError(
            f"unknown routes {unknown}",
            expected=f"some of {sorted(known)}",
            remedy="Correct --routes (those of ours need --exports).",
        )
    return [route for route in routes if route.name in names or route.family in names]
