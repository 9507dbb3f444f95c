"""The GRU (Cho et al. 2014) in torch's form, where r multiplies a product with h.

r, z = sigmoid(W x + R h + b)    n = tanh(W_n x + b + r (R_n h + b_n))
h' = n + z (h - n)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn
from typing_extensions import override

from cellwire.exporter.network.cell import Cell, CellKind, CellSize
from cellwire.exporter.network.folding import FoldedLayer, TrainedWeights
from cellwire.exporter.network.fused import FusedCell, dropout_between, torch_layer
from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.weights import Affine, Float32, to_float32


@dataclass(frozen=True, slots=True, eq=False)
class FoldedGruLayer(FoldedLayer):
    """A layer of a GRU, whose projected input is `[batch, 3 hidden]` in the order r, z, n."""

    recurrent_weights: Float32  # [hidden, 2 hidden], of r and z
    candidate: Affine  # [hidden, hidden], of n; its bias is inside the product with r

    @override
    def add_step(self, nodes: Nodes, layer: int, projected: str) -> str:
        name, h, hidden = f"layer{layer}", f"state.h{layer}", len(self.recurrent_weights)
        rz, n = nodes.split(projected, rz=2 * hidden, n=hidden)
        gates = nodes.product(f"{name}.gates", h, self.recurrent_weights, rz)
        sigmoids = nodes.add("Sigmoid", gates, out=f"{name}.sigmoids")
        r, z = nodes.split(sigmoids, r=hidden, z=hidden)
        recurrent = nodes.affine(f"{name}.recurrent", h, self.candidate)
        reset = nodes.add("Mul", r, recurrent, out=f"{name}.reset")
        total = nodes.add("Add", n, reset, out=f"{name}.n")
        candidate = nodes.add("Tanh", total, out=f"{name}.candidate")
        return nodes.interpolate(layer, start=candidate, end=h, weight=z)


def _make(size: CellSize) -> Cell:
    layers = nn.GRU(
        size.inputs, size.hidden, size.layers, batch_first=True, dropout=dropout_between(size)
    )
    return FusedCell(layers)


def _fold(weights: TrainedWeights, layer: int) -> FoldedGruLayer:
    w_ih, w_hh, b_ih, b_hh = torch_layer(weights, layer)
    gates = 2 * len(w_hh)  # columns of r and z
    bias = b_ih + np.concatenate([b_hh[:gates], np.zeros(len(w_hh))])
    projection = weights.input_projection(layer, w_ih, bias)
    candidate = Affine.of(w_hh[:, gates:], b_hh[gates:])
    return FoldedGruLayer(projection, to_float32(w_hh[:, :gates]), candidate)


CELL = CellKind(state_names=("h",), bounded=True, make_module=_make, fold_layer=_fold)
