"""The kernels and copies that a program takes on a CUDA card, reckoned without one.

A captured program is a graph of so many nodes, and for a few rows its time depends on little else.
They are counted in the program as ONNX Runtime optimizes it for the CPU, where it fuses the same
operators of these programs as for CUDA; how many kernels an operator has is from its source.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import onnxruntime as ort

_ALIASES = {"Reshape", "Squeeze", "Unsqueeze", "Identity"}
_MAX_PARTS_BY_VALUE = 32  # whose addresses are the kernel's own arguments
_MAX_INNER_PARTS = 3
_TABLES_OF_UNEQUAL_PARTS = 4  # copied to the card


def node_count(serialized: bytes) -> int:
    """Return how many kernels and copies a program without control flow takes."""
    graph = optimized(serialized).graph
    sizes = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    count = 0
    for node in graph.node:
        if any(attribute.HasField("g") for attribute in node.attribute):
            raise ValueError(f"{node.op_type}: control flow cannot be counted")
        if node.op_type in _ALIASES:
            count += not outputs.isdisjoint(node.output)  # an output has memory of its own
        elif node.op_type == "Gemm":
            count += 1 + (len(node.input) == 3 and bool(node.input[2]))  # the addend is copied
        elif node.op_type == "Split":
            lengths = sizes[node.input[1]] if len(node.input) > 1 else [1]
            count += 1 + _copies_of_split(node, equal=len(set(lengths)) == 1)
        else:
            count += 1
    return count


def _copies_of_split(node: onnx.NodeProto, *, equal: bool) -> int:
    parts = len(node.output)
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    if axis and parts <= _MAX_INNER_PARTS:
        return 0
    if equal:
        return int(parts > _MAX_PARTS_BY_VALUE)
    return _TABLES_OF_UNEQUAL_PARTS


def optimized(serialized: bytes) -> onnx.ModelProto:
    """Return a program as ONNX Runtime fuses it, without what is special to the CPU."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    with TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        options.optimized_model_filepath = str(path)
        ort.InferenceSession(serialized, options, providers=["CPUExecutionProvider"])
        return onnx.load(path)
