"""The floor: what the network must cost on this machine, counted from its 3-D graph and the machine's measured rates.

Multiply-adds and bytes are counted node by node from inferred shapes. A node's bytes are its distinct inputs, weights among
them, and its outputs, as if each came from memory and went there once. Two bounds come of it: *node by node*, which a route that
computes one operator after another cannot pass, and *convolutions alone*, where everything else rides along. A route that keeps
tensors in the caches may pass both: only the arithmetic binds everyone (unless an algorithm saves multiplications).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, shape_inference

from export.machine import Rates
from scripts.errors import InputError

PRODUCTS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Cost:
    """What a graph computes and moves: multiply-adds by operator, bytes of all nodes, of the convolutions and products alone."""

    multiply_adds: dict[str, int]
    bytes_by_node: int
    bytes_of_products: int
    weight_bytes: int

    @property
    def total_multiply_adds(self) -> int:
        """Of the whole graph."""
        return sum(self.multiply_adds.values())


@dataclass(frozen=True)
class Floor:
    """The bounds, ms, and what they come from. `node_by_node_ms` is the floor that routes are compared with."""

    cost: Cost
    rates: Rates
    arithmetic_ms: float
    products_bytes_ms: float
    all_bytes_ms: float

    @property
    def node_by_node_ms(self) -> float:
        """max(bytes of every node / bandwidth, multiply-adds / rate), ms."""
        return max(self.all_bytes_ms, self.arithmetic_ms)

    @property
    def products_ms(self) -> float:
        """The same with the bytes of convolutions and matrix products alone, ms."""
        return max(self.products_bytes_ms, self.arithmetic_ms)

    def to_dict(self) -> dict[str, Any]:
        """The fields and the bounds, ready for JSON."""
        bounds = {"node_by_node_ms": self.node_by_node_ms, "convolutions_alone_ms": self.products_ms}
        return {**bounds, **asdict(self), "total_multiply_adds": self.cost.total_multiply_adds}


def floor_of(cost: Cost, rates: Rates) -> Floor:
    """The bounds of a graph on a machine."""
    return Floor(
        cost,
        rates,
        arithmetic_ms=cost.total_multiply_adds / rates.multiply_adds_per_s * 1e3,
        products_bytes_ms=cost.bytes_of_products / rates.bytes_per_s * 1e3,
        all_bytes_ms=cost.bytes_by_node / rates.bytes_per_s * 1e3,
    )


def count(path: str | Path) -> Cost:
    """Count a graph of static shapes.

    Raises:
        InputError: a shape that is not known, so that nothing can be counted.
    """
    graph = shape_inference.infer_shapes(onnx.load(str(path)), strict_mode=True, data_prop=True).graph
    sizes, shapes = _tensors(graph)
    multiply_adds: Counter[str] = Counter()
    moved = products = 0
    for node in graph.node:
        named = dict.fromkeys(name for name in [*node.input, *node.output] if name)
        unknown = [name for name in named if name not in sizes]
        if unknown:
            raise InputError(
                f"the shape of {unknown[0]!r} is not known",
                expected="a graph of static shapes",
                remedy="Export it for one size.",
                file=path,
            )
        size = sum(sizes[name] for name in named)
        moved += size
        if node.op_type in PRODUCTS:
            products += size
            multiply_adds[node.op_type] += _multiply_adds(node, shapes)
    weights = sum(sizes[weight.name] for weight in graph.initializer)
    return Cost(dict(multiply_adds), moved, products, weights)


def _tensors(graph: onnx.GraphProto) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    """Bytes and shape of every tensor whose shape is known."""
    shapes: dict[str, tuple[int, ...]] = {}
    types: dict[str, int] = {}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        dimensions = value.type.tensor_type.shape.dim
        if all(dimension.HasField("dim_value") for dimension in dimensions):
            shapes[value.name] = tuple(dimension.dim_value for dimension in dimensions)
            types[value.name] = value.type.tensor_type.elem_type
    for weight in graph.initializer:
        shapes[weight.name], types[weight.name] = tuple(weight.dims), weight.data_type
    width = {
        kind: onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize for kind in set(types.values()) - {TensorProto.STRING}
    }
    return {name: math.prod(shapes[name]) * width[types[name]] for name in shapes}, shapes


def _multiply_adds(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    out = math.prod(shapes[node.output[0]])
    if node.op_type == "Conv":  # weight (out, in / groups, *kernel)
        return out * math.prod(shapes[node.input[1]][1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return out * shapes[node.input[0]][0 if transposed else -1]
