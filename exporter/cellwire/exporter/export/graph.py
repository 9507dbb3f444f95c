"""The single-step cell as an ONNX graph.

    token                int64[batch]            logits                float32[batch, vocabulary]
    state.h0, state.c0   float32[batch, hidden]  next_state.h0, next_state.c0  the same
    state.h1, ...                                next_state.h1, ...

Only an LSTM has a c. A cell that classifies has, instead of logits, `scores` float32[batch,
labels], which are probabilities. Built node by node and not traced, so that every name and every
operator is ours.
"""

from __future__ import annotations

from typing import Literal, get_args

import onnx
from onnx import TensorProto, helper

from cellwire.exporter.export.float16 import Float16Nodes
from cellwire.exporter.export.fold import FoldedNetwork
from cellwire.exporter.export.int8 import Int8Nodes
from cellwire.exporter.export.steps import add_step
from cellwire.exporter.network.cells import STATES
from cellwire.exporter.network.nodes import Nodes

# What the numbers of tables and matrices are.
Weights = Literal["float32", "float16", "int8"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)

# The newest that both ends read: ONNX Runtime 1.31 stops at 13 and 26, older ones earlier.
IR_VERSION = 10
OPSET = 21

_NODES: dict[Weights, type[Nodes]] = {
    "float32": Nodes,
    "float16": Float16Nodes,
    "int8": Int8Nodes,
}


def cell_graph(network: FoldedNetwork, weights: Weights = "float32") -> onnx.ModelProto:
    """Return the cell that computes one step of the network, without metadata.

    int8 is only for cells of `int8.BOUNDED`.
    """
    nodes, below = _NODES[weights](), "token"
    for number, layer in enumerate(network.layers):
        below = add_step(nodes, number, layer, below)
    if network.classifies:
        answer = nodes.add("Softmax", nodes.affine("head", below, network.head), out="scores")
    else:
        answer = nodes.affine("logits", below, network.head)
    states = [f"{part}{n}" for n in range(len(network.layers)) for part in STATES[network.kind]]
    graph = helper.make_graph(
        nodes.nodes,
        network.kind,
        inputs=[
            helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"]),
            *(_rows(f"state.{name}", network.hidden) for name in states),
        ],
        outputs=[
            _rows(answer, len(network.head.bias)),
            *(_rows(f"next_state.{name}", network.hidden) for name in states),
        ],
        initializer=nodes.constants,
    )
    return helper.make_model(
        graph,
        producer_name="cellwire",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _rows(name: str, width: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
