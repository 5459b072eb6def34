"""A lowered graph in parts: one a branch, image -> its logit, and the rest, logits -> pred and branch_scores.

The branches share nothing but the image, so that each can have a session, and a processor core, of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import TensorProto, helper

from scripts.errors import InputError


def parted(model: onnx.ModelProto) -> tuple[list[onnx.ModelProto], onnx.ModelProto]:
    """The branches in the order of the modalities, and the fusion, whose inputs are the branches' outputs by name.

    Raises:
        InputError: `branch_scores` is not joined from one logit a branch.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    (image,) = model.graph.input
    name = "branch_scores"
    while name in makers and makers[name].op_type in ("Identity", "Sigmoid"):
        name = makers[name].input[0]
    if name not in makers or makers[name].op_type not in ("Concat", "Gemm"):
        raise InputError(
            "a graph whose branch_scores are not joined from one a branch",
            expected="a lowered graph of this export",
            remedy="Run it in one session.",
        )
    logits = list(makers[name].input) if makers[name].op_type == "Concat" else [name]
    branches = []
    for logit in logits:
        output = helper.make_tensor_value_info(logit, TensorProto.FLOAT, None)
        branches.append(_model(model, [logit], [image], [output], stop=set()))
    inputs = [helper.make_tensor_value_info(logit, TensorProto.FLOAT, [1, 1]) for logit in logits]
    names = [output.name for output in model.graph.output]
    return branches, _model(model, names, inputs, list(model.graph.output), stop=set(logits))


def _model(
    model: onnx.ModelProto,
    wanted: Iterable[str],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    *,
    stop: set[str],
) -> onnx.ModelProto:
    """The nodes that make the wanted tensors, back to the inputs or to those where it shall stop, with their constants."""
    makers = {output: node for node in model.graph.node for output in node.output}
    open_ends, needed = list(wanted), set()
    while open_ends:
        name = open_ends.pop()
        if name in makers and name not in needed and name not in stop:
            needed.add(name)
            open_ends += makers[name].input
    nodes = [node for node in model.graph.node if node.output[0] in needed]  # in running order
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        model.graph.name,
        inputs,
        outputs,
        initializer=[constant for constant in model.graph.initializer if constant.name in read],
    )
    return helper.make_model(
        graph,
        opset_imports=list(model.opset_import),
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        doc_string=model.doc_string,
    )
