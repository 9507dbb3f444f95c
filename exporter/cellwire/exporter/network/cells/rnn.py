"""The simple RNN: h' = f(W x + R h + b), where f is tanh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from typing_extensions import override

from cellwire.exporter.network.cell import Cell, CellKind, CellSize
from cellwire.exporter.network.folding import FoldedLayer, TrainedWeights
from cellwire.exporter.network.fused import FusedCell, dropout_between, torch_layer
from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.weights import Float32, Float64, to_float32


@dataclass(frozen=True, slots=True, eq=False)
class FoldedRnnLayer(FoldedLayer):
    """A layer of a simple RNN, whose projected input is `[batch, hidden]`."""

    recurrent_weights: Float32  # [hidden, hidden]
    activation: Literal["Tanh", "Relu"]  # an operator of ONNX

    @override
    def add_step(self, nodes: Nodes, layer: int, projected: str) -> str:
        h = f"state.h{layer}"
        total = nodes.product(f"layer{layer}.sum", h, self.recurrent_weights, projected)
        return nodes.add(self.activation, total, out=f"next_state.h{layer}")


def make_rnn(size: CellSize, activation: Literal["tanh", "relu"]) -> Cell:
    """Return torch's simple RNN."""
    return FusedCell(
        nn.RNN(
            size.inputs,
            size.hidden,
            size.layers,
            nonlinearity=activation,
            batch_first=True,
            dropout=dropout_between(size),
        )
    )


def fold_rnn(
    weights: TrainedWeights,
    layer: int,
    parameters: tuple[Float64, Float64, Float64, Float64],
    activation: Literal["Tanh", "Relu"],
) -> FoldedRnnLayer:
    """Fold a layer's w_ih, w_hh, b_ih and b_hh."""
    w_ih, w_hh, b_ih, b_hh = parameters
    projection = weights.input_projection(layer, w_ih, b_ih + b_hh)
    return FoldedRnnLayer(projection, to_float32(w_hh), activation)


CELL = CellKind(
    state_names=("h",),
    bounded=True,
    make_module=lambda size: make_rnn(size, "tanh"),
    fold_layer=lambda weights, layer: fold_rnn(weights, layer, torch_layer(weights, layer), "Tanh"),
)
