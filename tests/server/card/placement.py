"""Where ONNX Runtime places a program's nodes and values: on the card, or in the host.

A node without a kernel for CUDA runs on the host. So does one that only computes with what a kernel
leaves in the host's memory, such as a shape. A value that is needed on the other side is copied by
a Memcpy node, which waits for the card.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx
from tests.server.programs.cuda_kernels import HOST_INPUTS, KERNELS, types_of

# Inputs and outputs that a kernel has in the host's memory.
_IN_HOST: dict[str, set[int]] = {
    **{kind: {place} for kind, place in HOST_INPUTS.items()},
    "Range": {0, 1, 2},
    "Loop": {0, 1},
    "If": {0},
    "Slice": {1, 2, 3, 4},
    "Tile": {1},
    "Pad": {1, 2, 3},
    "OneHot": {1},
    "ConstantOfShape": {0},
}
_OUT_HOST = {"Shape", "Size"}


@dataclass
class Placement:
    """What of a program is not on the card."""

    host_nodes: list[str] = field(default_factory=list)
    copies: list[str] = field(default_factory=list)  # of Memcpy nodes, in loops once for each step
    control_flow: list[str] = field(default_factory=list)
    host_inputs: set[str] = field(default_factory=set)  # wanted in the host's memory only
    card_nodes: int = field(default=0, compare=False)

    @property
    def capturable(self) -> bool:
        """Whether ONNX Runtime would capture it."""
        return self.card_nodes > 0 and not self.copies and not self.control_flow


def place(model: onnx.ModelProto) -> Placement:
    """Place all nodes."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model)
    except onnx.shape_inference.InferenceError:
        inferred = model
    placement = Placement()
    graph = inferred.graph
    inputs = {value.name for value in graph.input}
    constants = {tensor.name for tensor in graph.initializer}
    placed = _Graph(placement, types_of(graph), constants, inputs)
    placed.place(graph, {})
    placed.finish()
    return placement


class _Graph:
    """A graph while its nodes are placed one after the other."""

    def __init__(
        self, placement: Placement, types: Mapping[str, int], constants: set[str], inputs: set[str]
    ) -> None:
        self._placement = placement
        self._types = types
        self._constants = constants
        self._inputs = inputs  # of the program: they are copied when they are bound
        self._in_host: dict[str, bool] = {}  # of every value that is no input
        self._shapes = set[str]()  # values that nodes of this graph have left in the host
        self._wanted: dict[str, set[bool]] = {}  # of the program's inputs

    def place(self, graph: onnx.GraphProto, outer: Mapping[str, bool]) -> None:
        """Place the nodes of a graph; `outer` says which values from outside are in the host."""
        self._in_host = dict(outer)
        for node in graph.node:
            if node.input and all(name in self._constants for name in node.input if name):
                self._constants |= set(node.output)  # folded, when the program is compiled
            else:
                self._place_node(node)

    def finish(self) -> None:
        """Note where the program's inputs are wanted."""
        for name, wanted in self._wanted.items():
            if wanted == {True}:
                self._placement.host_inputs.add(name)
            elif len(wanted) > 1:
                self._placement.copies.append(f"the input {name}")

    def _place_node(self, node: onnx.NodeProto) -> None:
        has_kernel = self._has_kernel(node)
        on_host = not has_kernel or self._is_about_shapes(node)
        if on_host:
            self._placement.host_nodes.append(f"{node.op_type} of {node.output[0]}")
        else:
            self._placement.card_nodes += 1
        for place, name in enumerate(node.input):
            self._use(name, node, in_host=on_host or place in _wanted_in_host(node))
        in_host = on_host or node.op_type in _OUT_HOST
        self._in_host |= dict.fromkeys(node.output, in_host)
        if in_host and has_kernel:
            self._shapes |= set(node.output)
        self._place_bodies(node)

    def _has_kernel(self, node: onnx.NodeProto) -> bool:
        if node.op_type == "If":
            return True
        typed = node.input[1 if node.op_type == "Where" else 0] if node.input else ""
        known = KERNELS.get(node.op_type)
        return known is not None and (typed not in self._types or self._types[typed] in known)

    def _is_about_shapes(self, node: onnx.NodeProto) -> bool:
        """Whether a node takes only what is in the host's memory, and the card wants it there not.

        ONNX Runtime prefers the host for these (GetCpuPreferredNodes).
        """
        known = self._shapes | self._constants | self._inputs
        return any(
            name in self._shapes and place not in _wanted_in_host(node)
            for place, name in enumerate(node.input)
        ) and all(name in known for name in node.input if name)

    def _use(self, name: str, node: onnx.NodeProto, *, in_host: bool) -> None:
        if not name or name in self._constants:
            return
        if name in self._inputs:
            self._wanted.setdefault(name, set()).add(in_host)
        elif self._in_host.get(name, False) != in_host:
            self._placement.copies.append(f"{name} for {node.op_type} of {node.output[0]}")

    def _place_bodies(self, node: onnx.NodeProto) -> None:
        for attribute in node.attribute:
            if not attribute.HasField("g"):
                continue
            self._placement.control_flow.append(node.op_type)
            body, is_loop = attribute.g, node.op_type == "Loop"
            given = {value.name: False for value in body.input}
            if is_loop:  # the number and the condition
                given |= {value.name: True for value in body.input[:2]}
            constants = self._constants | {tensor.name for tensor in body.initializer}
            inner = _Graph(self._placement, self._types, constants, self._inputs)
            inner._wanted = self._wanted
            inner.place(body, self._in_host | given)
            condition = body.output[0].name
            if is_loop and not inner._in_host.get(condition, True):
                self._placement.copies.append(f"the loop's condition, {condition}")


def _wanted_in_host(node: onnx.NodeProto) -> set[int]:
    return _IN_HOST.get(node.op_type, set())
