"""The minimal GRU (Feng et al. 2024, "Were RNNs All We Needed?").

z_t = sigmoid(W_z x_t + b_z)    h_t = (1 - z_t) h_(t-1) + z_t (W_h x_t + b_h)

Gate and candidate do not depend on h, so that training computes all steps of a window in one scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from cellwire.exporter.network.cell import CellKind
from cellwire.exporter.network.folding import FoldedLayer, TrainedWeights
from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.stacked import Layer, StackedCell
from cellwire.exporter.network.weights import Affine, Table, to_float32


class MinGruLayer(Layer):
    """One layer of minimal GRUs."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(inputs, hidden)
        self.candidate = nn.Linear(inputs, hidden)

    @override
    def forward(self, inputs: Tensor, h: Tensor) -> Tensor:
        gate = self.gate(inputs)
        z = torch.sigmoid(gate)
        return scan(torch.sigmoid(-gate), z * self.candidate(inputs), h)


def scan(factors: Tensor, addends: Tensor, h: Tensor) -> Tensor:
    """Return h_t = factor_t * h_(t-1) + addend_t for every t, `[batch, time, n]`.

    Takes log(time) rounds. After each round, an element stands for twice as many steps (Hillis and
    Steele 1986).
    """
    time, span = factors.shape[1], 1
    first = addends[:, :1] + factors[:, :1] * h[:, None]
    addends = torch.cat([first, addends[:, 1:]], 1)
    while span < time:
        later = addends[:, span:] + factors[:, span:] * addends[:, :-span]
        addends = torch.cat([addends[:, :span], later], 1)
        factors = torch.cat([factors[:, :span], factors[:, span:] * factors[:, :-span]], 1)
        span *= 2
    return addends


@dataclass(frozen=True, slots=True, eq=False)
class FoldedMinGruLayer(FoldedLayer):
    """A layer of minimal GRUs, whose projected input is `[batch, 2 hidden]`: z, then the candidate.

    Neither depends on the state. So the table of the first layer holds z; the projection of other
    layers yields the pre-activation of z.
    """

    @override
    def add_step(self, nodes: Nodes, layer: int, projected: str) -> str:
        hidden = self.input_projection.width // 2
        z, candidate = nodes.split(projected, z=hidden, candidate=hidden)
        if not isinstance(self.input_projection, Table):
            z = nodes.add("Sigmoid", z, out=f"layer{layer}.sigmoid")
        return nodes.interpolate(layer, start=f"state.h{layer}", end=candidate, weight=z)


def _fold(trained: TrainedWeights, layer: int) -> FoldedMinGruLayer:
    linears = [f"cell.layers.{layer}.{name}" for name in ("gate", "candidate")]
    weights, bias = (
        np.concatenate([trained.transposed(f"{linear}.{name}") for linear in linears], axis=-1)
        for name in ("weight", "bias")
    )
    if layer:
        return FoldedMinGruLayer(Affine.of(weights, bias))
    gate, candidate = np.split(trained.symbol_rows(weights, bias), 2, axis=1)
    z = np.exp(-np.logaddexp(0, -gate))  # the sigmoid, without overflow
    return FoldedMinGruLayer(Table(to_float32(np.concatenate([z, candidate], axis=1))))


CELL = CellKind(
    state_names=("h",),
    bounded=False,
    make_module=lambda size: StackedCell(size, MinGruLayer),
    fold_layer=_fold,
)
