"""Rewrite a 3-D network's ONNX graph into 2-D operations, exactly: no weight is rounded, no term left out.

ONNX Runtime has no 3-D depthwise kernel and falls back to a slow path; other runtimes are tuned for 2-D as well. So the depth
(x, the first axis of RAS volumes) becomes a list of planes. A k x k x k convolution is the sum of k in-plane ones, the stem sees
its planes as channels, means are taken in each plane and then over the planes, a squeeze-excite scale goes into the
projection's weights, and paddings belong to the convolutions already.

The graphs understood are those of torch's exporter for networks of convolutions, SiLU, squeeze-excite, residual sums, a global
mean and a linear head, with batch norm folded (EfficientNet). Any other operator is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnx import helper, numpy_helper

from export.blocked import BlockedLayers
from export.graph import GraphWriter
from export.layers import Layers
from export.volume import Convolution, Kernel3d, Volume
from scripts.errors import InputError


@dataclass(frozen=True)
class Lowering:
    """How a graph is lowered.

    Attributes:
        stack_below: planes of fewer voxels than this share one tensor (see `export.volume`).
        block: channels of a block of ONNX Runtime's blocked layout (16 with AVX-512, 8 with AVX2); 0: standard operators.
        half: planes and their weights in float16.
        fold_scale: squeeze-excite scales go into the weights.
        recompute: the share of the first block's planes that is computed once more instead of kept until the block's
            squeeze-excite scale is known. They are by far the most memory that is alive at once.
    """

    stack_below: int = 0
    block: int = 0
    half: bool = False
    fold_scale: bool = True
    recompute: float = 0.0

    def layers(self, writer: GraphWriter) -> Layers:
        """What writes this form's 2-D operations."""
        if self.block:
            return BlockedLayers(writer, self.block)
        return Layers(writer, half=self.half, fold_scale=self.fold_scale)


@dataclass(frozen=True)
class Scaled:
    """A volume times a vector (1, C), not yet computed: the convolution that follows takes both."""

    volume: Volume
    scale: str


@dataclass(frozen=True)
class Sigmoid:
    """sigmoid(x), not yet computed: with x itself it is a SiLU, with another volume a squeeze-excite scale."""

    argument: Any


@dataclass(frozen=True)
class Channel:
    """One channel of the image, (1, 1, D, H, W)."""

    index: int


def lower(model: onnx.ModelProto, lowering: Lowering, *, notes: str = "") -> onnx.ModelProto:
    """The same function in 2-D operations.

    Args:
        model: `image` (1, M, D, H, W) -> vectors (1, n), batch norm folded, static shapes.
        lowering: how.
        notes: the doc string of the result.

    Raises:
        InputError: an operator, or a use of one, that is not understood.
    """
    writer = GraphWriter()
    (image,) = model.graph.input
    shape = [edge.dim_value for edge in image.type.tensor_type.shape.dim]
    if len(shape) != 5 or shape[0] != 1 or 0 in shape:
        raise _unknown(f"the input {image.name} {shape}", "one static image (1, M, D, H, W)")
    _, modalities, depth, height, width = shape
    flat = writer.node("Reshape", image.name, writer.integers([1, modalities * depth, height, width]))
    convolution = Convolution(lowering.layers(writer), lowering.stack_below)
    walk = _Walk(model.graph, convolution, flat, (1, depth, height, width), lowering.recompute)
    if modalities == 1:
        walk.values[image.name] = Channel(0)  # there is nothing to slice
    for node in model.graph.node:
        walk.visit(node)
    outputs = {}
    for value in model.graph.output:
        outputs[value.name] = [edge.dim_value for edge in value.type.tensor_type.shape.dim]
        writer.node("Identity", walk.vector(value.name), output=value.name)
    return writer.model({image.name: shape}, outputs, notes=notes)


