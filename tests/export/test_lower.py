"""Lowering is exact: each form of a small network with all layers of EfficientNet equals the 3-D graph that it comes from."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import Tensor, nn

from export.blocked import NCHWC_DOMAIN, BlockedLayers
from export.forms import EVERYTHING, FORMS, runs_on
from export.graph import GraphWriter
from export.layers import Layers
from export.lower import Lowering, lower
from export.machine import cpu_flags
from export.to_onnx import check
from scripts.errors import InputError

SIZE = (21, 18, 14)  # odd, even, and no power of two: borders differ from axis to axis
LOWERINGS = {
    "planes": Lowering(),
    "planes, scale on the input": Lowering(fold_scale=False),
    "small planes stacked": Lowering(stack_below=70),
    "half of the first block's planes once more": Lowering(recompute=0.5),
    "stacked": Lowering(EVERYTHING, fold_scale=False),
}
BLOCKED = {f"blocks of {block}": Lowering(stack_below=70, block=block) for block in (8, 16)}
BLOCKED |= {f"lean, blocks of {block}": Lowering(stack_below=70, block=block, recompute=0.5) for block in (8, 16)}


class Excite(nn.Module):
    """Squeeze-excite with a kernel, and the projection behind it."""

    def __init__(self, channels: int, kernel: int, stride: int, out: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv3d(channels, channels, kernel, stride, kernel // 2, groups=channels)
        self.reduce, self.expand = nn.Conv3d(channels, 4, 1), nn.Conv3d(4, channels, 1)
        self.project = nn.Conv3d(channels, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.silu(self.depthwise(x))
        mean = x.mean(dim=(2, 3, 4), keepdim=True)
        out: Tensor = self.project(torch.sigmoid(self.expand(nn.functional.silu(self.reduce(mean)))) * x)
        return out


class Small(nn.Module):
    """Stem with a padding on one side, a strided and a residual block of 24 and 20 channels (no multiples of a block), a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv3d(1, 32, 3, 2)
        self.first, self.second = Excite(32, 3, 1, 20), Excite(48, 5, 2, 24)
        self.widen, self.third = nn.Conv3d(20, 48, 1), Excite(24, 3, 1, 24)
        self.head, self.linear = nn.Conv3d(24, 40, 1), nn.Linear(40, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logits = torch.cat([self.branch(image[:, channel : channel + 1]) for channel in range(2)], dim=1)
        return logits.sum(dim=1, keepdim=True), torch.sigmoid(logits)

    def branch(self, image: Tensor) -> Tensor:
        x = nn.functional.silu(self.stem(nn.functional.pad(image, (0, 1, 1, 1, 1, 0))))
        x = self.second(nn.functional.silu(self.widen(self.first(x))))
        x = self.third(x) + x
        x = nn.functional.silu(self.head(x)).mean(dim=(2, 3, 4))
        logit: Tensor = self.linear(x)
        return logit


class One(Small):
    """A network of one modality: there is no channel to slice."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        logit = self.branch(image)
        return logit, torch.sigmoid(logit)


@lru_cache
def small(kind: type[Small] = Small) -> onnx.ModelProto:
    torch.manual_seed(0)
    program = torch.onnx.export(
        kind().eval(),
        (torch.zeros(1, 2 if kind is Small else 1, *SIZE),),
        input_names=["image"],
        output_names=["pred", "branch_scores"],
        opset_version=18,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    return program.model_proto


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate(session.run(None, {"image": image}), axis=1)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    values = np.random.default_rng(0).random((1, 2, *SIZE), dtype=np.float32)
    return np.where(values > 0.3, values, 0)


@pytest.mark.parametrize("name", LOWERINGS)
def test_a_form_of_standard_operators_says_what_the_3d_graph_says(name: str, image: np.ndarray) -> None:
    lowered = lower(small(), LOWERINGS[name])
    check(lowered)
    assert {opset.domain for opset in lowered.opset_import} == {""}
    # Float32 sums in another order: 1e-6 of values near 1.
    assert run(lowered, image) == pytest.approx(run(small(), image), abs=2e-6)


def test_planes_of_the_first_block_alone_are_computed_once_more_and_not_from_the_kept_ones() -> None:
    kept, spared = lower(small(), Lowering()), lower(small(), Lowering(recompute=0.5))
    views = {node.output[0] for node in spared.graph.node if node.op_type == "Reshape" and node.input[0] == "image"}
    sources = [node.input[0] for node in spared.graph.node if node.op_type == "Slice" and node.input[0] in views]
    planes = (SIZE[0] + 1 - 3) // 2 + 1  # of the stem, which pads one: a slice each
    assert len(views) == 3, "one to begin with, another for each branch"
    # Five of the ten planes, and the one that their first window reaches back to.
    assert sorted(sources.count(view) for view in views) == [planes // 2 + 1, planes // 2 + 1, 2 * planes]
    means = [sum(node.op_type == "GlobalAveragePool" for node in model.graph.node) for model in (kept, spared)]
    assert means[0] == means[1], "means are taken of what was kept"


def test_a_network_of_one_modality_is_lowered_too(image: np.ndarray) -> None:
    one = np.ascontiguousarray(image[:, :1])
    assert run(lower(small(One), Lowering()), one) == pytest.approx(run(small(One), one), abs=2e-6)


@pytest.mark.parametrize("block", [0, 8, 16])
def test_the_mean_of_a_large_plane_is_exact_to_float32(block: int) -> None:
    if block and not runs_on(FORMS[f"nchwc{block}"], cpu_flags()):
        pytest.skip("ONNX Runtime's blocks are of another size on this processor")
    writer, plane = GraphWriter(), np.full((1, 16, 512, 512), 0.1, np.float32)
    layers: Layers = BlockedLayers(writer, block) if block else Layers(writer)
    source = writer.node("ReorderInput", "image", domain=NCHWC_DOMAIN, channels_last=0) if block else "image"
    layers.mean([source], (16, 512, 512))
    model = writer.model({"image": plane.shape}, {writer.nodes[-1].output[0]: [1, 16]}, notes="")
    # Summed one after the other, 262,144 values of 0.1 are wrong by 6e-4 of it, 512 by 5e-6.
    assert run(model, plane) == pytest.approx(float(np.float32(0.1)), rel=1e-5)


@pytest.mark.parametrize("name", BLOCKED)
def test_a_blocked_form_says_what_the_3d_graph_says(name: str, image: np.ndarray) -> None:
    lowering = BLOCKED[name]
    if not runs_on(FORMS[f"nchwc{lowering.block}"], cpu_flags()):
        pytest.skip("ONNX Runtime's blocks are of another size on this processor")
    assert run(lower(small(), lowering), image) == pytest.approx(run(small(), image), abs=2e-6)


def test_half_precision_rounds_planes_and_keeps_the_interface(image: np.ndarray) -> None:
    lowered = lower(small(), Lowering(EVERYTHING, half=True, fold_scale=False))
    check(lowered)
    kinds = {value.type.tensor_type.elem_type for value in (*lowered.graph.input, *lowered.graph.output)}
    assert kinds == {onnx.TensorProto.FLOAT}
    difference = np.abs(run(lowered, image) - run(small(), image)).max()
    assert 0 < difference < 2e-3, "rounded to 11 bits: not equal, but near"


@pytest.mark.parametrize("name", LOWERINGS)
def test_no_operator_is_left_in_three_dimensions(name: str) -> None:
    inferred = onnx.shape_inference.infer_shapes(lower(small(), LOWERINGS[name]), strict_mode=True, data_prop=True)
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in inferred.graph.value_info}
    assert ranks and max(ranks.values()) == 4


def test_equal_calls_give_equal_bytes() -> None:
    first, second = (lower(small(), LOWERINGS["small planes stacked"]).SerializeToString() for _ in range(2))
    assert first == second


def one_node(operator: str, **attributes: Any) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(operator, ["image"], ["pred"], **attributes)],
        "g",
        [value("image", onnx.TensorProto.FLOAT, [1, 1, 4, 4, 4])],
        [value("pred", onnx.TensorProto.FLOAT, [1, 1, 4, 4, 4])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_an_operator_that_is_not_understood_is_refused_by_its_name() -> None:
    with pytest.raises(InputError, match="the operator Erf"):
        lower(one_node("Erf"), Lowering())


def test_a_network_that_is_not_static_is_refused() -> None:
    model = one_node("Erf")
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(InputError, match="one static image"):
        lower(model, Lowering())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda node: node.attribute.append(helper.make_attribute("dilations", [2, 2, 2])), "no dilation"),
        (lambda node: node.attribute.append(helper.make_attribute("auto_pad", "SAME_UPPER")), "explicit paddings"),
    ],
)
def test_a_convolution_that_is_not_understood_is_refused(change: Callable[[onnx.NodeProto], None], said: str) -> None:
    model = onnx.ModelProto()
    model.CopyFrom(small())
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    for attribute in [entry for entry in node.attribute if entry.name in ("dilations", "auto_pad")]:
        node.attribute.remove(attribute)
    change(node)
    with pytest.raises(InputError, match=said):
        lower(model, Lowering())


def test_equal_constants_are_written_once() -> None:
    writer, value = GraphWriter(), np.ones(3, np.float32)
    assert writer.constant(value) == writer.constant(value.copy())
    assert writer.constant(value) != writer.constant(value.astype(np.float16))
