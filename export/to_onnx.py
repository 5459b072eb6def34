"""`python -m export onnx`: the bundle's network as ONNX files, its preprocessing as another, and the manifest of them all.

One file holds both branches, sigmoid and fusion: `image` (1, M, x, y, z) float32 -> `pred` (1, 1), `branch_scores` (1, M). Every
file is checked (onnx.checker, full shape inference), has no external data, and the same weights give the same bytes. The export
fails, and leaves nothing new behind, when a form's scores are not torch's (`export.parity`).
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import onnx
import torch
from torch import Tensor, nn
from tqdm import tqdm

from export.blocked import NCHWC_DOMAIN
from export.bundle import TrainedBundle, load_bundle
from export.forms import Form, chosen
from export.golden import write_golden
from export.graph import IR_VERSION, OPSET, PRODUCER
from export.lower import lower
from export.machine import cpu_flags
from export.manifest import write_manifest
from export.parity import prove
from export.preprocess_graph import preprocess_model
from scripts.checkpoint import origin_warning
from scripts.errors import InputError
from scripts.network import ETSCNet


class Scores(nn.Module):
    """image (B, M, x, y, z) -> pred (B, 1), branch_scores (B, M)."""

    def __init__(self, network: ETSCNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, M, x, y, z) -> pred (B, 1) and branch_scores (B, M)."""
        logits = self.network(image, return_logits=True)
        return self.network.fuse(logits), torch.sigmoid(logits)


def volume_graph(
    network: ETSCNet, spatial_size: Sequence[int], *, dynamic_batch: bool = False, notes: str = ""
) -> onnx.ModelProto:
    """The network as torch's exporter writes it: 3-D operators, batch norm folded.

    Args:
        network: in evaluation mode.
        spatial_size: (x, y, z).
        dynamic_batch: any number of images a run; one otherwise.
        notes: the doc string of the model.

    Raises:
        ValueError: the exporter gives no program.
    """
    image = torch.zeros(2 if dynamic_batch else 1, len(network.modalities), *spatial_size)
    batch = {"image": {0: torch.export.Dim("batch")}} if dynamic_batch else None
    with _own_temporary_folder():
        program = torch.onnx.export(
            Scores(network).eval(),
            (image,),
            input_names=["image"],
            output_names=["pred", "branch_scores"],
            opset_version=OPSET,
            dynamic_shapes=batch,
            dynamo=True,
            verbose=False,
        )
    if program is None:  # says torch's signature
        raise ValueError("torch's exporter gave no program.")
    return _clean(program.model_proto, notes)


@contextmanager
def _own_temporary_folder() -> Iterator[None]:
    """torch's exporter leaves some 37 MB in the temporary folder each time: give it one that goes away."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as tempfile.tempdir:
        try:
            yield
        finally:
            tempfile.tempdir = before


def _clean(model: onnx.ModelProto, notes: str) -> onnx.ModelProto:
    """Without what differs from machine to machine: stack traces, versions, paths."""
    model.ir_version, model.producer_name, model.producer_version, model.doc_string = IR_VERSION, PRODUCER, "", notes
    del model.metadata_props[:]
    graph = model.graph
    graph.name, graph.doc_string = PRODUCER, ""
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        del item.metadata_props[:]
        item.doc_string = ""
    del graph.metadata_props[:]
    return model


def check(model: onnx.ModelProto) -> None:
    """onnx.checker with full shape inference, strictly; of the blocked forms, whose operators ONNX does not know, the rest.

    Raises:
        onnx.checker.ValidationError, onnx.shape_inference.InferenceError: the graph is not valid.
    """
    known = all(opset.domain != NCHWC_DOMAIN for opset in model.opset_import)
    onnx.checker.check_model(model, full_check=known)
    if known:
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def export_onnx(
    bundle_root: str | Path = "bundle",
    output_dir: str | Path = "exports",
    *,
    forms: str | Sequence[str] | None = None,
    spatial_size: Sequence[int] | None = None,
    config_file: str | Path | None = None,
    dynamic_batch: bool = False,
    lean: bool = False,
    precision: Literal["fp32", "fp16"] = "fp32",
) -> str:
    """Write the network's forms in ONNX, proven against torch, with all that a device needs beside them.

    Written: the forms, preprocess.onnx, golden.npz, etscnet.json (the manifest) and parity.json.

    Args:
        bundle_root: folder of the bundle.
        output_dir: folder of the files; a failed export leaves what was there.
        forms: some of standard, gpu-fp32, gpu, gpu-batch, volume, nchwc16, nchwc8, nchwc16-lean, nchwc8-lean; None: standard,
            gpu-fp32 and that of nchwc16, nchwc8 which this processor runs.
        spatial_size: edges in voxels, for timing alone: another grid than the training's, and the manifest says so.
        config_file: an overlay over inference.json, for weights of another backbone.
        dynamic_batch: a free number of images; of the form volume alone.
        lean: without `forms`, also that of nchwc16-lean, nchwc8-lean which this processor runs.
        precision: fp32; fp16 without `forms`: also gpu, float16 but for means, scores and the interface.

    Example:
        python -m export onnx --bundle_root bundle --output_dir exports

    Returns:
        What was written and how close it is to torch.

    Raises:
        InputError: no bundle, a form that does not exist, an operator that the lowering does not know, scores that differ.
    """
    if precision not in ("fp32", "fp16"):
        raise InputError(f"the precision {precision!r}", expected="fp32 or fp16", remedy="Correct --precision.")
    wanted = chosen(forms, cpu_flags(), lean=lean, half=precision == "fp16")
    bundle = load_bundle(bundle_root, config_file=config_file)
    if dynamic_batch and list(wanted) != ["volume"]:
        raise InputError(
            f"a dynamic batch of the forms {list(wanted)}", expected="--forms volume", remedy="Others hold one image."
        )
    size = bundle.spatial_size if spatial_size is None else tuple(int(edge) for edge in spatial_size)
    target = Path(output_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
        staging = Path(folder)
        write_forms(bundle, wanted, staging, spatial_size=size, dynamic_batch=dynamic_batch)
        onnx.save(preprocess_model(bundle.preprocessing, spatial_size=size), staging / "preprocess.onnx")
        write_golden(bundle, staging, spatial_size=size)
        write_manifest(bundle, wanted, staging, spatial_size=size)
        result = prove(bundle, staging)
        result.write(staging / "parity.json")
        if not result:
            raise InputError(
                f"an export whose scores are not torch's\n{result.table()}",
                expected="differences within the tolerance of every form",
                remedy="Nothing was written. Leave the form out with --forms, and report it.",
                file=bundle.weights,
            )
        target.mkdir(exist_ok=True)
        for path in sorted(staging.iterdir(), key=lambda path: path.name == "etscnet.json"):  # the manifest last
            shutil.move(path, target / path.name)
    return f"{result.table()}\nwritten to {target}"


def write_forms(
    bundle: TrainedBundle,
    forms: dict[str, Form],
    folder: Path,
    *,
    spatial_size: Sequence[int],
    dynamic_batch: bool = False,
) -> None:
    """Write and check one file a form."""
    notes = " ".join(filter(None, (bundle.intended_use, origin_warning(bundle.weights))))
    volume = volume_graph(bundle.network, spatial_size, dynamic_batch=dynamic_batch, notes=notes)
    for form in tqdm(forms.values(), desc="forms", disable=None):
        model = volume if form.lowering is None else lower(volume, form.lowering, notes=notes)
        check(model)
        onnx.save(model, folder / form.file)