@dataclass
class _Walk:
    """Goes through the 3-D graph; `values` holds what each of its tensors has become.

    A volume is a Volume, Scaled, Sigmoid or Channel, a vector (1, C) the name of a tensor.
    """

    graph: onnx.GraphProto
    convolution: Convolution
    image: str
    image_shape: tuple[int, int, int, int]
    recompute: float
    values: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.constants = {value.name: numpy_helper.to_array(value) for value in self.graph.initializer}
        self.layers, self.writer = self.convolution.layers, self.convolution.layers.writer
        self.rules: dict[str, Callable[[onnx.NodeProto], Any]] = {
            "Slice": self._slice,
            "Conv": self._conv,
            "Sigmoid": lambda node: Sigmoid(self.values[node.input[0]]),
            "Mul": self._mul,
            "ReduceMean": self._mean,
            "Add": self._add,
            "Reshape": lambda node: self.vector(node.input[0]),  # (1, C, 1, 1, 1) -> (1, C)
            "Gemm": self._copy,
            "Concat": self._copy,
            "ReduceSum": self._copy,
        }

    def visit(self, node: onnx.NodeProto) -> None:
        """Write what the node becomes, unless an earlier one has written it already."""
        if node.op_type not in self.rules:
            raise _unknown(f"the operator {node.op_type} (node {node.name})", f"one of {', '.join(self.rules)}")
        if node.output[0] not in self.values:
            self.values[node.output[0]] = self.rules[node.op_type](node)

    def vector(self, name: str) -> str:
        """What a vector or a constant of the 3-D graph is called in the new one."""
        if name in self.constants:
            return self.writer.constant(self.constants[name])
        value = self.values[name]
        if isinstance(value, Sigmoid) and isinstance(value.argument, str):
            value = self.values[name] = self.writer.node("Sigmoid", value.argument)
        if not isinstance(value, str):
            raise _unknown(f"a volume ({name}) where a vector is needed", "a vector (1, C)")
        return value

    def _volume(self, name: str) -> Volume:
        value = self.values[name]
        if not isinstance(value, Volume):
            raise _unknown(f"{type(value).__name__} {name} where a feature map is needed", "a volume (1, C, D, H, W)")
        return value

    def _copy(self, node: onnx.NodeProto) -> str:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        return self.writer.node(node.op_type, *(self.vector(name) for name in node.input), **attributes)

    def _slice(self, node: onnx.NodeProto) -> Channel:
        starts, ends, axes = (self.constants[name].tolist() for name in node.input[1:4])
        if node.input[0] != self.graph.input[0].name or axes != [1] or ends[0] != starts[0] + 1:
            raise _unknown(f"a slice {starts}:{ends} of axes {axes} of {node.input[0]}", "one channel of the image")
        return Channel(starts[0])

    def _conv(self, node: onnx.NodeProto) -> Any:
        source, kernel = self.values[node.input[0]], self._kernel(node)
        if isinstance(source, Channel):
            return self.convolution.of_image(self.image, source.index, self.image_shape, kernel)
        if isinstance(source, str):  # squeeze-excite: a linear layer of the vector
            matrix = self.writer.constant(kernel.weight.reshape(kernel.weight.shape[:2]))
            bias = [] if kernel.bias is None else [self.writer.constant(kernel.bias)]
            return self.writer.node("Gemm", source, matrix, *bias, transB=1)
        volume, scale = (self._spared(source.volume), source.scale) if isinstance(source, Scaled) else (source, None)
        addition, addend = self._residual(node)
        out = self.convolution.of_volume(volume, kernel, addend=addend, scale=scale)
        if addition is not None:
            self.values[addition.output[0]] = out
        return out

    def _spared(self, volume: Volume) -> Volume:
        """The volume with a share of its planes computed once more from the image, if that takes convolutions alone."""
        count = int(len(volume.planes) * self.recompute)
        if count == 0 or "GlobalAveragePool" in self.writer.operators(volume.planes[0], since=self.image):
            return volume
        # Another view of the image, written in another way: a runtime would find two like computations, and keep the first.
        shape = self.writer.integers([1, -1, *self.image_shape[2:]])
        made = {self.image: self.writer.node("Reshape", self.graph.input[0].name, shape)}
        again = [self.writer.again(plane, made) for plane in volume.planes[-count:]]
        return Volume(volume.shape, (*volume.planes[:-count], *again))

    def _kernel(self, node: onnx.NodeProto) -> Kernel3d:
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
        if set(attributes.get("dilations", [1])) != {1} or attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
            raise _unknown(f"a convolution {attributes}", "no dilation, explicit paddings")
        weight = self.constants[node.input[1]]
        bias = self.constants[node.input[2]] if len(node.input) > 2 else None
        return Kernel3d(weight, bias, attributes["strides"], attributes["pads"], attributes.get("group", 1))

    def _residual(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, Volume] | tuple[None, None]:
        """The sum that is all that happens to this convolution's output, with its other operand: it is written with it."""
        users = [user for user in self.graph.node if node.output[0] in user.input]
        pointwise = set(self.constants[node.input[1]].shape[2:]) == {1}
        if len(users) == 1 and users[0].op_type == "Add" and pointwise:
            (other,) = [name for name in users[0].input if name != node.output[0]]
            if isinstance(self.values.get(other), Volume):
                return users[0], self.values[other]
        return None, None

    def _mul(self, node: onnx.NodeProto) -> Any:
        first, second = (self.values.get(name) for name in node.input)
        if isinstance(first, Sigmoid):
            first, second = second, first
        if isinstance(second, Sigmoid) and isinstance(first, Volume):
            if second.argument is first:
                return first.map(self.layers.silu)
            if isinstance(second.argument, str):
                return Scaled(first, self.writer.node("Sigmoid", second.argument))
        return self._copy(node)

    def _add(self, node: onnx.NodeProto) -> Volume:
        first, second = (self._volume(name) for name in node.input)
        pairs = zip(first.planes, second.planes, strict=True)
        return Volume(first.shape, tuple(self.layers.add(*pair) for pair in pairs))

    def _mean(self, node: onnx.NodeProto) -> str:
        volume, axes = self._volume(node.input[0]), self.constants[node.input[1]].tolist()
        if sorted(axis % 5 for axis in axes) != [2, 3, 4]:
            raise _unknown(f"a mean over the axes {axes}", "the three axes of space")
        channels, _, height, width = volume.shape
        return self.layers.mean(volume.planes, (channels, height, width))


def _unknown(found: str, expected: str) -> InputError:
    return InputError(
        f"the lowering does not know {found}",
        expected=expected,
        remedy="Export this network with --forms volume, or teach export/lower.py.",
    )
