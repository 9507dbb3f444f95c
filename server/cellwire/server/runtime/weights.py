"""A cell's weights, held once in a device's memory for all programs around the cell.

Each program would otherwise hold them twice: in the session, and in the serialized program, which
ONNX Runtime keeps. (A program on the CPU also has packed copies of its matrices, which Python
cannot share.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cellwire.model_file.cell import Cell
from cellwire.server.runtime.compiled import Constant, without_data
from cellwire.server.runtime.constant_folding import LARGE_BYTES, fold_constants, tensor_bytes
from cellwire.server.runtime.memory import Memory

_TYPES = {  # that DLPack has, too
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.INT8,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.INT16,
    onnx.TensorProto.UINT16,
    onnx.TensorProto.INT32,
    onnx.TensorProto.UINT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.UINT64,
}


@dataclass(frozen=True, slots=True)
class Weights:
    """A cell, and those of its constants that its graph has without data."""

    cell: Cell
    constants: Mapping[str, Constant] = field(default_factory=dict)

    @classmethod
    def shared(cls, cell: Cell, memory: Memory) -> Weights:
        """Copy the cell's large constants to a device; MemoryError if it has no room, StepFailed.

        Programs around the result's cell cannot be compiled if ONNX Runtime would compute other
        constants from these. `fold_constants` leaves it little to compute; see also `embedded`.
        """
        model = fold_constants(cell.graph)
        constants: dict[str, Constant] = {}
        tensors = []
        for tensor in model.graph.initializer:
            if tensor.data_type in _TYPES and tensor_bytes(tensor) >= LARGE_BYTES:
                values = np.array(numpy_helper.to_array(tensor))
                constants[tensor.name] = memory.constant(values)
                tensors.append(without_data(tensor))
            else:
                tensors.append(tensor)
        return cls(replace(cell, graph=_with_constants(model, tensors)), constants)

    def embedded(self) -> Weights:
        """Return the same with all constants in the cell's graph, under a card's lock."""
        model = self.cell.graph
        tensors = [
            numpy_helper.from_array(self.constants[tensor.name].value.numpy(), tensor.name)
            if tensor.name in self.constants
            else tensor
            for tensor in model.graph.initializer
        ]
        return Weights(replace(self.cell, graph=_with_constants(model, tensors)))

    def close(self) -> None:
        """Give the memory back, after the sessions that use it are closed."""
        for value in self.constants.values():
            value.close()


def _with_constants(model: onnx.ModelProto, tensors: list[onnx.TensorProto]) -> onnx.ModelProto:
    """Return a copy with other constants, made without a copy of the old ones."""
    graph = model.graph
    copy = helper.make_graph(
        graph.node,
        graph.name,
        graph.input,
        graph.output,
        tensors,
        value_info=graph.value_info,
        sparse_initializer=graph.sparse_initializer,
    )
    return helper.make_model(
        copy,
        opset_imports=model.opset_import,
        functions=model.functions,
        ir_version=model.ir_version,
    )
