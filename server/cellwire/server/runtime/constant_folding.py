"""A cell's nodes that read large constants alone, carried out once for all programs.

ONNX Runtime carries out such nodes when it compiles a program, which then holds their results. So
a weight that is transposed or widened before it is used would still be held by every program.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from cellwire.model_file.tensors import all_nodes, graphs_of
from cellwire.server.errors import StepFailed
from cellwire.server.runtime.compiled import Array, Compiled

LARGE_BYTES = 1024  # of a constant whose copies matter

_ONNX = ("", "ai.onnx")
# ONNX Runtime joins these with their neighbours. It cannot if one in a loop reads a constant from
# outside, so what they read is not folded, either.
_QUANTISING = ("QuantizeLinear", "DequantizeLinear")
_RANDOM = ("Random", "Bernoulli", "Multinomial", "Dropout")
_KEPT = (*_QUANTISING, *_RANDOM)


def tensor_bytes(tensor: onnx.TensorProto) -> int:
    """Return the size of a tensor's data; about that of strings, and of types below a byte."""
    elements = int(np.prod(tensor.dims, dtype=np.int64))
    return elements * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


def fold_constants(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with large constants as its nodes read them; the model itself if it has."""
    constant, large = _constant_nodes(model.graph)
    if not large:
        return model
    bare = _without_nodes(model, {name for node in large for name in node.output if name})
    read = _names_read(bare)
    results = [name for node in large for name in node.output if name in read]
    try:
        arrays = _carried_out(model, constant, results)
    except (ValueError, StepFailed):  # the cell's trial says what is wrong with it
        return model
    constants = [tensor for tensor in bare.graph.initializer if tensor.name in read]
    constants += [
        numpy_helper.from_array(array, name) for name, array in zip(results, arrays, strict=True)
    ]
    del bare.graph.initializer[:]
    bare.graph.initializer.extend(constants)
    return bare


def _constant_nodes(graph: onnx.GraphProto) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """Return all nodes that depend on constants alone, and those of them with a large one."""
    known = {tensor.name for tensor in graph.initializer}
    large_names = {t.name for t in graph.initializer if tensor_bytes(t) >= LARGE_BYTES}
    kept = {value.name for value in graph.output}
    for node in graph.node:
        if node.op_type in _QUANTISING:
            kept.update(node.input)
    constant, large = [], []
    for node in graph.node:
        inputs = [name for name in node.input if name]
        if not _may_fold(node) or not known.issuperset(inputs) or kept & {*node.output}:
            continue
        constant.append(node)
        known.update(node.output)
        if large_names.intersection(inputs) or _has_large_value(node):
            large.append(node)
            large_names.update(node.output)
    return constant, large


def _may_fold(node: onnx.NodeProto) -> bool:
    if (
        node.op_type.startswith((*_QUANTISING, *_RANDOM))
        or node.domain not in _ONNX
        or any(graphs_of(node))
    ):
        return False
    return bool(node.input) or node.op_type == "Constant"


def _has_large_value(node: onnx.NodeProto) -> bool:
    tensors = [a.t for a in node.attribute if a.HasField("t")]
    return node.op_type == "Constant" and any(tensor_bytes(t) >= LARGE_BYTES for t in tensors)


def _without_nodes(model: onnx.ModelProto, outputs: set[str]) -> onnx.ModelProto:
    """Return a copy without the nodes that have these outputs."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    nodes = [node for node in bare.graph.node if outputs.isdisjoint(node.output)]
    del bare.graph.node[:]
    bare.graph.node.extend(nodes)
    return bare


def _names_read(model: onnx.ModelProto) -> set[str]:
    """Return the names that nodes, inner graphs and the model's outputs read."""
    nodes = list(all_nodes(model))
    graphs = [model.graph, *(graph for node in nodes for graph in graphs_of(node))]
    read = {name for node in nodes for name in node.input}
    return read | {value.name for graph in graphs for value in graph.output}


def _carried_out(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], outputs: list[str]
) -> list[Array]:
    """Return the values of some nodes' outputs; ValueError, StepFailed."""
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "constants",
        [],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [tensor for tensor in model.graph.initializer if tensor.name in read],
    )
    whole = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=min(model.ir_version, 13)
    )
    arrays = Compiled(whole.SerializeToString(), quiet=True).run(outputs, {})
    if not all(isinstance(array, np.ndarray) for array in arrays):
        raise ValueError("not every constant is a tensor")
    return [*arrays]
