"""Multiply-adds and bytes against what a hand computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.floor import Cost, count, floor_of
from export.machine import Rates, describe_machine, measure_rates, versions
from scripts.errors import InputError


def _save(path: Path, nodes: list[onnx.NodeProto], shape: list[int | str], weights: dict[str, np.ndarray]) -> Path:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_a_grouped_strided_convolution(tmp_path: Path) -> None:
    """(1, 4, 9, 9, 9) with 6 filters of 2 x 3 x 3 x 3 in 2 groups, stride 2, no padding -> (1, 6, 4, 4, 4)."""
    node = helper.make_node("Conv", ["image", "weight", "bias"], ["out"], group=2, strides=[2, 2, 2])
    weights = {"weight": np.zeros((6, 2, 3, 3, 3), np.float32), "bias": np.zeros(6, np.float32)}
    cost = count(_save(tmp_path / "conv.onnx", [node], [1, 4, 9, 9, 9], weights))
    assert cost.multiply_adds == {"Conv": 6 * 4 * 4 * 4 * 2 * 27}
    assert cost.weight_bytes == 4 * (6 * 2 * 27 + 6)
    assert cost.bytes_by_node == cost.bytes_of_products == 4 * (4 * 9**3 + 6 * 4**3 + 6 * 2 * 27 + 6)


def test_a_product_with_a_bias(tmp_path: Path) -> None:
    node = helper.make_node("Gemm", ["image", "weight", "bias"], ["out"], transB=1)
    weights = {"weight": np.zeros((5, 7), np.float32), "bias": np.zeros(5, np.float32)}
    assert count(_save(tmp_path / "gemm.onnx", [node], [3, 7], weights)).multiply_adds == {"Gemm": 3 * 5 * 7}


def test_other_nodes_move_bytes_and_a_tensor_read_twice_by_a_node_counts_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Sigmoid", ["image"], ["s"]),
        helper.make_node("Mul", ["image", "s"], ["silu"]),
        helper.make_node("Mul", ["silu", "silu"], ["out"]),
    ]
    cost = count(_save(tmp_path / "silu.onnx", nodes, [1, 2, 5, 5, 5], {}))
    assert cost.total_multiply_adds == 0 and cost.bytes_of_products == 0
    assert cost.bytes_by_node == (2 + 3 + 2) * 4 * 250


def test_a_graph_of_unknown_shapes_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "open.onnx", [helper.make_node("Sigmoid", ["image"], ["out"])], ["batch", 3], {})
    with pytest.raises(InputError, match=r"open\.onnx.*not known"):
        count(path)


def test_the_floor_is_the_larger_of_its_bounds() -> None:
    cost = Cost({"Conv": 3 * 10**9}, bytes_by_node=8 * 10**9, bytes_of_products=10**9, weight_bytes=0)
    floor = floor_of(cost, Rates(bytes_per_s=4e10, multiply_adds_per_s=6e10, threads=1))
    assert (floor.all_bytes_ms, floor.products_bytes_ms, floor.arithmetic_ms) == (200, 25, 50)
    assert (floor.node_by_node_ms, floor.products_ms) == (200, 50)


def test_the_machine_is_measured_and_described() -> None:
    rates = measure_rates(1, copied_mib=8, edge=128, runs=2)
    assert rates.threads == 1
    # Any processor of this century copies more than 10 MB and less than 10 TB, and multiplies more than 10 M times, a second.
    assert 1e7 < rates.bytes_per_s < 1e13 and 1e7 < rates.multiply_adds_per_s < 1e13
    said = describe_machine()
    assert said["cpu"] and said["logical_cores"] >= 1 and said["memory_bytes"] > 2**28
    assert versions()["torch"] and "openvino" in versions()
