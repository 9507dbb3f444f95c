"""An ONNX graph under construction, and a graph that is run as the steps of a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cellwire.model_file.interface import RESERVED

OWN = RESERVED  # the prefix of the daemon's names
_OF_SHAPE = {"Shape", "Size"}  # operators that read the shape of a value only

Shape = Sequence[str | int]  # a name stands for a length that differs between runs


@dataclass(frozen=True, slots=True)
class Value:
    """A graph's input or output."""

    name: str
    dtype: int  # of TensorProto
    shape: Shape

    def info(self) -> onnx.ValueInfoProto:
        """Return ONNX's declaration of the value."""
        return helper.make_tensor_value_info(self.name, self.dtype, [*self.shape])


@dataclass(frozen=True, slots=True)
class LoopCarried:
    """A value that each step of a loop hands to the next step."""

    initial: str  # outside the loop: the first step's input
    body_in: Value  # a step's input
    body_out: str  # a step's output
    final: str  # outside the loop: the last step's output


@dataclass(frozen=True, slots=True)
class ScanOutput:
    """A value that the loop collects from every step."""

    value: Value  # a step's output
    output: str  # outside the loop: `[steps, ...]`


class Graph:
    """Nodes and constants; their values get names that are unique within `part`."""

    def __init__(self, part: str) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.part = part

    def split(self, values: str, into: Sequence[str], *, axis: int = 0) -> None:
        """Split `values` along an axis into equal parts, named `into`.

        A card takes up to 32 parts apart in one kernel, and copies nothing to it for that.
        """
        if len(into) == 1:
            self.add("Identity", values, name=into[0])
        else:
            self._add("Split", (values,), [*into], {"axis": axis, "num_outputs": len(into)})

    def concat(self, parts: Sequence[str], *, axis: int, name: str = "") -> str:
        """Join `parts` along an axis and return the whole's name."""
        if len(parts) == 1:
            return self.add("Identity", parts[0], name=name)
        return self.add("Concat", *parts, axis=axis, name=name)

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: float | str) -> str:
        """Add a node with one output and return the output's name."""
        name = name or f"{OWN}{self.part}.{kind}.{len(self.nodes)}"
        self._add(kind, inputs, [name], attributes)
        return name

    def top(
        self, values: str, limit: str, *, top: str = "", places: str = "", largest: bool = True
    ) -> tuple[str, str]:
        """Add the top `limit` of each row of `values`; return the names of `top` and `places`.

        Both are `[rows, limit]`, in order; of equal values the first comes first.
        """
        places = places or f"{OWN}{self.part}.places.{len(self.nodes)}"
        top = top or f"{places}.values"
        self._add("TopK", (values, limit), [top, places], {"axis": 1, "largest": int(largest)})
        return top, places

    def _add(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: list[str],
        attributes: Mapping[str, int | float | str],
    ) -> None:
        node = helper.make_node(kind, inputs, outputs, name=outputs[0])
        node.attribute.extend(helper.make_attribute(key, v) for key, v in attributes.items())
        self.nodes.append(node)

    def constant(self, value: object, dtype: type[np.generic], *, name: str = "") -> str:
        """Add a constant and return its name."""
        name = name or f"{OWN}{self.part}.constant.{len(self.constants)}"
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
        scanned: Sequence[ScanOutput],
    ) -> None:
        """Add a loop with `step` as its body.

        `steps` names the trip count, and `number` is the step's name for its number, from 0.
        """
        body = _body(step, number, carried, scanned)
        inputs = [steps, "", *(c.initial for c in carried)]
        outputs = [*(c.final for c in carried), *(s.output for s in scanned)]
        name = f"{OWN}{self.part}.loop"
        self.nodes.append(helper.make_node("Loop", inputs, outputs, name=name, body=body))

    def unroll(
        self,
        step: Graph,
        steps: int,
        by_step: Mapping[str, Sequence[str]],
        carried: Sequence[LoopCarried],
        scanned: Sequence[ScanOutput],
    ) -> None:
        """Add a number of copies of `step`, one after the other: the same as `loop`, without it.

        `by_step` names a value for each step, by the name that the step reads it under.
        """
        step_outputs = {name for node in step.nodes for name in node.output}
        inputs = {c.body_in.name: c.initial for c in carried}
        scans: dict[str, list[str]] = {s.output: [] for s in scanned}
        for k in range(steps):
            names = {name: f"{OWN}{k}.{name}" for name in step_outputs}
            names |= inputs | {name: values[k] for name, values in by_step.items()}
            self.nodes.extend(_renamed(node, names) for node in step.nodes)
            inputs = {c.body_in.name: names.get(c.body_out, c.body_out) for c in carried}
            for scan in scanned:
                scans[scan.output].append(names[scan.value.name])
        for value in carried:
            self.add("Identity", inputs[value.body_in.name], name=value.final)
        for output, parts in scans.items():
            self._stack(parts, output)

    def _stack(self, parts: Sequence[str], output: str) -> None:
        """Join values along a new first axis."""
        first = self.axes(0)
        self.concat([self.add("Unsqueeze", part, first) for part in parts], axis=0, name=output)

    def depends(self, value: str, on: str) -> bool:
        """Whether the numbers in a value depend on those in another.

        A shape does not: it may be known when the graph is compiled.
        """
        dependent = {on}
        for node in self.nodes:
            if node.op_type not in _OF_SHAPE and not dependent.isdisjoint(node.input):
                dependent.update(node.output)
        return value in dependent


def _body(
    step: Graph, number: str, carried: Sequence[LoopCarried], scanned: Sequence[ScanOutput]
) -> onnx.GraphProto:
    """Return the graph of a loop's step."""
    proceed = f"{OWN}{step.part}.proceed"
    scanned_names = {scan.value.name for scan in scanned}
    # A loop's outputs need names of their own: a value that is also scanned is carried as a copy.
    carried_outputs = [
        step.add("Identity", c.body_out) if c.body_out in scanned_names else c.body_out
        for c in carried
    ]
    return helper.make_graph(
        step.nodes,
        step.part,
        [
            Value(number, TensorProto.INT64, []).info(),
            Value(proceed, TensorProto.BOOL, []).info(),
            *(c.body_in.info() for c in carried),
        ],
        [
            Value(step.add("Identity", proceed), TensorProto.BOOL, []).info(),
            *(
                Value(name, c.body_in.dtype, c.body_in.shape).info()
                for name, c in zip(carried_outputs, carried, strict=True)
            ),
            *(scan.value.info() for scan in scanned),
        ],
    )


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """Return a copy of a node with its inputs and outputs renamed."""
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
    """Rename the outer values that a node's inner graph reads."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    outer = {name: other for name, other in names.items() if name not in own}
    nodes = [_renamed(node, outer) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in graph.output:
        value.name = outer.get(value.name, value.name)
