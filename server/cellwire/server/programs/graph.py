"""Nodes of an ONNX graph under construction, and many steps of such a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OWN = "cellwire."  # how our names begin; no cell may use such names

Shape = Sequence[str | int]  # a name stands for a length that differs from run to run


@dataclass(frozen=True, slots=True)
class Value:
    """What a graph takes in or gives out."""

    name: str
    dtype: int  # of TensorProto
    shape: Shape

    def info(self) -> onnx.ValueInfoProto:
        """Return it as ONNX declares it."""
        return helper.make_tensor_value_info(self.name, self.dtype, [*self.shape])


@dataclass(frozen=True, slots=True)
class LoopCarried:
    """What each step of a loop takes over from the one before it."""

    first: str  # around the loop: what the first step takes
    read: Value  # inside: what a step takes
    left: str  # and what it leaves
    last: str  # around the loop: what the last step leaves


@dataclass(frozen=True, slots=True)
class ScanOutput:
    """What each step of a loop tells."""

    told: Value
    output: str  # around the loop: `[steps, ...]`


class Graph:
    """Nodes and constants; every value they make gets a name of its own, within `part`."""

    def __init__(self, part: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._part = part

    def split(self, values: str, sizes: Sequence[int], into: Sequence[str]) -> None:
        """Split `values` along the first axis into parts of these lengths."""
        self._add("Split", (values, self.constant(sizes, np.int64)), [*into], {"axis": 0})

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: int | str) -> str:
        """Add a node with one output and return the output's name."""
        name = name or f"{OWN}{self._part}.{kind}.{len(self.nodes)}"
        self._add(kind, inputs, [name], attributes)
        return name

    def top(
        self, values: str, limit: str, *, places: str = "", largest: bool = True
    ) -> tuple[str, str]:
        """Rank the first `limit` of each row of `values`; return their values and `places`.

        Of equal ones the first comes first.
        """
        places = places or f"{OWN}{self._part}.places.{len(self.nodes)}"
        ranked = f"{places}.ranked"
        self._add("TopK", (values, limit), [ranked, places], {"axis": 1, "largest": int(largest)})
        return ranked, places

    def _add(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: list[str],
        attributes: Mapping[str, int | str],
    ) -> None:
        node = helper.make_node(kind, inputs, outputs, name=outputs[0])
        node.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        self.nodes.append(node)

    def constant(self, value: object, dtype: type[np.generic], *, name: str = "") -> str:
        """Add a constant and return its name."""
        name = name or f"{OWN}{self._part}.constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def axes(self, *axes: int) -> str:
        """Add a list of axes and return its name."""
        return self.constant(axes, np.int64)

    def loop(
        self,
        step: Graph,
        steps: str,
        number: str,
        carried: Sequence[LoopCarried],
        collected: Sequence[ScanOutput],
    ) -> None:
        """Run `step` so many times, each time on what the one before it left.

        `steps` names how often, and `number` what a step calls its own number.
        """
        go_on = f"{OWN}{step._part}.go_on"
        told = {each.told.name for each in collected}
        # A value may leave a loop one way only: carried to the next step, or told.
        left = [step.add("Identity", c.left) if c.left in told else c.left for c in carried]
        body = helper.make_graph(
            step.nodes,
            step._part,
            [
                Value(number, TensorProto.INT64, []).info(),
                Value(go_on, TensorProto.BOOL, []).info(),
                *(each.read.info() for each in carried),
            ],
            [
                Value(step.add("Identity", go_on), TensorProto.BOOL, []).info(),
                *(
                    Value(name, each.read.dtype, each.read.shape).info()
                    for name, each in zip(left, carried, strict=True)
                ),
                *(each.told.info() for each in collected),
            ],
        )
        inputs = [steps, "", *(each.first for each in carried)]
        outputs = [*(each.last for each in carried), *(each.output for each in collected)]
        name = f"{OWN}{self._part}.loop"
        self.nodes.append(helper.make_node("Loop", inputs, outputs, name=name, body=body))

    def unrolled(
        self,
        step: Graph,
        steps: int,
        number: str,
        carried: Sequence[LoopCarried],
        collected: Sequence[ScanOutput],
    ) -> None:
        """Do the same as `loop`, without one: so many copies of the step, one after the other."""
        made = {name for node in step.nodes for name in node.output}
        before = {each.read.name: each.first for each in carried}
        told: dict[str, list[str]] = {each.output: [] for each in collected}
        for k in range(steps):
            names = {name: f"{OWN}{k}.{name}" for name in made}
            names |= before | {number: self.constant(k, np.int64)}
            self.nodes.extend(_renamed(node, names) for node in step.nodes)
            before = {each.read.name: names.get(each.left, each.left) for each in carried}
            for each in collected:
                of_step = self.add("Unsqueeze", names[each.told.name], self.axes(0))
                told[each.output].append(of_step)
        for value in carried:
            self.add("Identity", before[value.read.name], name=value.last)
        for output, parts in told.items():
            self.add("Concat", *parts, name=output, axis=0)


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """Return a copy of a node, with other names for what it reads and makes."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.ClearField("name")  # no two nodes may have one name
    copy.input[:] = [names.get(name, name) for name in node.input]
    copy.output[:] = [names.get(name, name) for name in node.output]
    for attribute in copy.attribute:
        for inner in attribute.graphs:
            _rename_outer(inner, names)
        if attribute.HasField("g"):
            _rename_outer(attribute.g, names)
    return copy


def _rename_outer(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give other names to what a graph within a node reads from around it."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    outer = {name: other for name, other in names.items() if name not in own}
    nodes = [_renamed(node, outer) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in graph.output:
        value.name = outer.get(value.name, value.name)
