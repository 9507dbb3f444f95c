"""The programs that read rows from all arenas, write rows to them, and make zeros, on a device.

    slot                    int64[n]
    row.<state>             float32[n, ...], the read program's output and the write program's input

    shape                   int64[dimensions]
    zeros                   float32[...], of that shape

On the CPU the arenas are numpy arrays, which need no programs.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

from cellwire.model_file.cell import Cell
from cellwire.server.programs.graph import OWN, Graph, Value
from cellwire.server.programs.program import ARENA, NEXT_ARENA, arenas

SLOT = f"{OWN}slot"
ROW = f"{OWN}row."
SHAPE = f"{OWN}shape"
ZEROS = f"{OWN}zeros"

_IR_VERSION, _OPSET = 10, 21


def compose_read(cell: Cell) -> bytes:
    """Return the serialized program that reads rows."""
    graph = Graph("read")
    for state in cell.states:
        graph.add("Gather", ARENA + state.name, SLOT, name=ROW + state.name, axis=0)
    return _model(graph, _infos(_slot(), *arenas(cell, ARENA)), _infos(*_rows(cell)))


def compose_write(cell: Cell) -> bytes:
    """Return the serialized program that writes rows."""
    graph = Graph("write")
    place = graph.add("Unsqueeze", SLOT, graph.axes(1))
    for state in cell.states:
        arena, rows = ARENA + state.name, ROW + state.name
        graph.add("ScatterND", arena, place, rows, name=NEXT_ARENA + state.name)
    inputs = _infos(_slot(), *_rows(cell), *arenas(cell, ARENA))
    return _model(graph, inputs, _infos(*arenas(cell, NEXT_ARENA)))


def compose_zeros() -> bytes:
    """Return the serialized program that makes zeros."""
    graph = Graph("zeros")
    graph.add("ConstantOfShape", SHAPE, name=ZEROS)
    any_shape = helper.make_tensor_value_info(ZEROS, TensorProto.FLOAT, None)
    return _model(graph, [Value(SHAPE, TensorProto.INT64, ["dimensions"]).info()], [any_shape])


def _slot() -> Value:
    return Value(SLOT, TensorProto.INT64, ["n"])


def _rows(cell: Cell) -> list[Value]:
    return [Value(ROW + s.name, TensorProto.FLOAT, ["n", *s.shape]) for s in cell.states]


def _infos(*values: Value) -> list[onnx.ValueInfoProto]:
    return [value.info() for value in values]


def _model(
    graph: Graph, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> bytes:
    body = helper.make_graph(graph.nodes, f"{OWN}transfer", inputs, outputs, graph.constants)
    opset = [helper.make_opsetid("", _OPSET)]
    model: onnx.ModelProto = helper.make_model(body, opset_imports=opset, ir_version=_IR_VERSION)
    return model.SerializeToString()
