"""The simple RNN from its equation, without torch.nn.RNN.

h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from cellwire.exporter.network.cell import CellKind
from cellwire.exporter.network.cells.rnn import FoldedRnnLayer, fold_rnn
from cellwire.exporter.network.folding import TrainedWeights
from cellwire.exporter.network.stacked import Layer, StackedCell


class RnnLayer(Layer):
    """One layer, with initial weights drawn as in torch.nn.RNN."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        bound = hidden**-0.5
        self.W_ih = nn.Parameter(torch.empty(hidden, inputs).uniform_(-bound, bound))
        self.W_hh = nn.Parameter(torch.empty(hidden, hidden).uniform_(-bound, bound))
        self.b_ih = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.b_hh = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))

    @override
    def forward(self, inputs: Tensor, h: Tensor) -> Tensor:
        # The part that does not depend on h is one product for all steps.
        projected = inputs @ self.W_ih.T + (self.b_ih + self.b_hh)
        outputs = []
        for x in projected.unbind(1):
            h = torch.tanh(torch.addmm(x, h, self.W_hh.T))
            outputs.append(h)
        return torch.stack(outputs, 1)


def _fold(weights: TrainedWeights, layer: int) -> FoldedRnnLayer:
    names = (f"cell.layers.{layer}.{name}" for name in ("W_ih", "W_hh", "b_ih", "b_hh"))
    w_ih, w_hh, b_ih, b_hh = map(weights.transposed, names)
    return fold_rnn(weights, layer, (w_ih, w_hh, b_ih, b_hh), "Tanh")


CELL = CellKind(
    state_names=("h",),
    bounded=True,
    make_module=lambda size: StackedCell(size, RnnLayer),
    fold_layer=_fold,
)
