"""What TensorRT plans to take of a GPU's memory for the 3-D graph and for the lowered one, in float32 and float16.

TensorRT-RTX plans without a GPU: this runs on any x86-64 Linux. The 3-D graph is torch's own export; its float16 form
is made by ONNX Runtime's converter, the stock way. Scores are not compared here: `python -m export parity` does that.

    .venv/bin/python -m benchmarks.tensorrt_plans --output_dir results/tensorrt
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from tqdm import tqdm

from export.bundle import load_bundle
from export.forms import FORMS
from export.to_onnx import write_forms
from export.to_tensorrt import EngineRecord, build_engine
from scripts.command_line.commands import run_function

SIZE = (256, 256, 128)
LOWERED = {
    ("lowered", "float32"): "gpu-fp32",
    ("lowered", "float16"): "gpu",
    ("lowered, planes as a batch", "float32"): "gpu-batch",
}


def plan(output_dir: Path) -> str:
    """Plan the graphs by TensorRT-RTX, and write plans.json and plans.md.

    Args:
        output_dir: folder of both, of the graphs and of the engines.

    Example:
        python -m benchmarks.tensorrt_plans --output_dir results/tensorrt
    """
    folder = output_dir
    folder.mkdir(parents=True, exist_ok=True)
    names = ("volume", *LOWERED.values())
    write_forms(load_bundle("bundle"), {name: FORMS[name] for name in names}, folder, spatial_size=SIZE)
    volume = folder / FORMS["volume"].file
    half = folder / "etscnet.volume-fp16.onnx"
    onnx.save(convert_float_to_float16(onnx.load(volume), keep_io_types=True), half)
    graphs = {("3-D", "float32"): volume, ("3-D", "float16"): half}
    graphs |= {graph: folder / FORMS[name].file for graph, name in LOWERED.items()}
    plans = {
        graph: build_engine(file, file.with_suffix(".engine"), target="tensorrt-rtx")
        for graph, file in tqdm(graphs.items(), desc="plans", disable=None)
    }
    text = table(plans)
    (folder / "plans.json").write_text(
        json.dumps(
            [{"graph": graph[0], "precision": graph[1], **plan.to_dict()} for graph, plan in plans.items()], indent=1
        )
        + "\n"
    )
    (folder / "plans.md").write_text(text + "\n")
    return text


def table(plans: dict[tuple[str, str], EngineRecord]) -> str:
    """Markdown; MB are 10^6 bytes."""
    version = next(iter(plans.values())).version
    size = " x ".join(map(str, SIZE))
    lines = [
        f"TensorRT-RTX {version}, two branches at {size}, strongly typed, for compute capability "
        f"{next(iter(plans.values())).compute_capability}:",
        "",
        "| graph | precision | weights (MB) | activations (MB) | together (MB) | engine file (MB) | build (s) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for (graph, precision), plan in plans.items():
        weights, activations = plan.weights_bytes or 0, plan.activation_bytes or 0
        figures = (weights, activations, weights + activations, plan.engine_bytes)
        cells = [f"{figure / 1e6:.0f}" for figure in figures]
        lines.append(f"| {graph} | {precision} | {' | '.join(cells)} | {plan.seconds:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    run_function(plan)
