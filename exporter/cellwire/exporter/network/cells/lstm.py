"""The LSTM (Hochreiter and Schmidhuber 1997) with forget gates (Gers et al. 2000).

i, f, o = sigmoid(W x + R h + b)    g = tanh(W_g x + R_g h + b_g)
c' = f c + i g                      h' = o tanh(c')
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from cellwire.exporter.network.cell import Cell, CellKind, CellSize, State
from cellwire.exporter.network.folding import FoldedLayer, TrainedWeights
from cellwire.exporter.network.fused import dropout_between, torch_layer
from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.weights import Float32, Float64, to_float32


class LstmCell(Cell):
    """torch's LSTM, whose forget gates start open."""

    def __init__(self, size: CellSize) -> None:
        super().__init__()
        self.layers = nn.LSTM(
            size.inputs,
            size.hidden,
            size.layers,
            batch_first=True,
            dropout=dropout_between(size),
        )
        # An open forget gate lets gradients reach far back from the first step (Jozefowicz et al.
        # 2015). torch adds two biases; one of them is enough. Its gate order is i, f, g, o.
        with torch.no_grad():
            for layer in range(size.layers):
                bias: Tensor = getattr(self.layers, f"bias_ih_l{layer}")
                bias[size.hidden : 2 * size.hidden] = 1.0

    @override
    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs, next_state = self.layers(inputs, state)
        return outputs, next_state


@dataclass(frozen=True, slots=True, eq=False)
class FoldedLstmLayer(FoldedLayer):
    """A layer of an LSTM, whose projected input is `[batch, 4 hidden]`.

    The gates are in the order i, f, o, g, so that one sigmoid covers three of them.
    """

    recurrent_weights: Float32  # [hidden, 4 hidden]

    @override
    def add_step(self, nodes: Nodes, layer: int, projected: str) -> str:
        name, hidden = f"layer{layer}", len(self.recurrent_weights)
        gates = nodes.product(f"{name}.gates", f"state.h{layer}", self.recurrent_weights, projected)
        ifo, g = nodes.split(gates, ifo=3 * hidden, g=hidden)
        sigmoids = nodes.add("Sigmoid", ifo, out=f"{name}.sigmoids")
        i, f, o = nodes.split(sigmoids, i=hidden, f=hidden, o=hidden)
        retained = nodes.add("Mul", f, f"state.c{layer}", out=f"{name}.retained")
        candidate = nodes.add("Tanh", g, out=f"{name}.candidate")
        update = nodes.add("Mul", i, candidate, out=f"{name}.update")
        c = nodes.add("Add", retained, update, out=f"next_state.c{layer}")
        c_tanh = nodes.add("Tanh", c, out=f"{name}.c_tanh")
        return nodes.add("Mul", o, c_tanh, out=f"next_state.h{layer}")


def _fold(weights: TrainedWeights, layer: int) -> FoldedLstmLayer:
    w_ih, w_hh, b_ih, b_hh = map(_reorder_gates, torch_layer(weights, layer))
    projection = weights.input_projection(layer, w_ih, b_ih + b_hh)
    return FoldedLstmLayer(projection, to_float32(w_hh))


def _reorder_gates(array: Float64) -> Float64:
    """Reorder the last axis `[4 hidden]` from torch's i, f, g, o to i, f, o, g."""
    i, f, g, o = np.split(array, 4, axis=-1)
    return np.concatenate([i, f, o, g], axis=-1)


CELL = CellKind(state_names=("h", "c"), bounded=True, make_module=LstmCell, fold_layer=_fold)
