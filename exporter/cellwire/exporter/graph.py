"""The single-step cell as an ONNX graph.

    token                int64[batch]          logits                float32[batch, vocabulary]
    state.h0, state.c0   float32[batch, hidden]    next_state.h0, next_state.c0   the same
    state.h1, ...                              next_state.h1, ...

Built node by node, so that every name and every operator is ours; torch is not needed for it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from cellwire.exporter.fold import Float32, FoldedLstm
from cellwire.exporter.int8 import HIDDEN_LEVELS, HIDDEN_ZERO, Int8Weights

# The newest that both ends read: ONNX Runtime 1.31 stops at 13 and 26, older ones earlier.
IR_VERSION = 10
OPSET = 21


def lstm_cell(weights: FoldedLstm, *, int8: bool = False) -> onnx.ModelProto:
    """Return the cell that computes one step of an LSTM, without metadata.

    With `int8`, its matrix products are of integers (see int8.py).
    """
    vocabulary, hidden = len(weights.head_bias), len(weights.recurrent)
    layers = range(1 + len(weights.above))
    states = [f"{part}{layer}" for layer in layers for part in "hc"]
    nodes = _Int8Nodes(hidden) if int8 else _Nodes(hidden)
    row = nodes.add("Gather", "table", "token", out="layer0.input")
    below = nodes.layer(0, row, weights.recurrent)
    for number, layer in enumerate(weights.above, start=1):
        gates = nodes.product(f"layer{number}.input", below, layer.weights, layer.bias)
        below = nodes.layer(number, gates, layer.recurrent)
    nodes.constant("table", weights.table)
    nodes.product("logits", below, weights.head, weights.head_bias)
    graph = helper.make_graph(
        nodes.nodes,
        "lstm",
        inputs=[
            helper.make_tensor_value_info("token", TensorProto.INT64, ["batch"]),
            *(_rows(f"state.{name}", hidden) for name in states),
        ],
        outputs=[
            _rows("logits", vocabulary),
            *(_rows(f"next_state.{name}", hidden) for name in states),
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


class _Nodes:
    """The nodes and constants of a cell in the making; methods return the name of their output."""

    def __init__(self, hidden: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.constant("sigmoid_and_tanh", np.array([3 * hidden, hidden]))

    def constant(self, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(self, operator: str, *inputs: str, out: str, to: int | None = None) -> str:
        """Add a node; `to` is the type that a Cast casts to."""
        self.nodes.append(helper.make_node(operator, inputs, [out], name=out, to=to))
        return out

    def split(self, what: str, sizes: str | None, into: list[str]) -> list[str]:
        """Split the columns of `what`, evenly unless `sizes` names a constant."""
        inputs = [what, sizes] if sizes else [what]
        parts = None if sizes else len(into)
        node = helper.make_node(
            "Split", inputs, into, name=f"{what}.split", axis=1, num_outputs=parts
        )
        self.nodes.append(node)
        return into

    def product(self, out: str, rows: str, weights: Float32, bias: Float32 | str) -> str:
        """`rows` [batch, n] times `weights` [n, m] plus `bias`: [m], or the name of [batch, m]."""
        if not isinstance(bias, str):
            bias = self.constant(f"{out}.bias", bias)
        return self._product(out, rows, weights, bias)

    def _product(self, out: str, rows: str, weights: Float32, bias: str) -> str:
        return self.add("Gemm", rows, self.constant(f"{out}.weights", weights), bias, out=out)

    def layer(self, number: int, from_below: str, recurrent: Float32) -> str:
        """One layer's new c and h, from its gates' part that comes from below; returns h."""
        at = f"layer{number}."
        gates = self.product(f"{at}gates", f"state.h{number}", recurrent, from_below)
        ifo, g = self.split(gates, "sigmoid_and_tanh", [f"{at}ifo", f"{at}g"])
        opened = self.add("Sigmoid", ifo, out=f"{at}ifo.sigmoid")
        i, f, o = self.split(opened, None, [f"{at}i", f"{at}f", f"{at}o"])
        kept = self.add("Mul", f, f"state.c{number}", out=f"{at}kept")
        candidate = self.add("Tanh", g, out=f"{at}candidate")
        new = self.add("Mul", i, candidate, out=f"{at}new")
        c = self.add("Add", kept, new, out=f"next_state.c{number}")
        return self.add(
            "Mul", o, self.add("Tanh", c, out=f"{at}c.tanh"), out=f"next_state.h{number}"
        )


class _Int8Nodes(_Nodes):
    """The same, but matrix products are of integers; all that is multiplied are hidden states."""

    def __init__(self, hidden: int) -> None:
        super().__init__(hidden)
        self.constant("hidden.unit", np.array(1 / HIDDEN_LEVELS, np.float32))
        self.constant("hidden.zero", np.array(HIDDEN_ZERO, np.uint8))
        self._rounded: dict[str, str] = {}

    def _product(self, out: str, rows: str, weights: Float32, bias: str) -> str:
        rounded = Int8Weights.of(weights)
        matrix = self.constant(f"{out}.weights", rounded.values)
        unit = self.constant(f"{out}.unit", rounded.unit / np.float32(HIDDEN_LEVELS))
        rows = self._round(rows)
        total = self.add("MatMulInteger", rows, matrix, "hidden.zero", out=f"{out}.total")
        number = self.add("Cast", total, out=f"{out}.number", to=TensorProto.FLOAT)
        return self.add("Add", self.add("Mul", number, unit, out=f"{out}.product"), bias, out=out)

    def _round(self, hidden: str) -> str:
        """Return a hidden state as integers; each is rounded once."""
        if hidden not in self._rounded:
            self._rounded[hidden] = self.add(
                "QuantizeLinear", hidden, "hidden.unit", "hidden.zero", out=f"{hidden}.rounded"
            )
        return self._rounded[hidden]
