"""A machine with a GPU and TensorRT where there is none: a libcudart.so of a page of C, and a package `tensorrt` beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

HERE = Path(__file__).parent
EDGE = HERE.parents[1] / "edge"
CUDART = "libcudart.so.13"


def make(folder: Path) -> Path:
    """Write both into a folder; it is returned. Skips the test where there is no C compiler."""
    folder.mkdir(parents=True, exist_ok=True)
    source, library = HERE / "stand_in_cudart.c", folder / CUDART
    if shutil.which("gcc") is None:
        pytest.skip("the CUDA that stands in is compiled with gcc")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source], check=True)
    shutil.copy(HERE / "stand_in_tensorrt.py", folder / "tensorrt.py")
    return folder


def environment(folder: Path, **said: str) -> dict[str, str]:
    """Of a process on that machine; what is said is added in capitals: gpu="Thor" is STAND_IN_GPU."""
    paths = {"PYTHONPATH": f"{folder}{os.pathsep}{EDGE}", "LD_LIBRARY_PATH": str(folder)}
    return {**os.environ, **paths, **{f"STAND_IN_{name.upper()}": value for name, value in said.items()}}


def means(shape: Sequence[int]) -> bytes:
    """A graph: image of this shape -> `branch_scores`, the mean of each channel, and `pred`, theirs."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["branch_scores"], axes=[2, 3, 4], keepdims=0),
        helper.make_node("ReduceMean", ["branch_scores"], ["pred"], axes=[1], keepdims=1),
    ]
    tensors = {"image": shape, "branch_scores": shape[:2], "pred": (shape[0], 1)}
    image, *outputs = (helper.make_tensor_value_info(name, TensorProto.FLOAT, edges) for name, edges in tensors.items())
    graph = helper.make_graph(nodes, "means", [image], outputs)
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return bytes(model.SerializeToString())
