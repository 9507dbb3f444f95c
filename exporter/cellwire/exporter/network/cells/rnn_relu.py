"""The simple RNN with a rectifier: h' = max(0, W x + R h + b)."""

from __future__ import annotations

from cellwire.exporter.network.cell import CellKind
from cellwire.exporter.network.cells.rnn import fold_rnn, make_rnn
from cellwire.exporter.network.fused import torch_layer

CELL = CellKind(
    state_names=("h",),
    bounded=False,
    make_module=lambda size: make_rnn(size, "relu"),
    fold_layer=lambda weights, layer: fold_rnn(weights, layer, torch_layer(weights, layer), "Relu"),
)
