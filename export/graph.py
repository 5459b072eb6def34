"""Write an ONNX graph node by node: names in running order, every constant once, the same bytes from the same calls.

Opset 18 and IR version 10 are what ONNX Runtime 1.20 and TensorRT 10.3 both read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10
PRODUCER = "etsc-net"


class GraphWriter:
    """Collects nodes and constants in the order in which they are written.

    Attributes:
        domains: of the operators, name -> version; whoever writes others than ONNX's adds theirs.
    """

    def __init__(self) -> None:
        self.domains = {"": OPSET}
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._makers: dict[str, onnx.NodeProto] = {}

    def constant(self, value: NDArray[np.generic]) -> str:
        """The name of an initializer with this value; equal values share one."""
        value = np.asarray(value, order="C")
        head = f"{value.dtype}{value.shape}".encode()
        key = hashlib.sha256(head + value.tobytes()).hexdigest()
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(value, f"c{len(self._constants)}")
        return self._constants[key].name

    def integers(self, values: Sequence[int]) -> str:
        """The name of an int64 vector."""
        return self.constant(np.array(values, dtype=np.int64))

    def node(self, operator: str, *inputs: str, domain: str = "", output: str = "", **attributes: Any) -> str:
        """Append a node with one output; returns the output's name."""
        name = output or f"v{len(self.nodes)}"
        node = helper.make_node(operator, list(inputs), [name], name=f"n{len(self.nodes)}", domain=domain, **attributes)
        self.nodes.append(node)
        self._makers[name] = node
        return name

    def operators(self, name: str, *, since: str) -> set[str]:
        """The operators that make a tensor out of another one, constants aside."""
        found, open_ends = set(), [name]
        seen = {since}
        while open_ends:
            maker = self._makers.get(open_ends.pop())
            if maker is not None and maker.output[0] not in seen:
                seen.add(maker.output[0])
                found.add(maker.op_type)
                open_ends += maker.input
        return found

    def again(self, name: str, made: dict[str, str]) -> str:
        """The same tensor, computed once more.

        Args:
            name: of the tensor.
            made: what has been computed once more so far, old name -> new; it begins with the tensor to start from.
        """
        if name in self._makers and name not in made:
            maker = self._makers[name]
            inputs = [self.again(source, made) for source in maker.input]
            attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in maker.attribute}
            made[name] = self.node(maker.op_type, *inputs, domain=maker.domain, **attributes)
        return made.get(name, name)

    def model(
        self, inputs: Mapping[str, Sequence[int | str]], outputs: Mapping[str, Sequence[int | str]], *, notes: str
    ) -> onnx.ModelProto:
        """The finished model; all inputs and outputs are float32, name -> shape."""
        graph = helper.make_graph(
            self.nodes,
            PRODUCER,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            initializer=list(self._constants.values()),
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self.domains.items()]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name=PRODUCER, doc_string=notes
        )
