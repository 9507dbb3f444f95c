"""The recurrent cells that can be trained: torch's own, and those written here.

A cell reads numbers `[batch, time, inputs]` from a state, and returns its outputs `[batch, time,
hidden]` and the state after them. A state is a tuple of tensors `[layers, batch, hidden]`, in the
order of `STATES`; None stands for zeros. With several layers, each reads the outputs of the one
below, with dropout between them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

Kind = Literal["rnn", "rnn_relu", "rnn_by_hand", "lstm", "gru", "mingru"]
KINDS: tuple[Kind, ...] = get_args(Kind)

State = tuple[Tensor, ...]

# The names of a state's parts.
STATES: dict[Kind, tuple[str, ...]] = {
    kind: ("h", "c") if kind == "lstm" else ("h",) for kind in KINDS
}


@dataclass(frozen=True, slots=True)
class CellShape:
    """The kind and the size of a cell."""

    kind: Kind
    inputs: int
    hidden: int
    layers: int
    dropout: float = 0.0


class Cell(nn.Module):
    """What all cells have in common: how they are called."""

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read `[batch, time, inputs]`; return `[batch, time, hidden]` and the state after it."""
        raise NotImplementedError


def make_cell(shape: CellShape) -> Cell:
    """Return a cell with fresh weights, drawn from torch's global generator."""
    if shape.kind == "rnn_by_hand":
        return Stacked(shape, RnnLayer)
    if shape.kind == "mingru":
        return Stacked(shape, MinGruLayer)
    return Fused(shape)


class Fused(Cell):
    """A stack of layers that torch runs at once, over all time steps."""

    def __init__(self, shape: CellShape) -> None:
        super().__init__()
        sizes = (shape.inputs, shape.hidden, shape.layers)
        between = shape.dropout if shape.layers > 1 else 0.0
        if shape.kind == "lstm":
            self.layers: nn.RNNBase = nn.LSTM(*sizes, batch_first=True, dropout=between)
            self._open_forget_gates(shape)
        elif shape.kind == "gru":
            self.layers = nn.GRU(*sizes, batch_first=True, dropout=between)
        else:
            how = "relu" if shape.kind == "rnn_relu" else "tanh"
            self.layers = nn.RNN(*sizes, nonlinearity=how, batch_first=True, dropout=between)

    def _open_forget_gates(self, shape: CellShape) -> None:
        # A forget gate that starts open lets gradients reach far back from the first step
        # (Jozefowicz et al. 2015). torch adds two biases; gate order is i, f, g, o.
        with torch.no_grad():
            for layer in range(shape.layers):
                bias: Tensor = getattr(self.layers, f"bias_ih_l{layer}")
                bias[shape.hidden : 2 * shape.hidden] = 1.0

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """As of every cell."""
        if isinstance(self.layers, nn.LSTM):
            outputs, after = self.layers(inputs, state)
            return outputs, after
        outputs, h = self.layers(inputs, None if state is None else state[0])
        return outputs, (h,)


class Layer(nn.Module):
    """One layer written here: from `[batch, time, inputs]` and `h` `[batch, hidden]` to outputs."""

    def forward(self, inputs: Tensor, h: Tensor) -> Tensor:
        """Return `h` after every step, `[batch, time, hidden]`."""
        raise NotImplementedError


class Stacked(Cell):
    """A stack of layers that are written here."""

    def __init__(self, shape: CellShape, layer: Callable[[int, int], Layer]) -> None:
        super().__init__()
        self._shape = shape
        below = [shape.inputs, *[shape.hidden] * (shape.layers - 1)]
        self.layers = nn.ModuleList(layer(width, shape.hidden) for width in below)

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """As of every cell."""
        shape = self._shape
        first = inputs.new_zeros(shape.layers, len(inputs), shape.hidden)
        outputs, after = inputs, []
        for number, (layer, h) in enumerate(
            zip(self.layers, state[0] if state else first, strict=True)
        ):
            if number:
                outputs = dropout(outputs, shape.dropout, self.training)
            outputs = layer(outputs, h)
            after.append(outputs[:, -1])
        return outputs, (torch.stack(after),)


class RnnLayer(Layer):
    """A simple recurrent layer from its equation.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        reach = hidden**-0.5  # torch's own
        self.W_ih = nn.Parameter(torch.empty(hidden, inputs).uniform_(-reach, reach))
        self.W_hh = nn.Parameter(torch.empty(hidden, hidden).uniform_(-reach, reach))
        self.b_ih = nn.Parameter(torch.empty(hidden).uniform_(-reach, reach))
        self.b_hh = nn.Parameter(torch.empty(hidden).uniform_(-reach, reach))

    def forward(self, inputs: Tensor, h: Tensor) -> Tensor:
        """As of every layer."""
        # All that does not depend on h is one product for all steps.
        from_below = inputs @ self.W_ih.T + (self.b_ih + self.b_hh)
        outputs = []
        for x in from_below.unbind(1):
            h = torch.tanh(torch.addmm(x, h, self.W_hh.T))
            outputs.append(h)
        return torch.stack(outputs, 1)


class MinGruLayer(Layer):
    """A minimal GRU (Feng et al. 2024, "Were RNNs All We Needed?").

    z_t = sigmoid(W_z x_t + b_z)    h_t = (1 - z_t) h_(t-1) + z_t (W_h x_t + b_h)

    Gate and candidate do not depend on h, so that all steps of a window are one scan.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(inputs, hidden)
        self.candidate = nn.Linear(inputs, hidden)

    def forward(self, inputs: Tensor, h: Tensor) -> Tensor:
        """As of every layer."""
        gate = self.gate(inputs)
        keep, take = torch.sigmoid(-gate), torch.sigmoid(gate)
        return scan(keep, take * self.candidate(inputs), h)


def scan(keep: Tensor, add: Tensor, h: Tensor) -> Tensor:
    """Return h_t = keep_t * h_(t-1) + add_t for every t, `[batch, time, n]`, in log(time) rounds.

    After each round, an element stands for twice as many steps (Hillis and Steele 1986).
    """
    time, reach = keep.shape[1], 1
    add = torch.cat([add[:, :1] + keep[:, :1] * h[:, None], add[:, 1:]], 1)
    while reach < time:
        add = torch.cat([add[:, :reach], add[:, reach:] + keep[:, reach:] * add[:, :-reach]], 1)
        keep = torch.cat([keep[:, :reach], keep[:, reach:] * keep[:, :-reach]], 1)
        reach *= 2
    return add
