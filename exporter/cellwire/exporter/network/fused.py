"""Cells of torch.nn, which computes all layers and all time steps in one call."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from cellwire.exporter.network.cell import Cell, CellSize, State
from cellwire.exporter.network.folding import TrainedWeights
from cellwire.exporter.network.weights import Float64


class FusedCell(Cell):
    """An RNN or a GRU of torch, whose state is h."""

    def __init__(self, layers: nn.RNN | nn.GRU) -> None:
        super().__init__()
        self.layers = layers

    @override
    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        outputs, h = self.layers(inputs, None if state is None else state[0])
        return outputs, (h,)


def dropout_between(size: CellSize) -> float:
    """Return the dropout to give to torch, which warns of any in a single layer."""
    return size.dropout if size.layers > 1 else 0.0


def torch_layer(weights: TrainedWeights, layer: int) -> tuple[Float64, Float64, Float64, Float64]:
    """Return w_ih `[inputs, m]`, w_hh `[hidden, m]`, b_ih `[m]` and b_hh `[m]` of a layer."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    w_ih, w_hh, b_ih, b_hh = (weights.transposed(f"cell.layers.{n}_l{layer}") for n in names)
    return w_ih, w_hh, b_ih, b_hh
