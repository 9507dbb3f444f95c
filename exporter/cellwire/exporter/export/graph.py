"""One step of the network as an ONNX graph.

    token                int64[batch]            logits                float32[batch, vocabulary]
    state.h0, state.c0   float32[batch, hidden]  next_state.h0, next_state.c0  the same
    state.h1, ...                                next_state.h1, ...

The names of a state depend on the kind of cell; only an LSTM has a c. A classifier has, instead of
logits, `scores` float32[batch, labels], which are probabilities. The graph is built node by node
instead of traced, which fixes every name and every operator.
"""

from __future__ import annotations

from typing import Literal, get_args

import onnx
from onnx import TensorProto, helper

from cellwire.exporter.export.float16 import Float16Nodes
from cellwire.exporter.export.fold import FoldedNetwork
from cellwire.exporter.export.int8 import Int8Nodes
from cellwire.exporter.network.folding import FoldedLayer
from cellwire.exporter.network.kinds import cell_kind
from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.weights import Table

Weights = Literal["float32", "float16", "int8"]
"""The number format of tables and matrices."""

WEIGHTS: tuple[Weights, ...] = get_args(Weights)

# ONNX Runtime 1.31 reads up to 13 and 26; these are older, so that earlier releases read the files.
IR_VERSION = 10
OPSET = 21

_NODES: dict[Weights, type[Nodes]] = {
    "float32": Nodes,
    "float16": Float16Nodes,
    "int8": Int8Nodes,
}


def cell_graph(network: FoldedNetwork, weights: Weights = "float32") -> onnx.ModelProto:
    """Return a model that computes one step of the network, without metadata.

    int8 requires a cell kind that is `bounded`.
    """
    nodes = _NODES[weights]()
    answer = _add_nodes(nodes, network)
    token = helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"])
    graph = helper.make_graph(
        nodes.nodes,
        network.kind,
        inputs=[token, *_states("state", network)],
        outputs=[_rows(answer, network.head.width), *_states("next_state", network)],
        initializer=nodes.constants,
    )
    return helper.make_model(
        graph,
        producer_name="cellwire",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _add_nodes(nodes: Nodes, network: FoldedNetwork) -> str:
    """Add all layers and the head; return the name of the logits or scores."""
    layer_input = "token"
    for number, layer in enumerate(network.layers):
        projected = _add_input_projection(nodes, number, layer, layer_input)
        layer_input = layer.add_step(nodes, number, projected)
    if not network.classifies:
        return nodes.affine("logits", layer_input, network.head)
    return nodes.add("Softmax", nodes.affine("head", layer_input, network.head), out="scores")


def _add_input_projection(nodes: Nodes, number: int, layer: FoldedLayer, layer_input: str) -> str:
    """Project the token `[batch]`, or the h of the layer before `[batch, hidden]`."""
    out = f"layer{number}.input_projection"
    if isinstance(layer.input_projection, Table):
        return nodes.look_up(out, layer.input_projection.rows, layer_input)
    return nodes.affine(out, layer_input, layer.input_projection)


def _states(prefix: str, network: FoldedNetwork) -> list[onnx.ValueInfoProto]:
    """Describe the states of all layers, in the order h0, c0, h1, ..."""
    return [
        _rows(f"{prefix}.{name}{layer}", network.hidden)
        for layer in range(len(network.layers))
        for name in cell_kind(network.kind).state_names
    ]


def _rows(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
