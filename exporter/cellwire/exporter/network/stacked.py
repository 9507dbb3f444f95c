"""Cells that are written here, layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from typing_extensions import override

from cellwire.exporter.network.cell import Cell, CellSize, State


class Layer(nn.Module):
    """One recurrent layer whose state is h."""

    def forward(self, inputs: Tensor, h: Tensor) -> Tensor:
        """Return h after every step, `[batch, time, hidden]`.

        `inputs` are `[batch, time, inputs]`; `h` is the state before them, `[batch, hidden]`.
        """
        raise NotImplementedError


class StackedCell(Cell):
    """A stack of layers, with dropout between them."""

    def __init__(self, size: CellSize, make_layer: Callable[[int, int], Layer]) -> None:
        """`make_layer` takes the widths of a layer's input and of its h."""
        super().__init__()
        self._size = size
        widths = [size.inputs, *[size.hidden] * (size.layers - 1)]
        self.layers = nn.ModuleList(make_layer(width, size.hidden) for width in widths)

    @override
    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        size = self._size
        zeros = inputs.new_zeros(size.layers, len(inputs), size.hidden)
        initial = state[0] if state else zeros
        outputs, last = inputs, []
        for number, (layer, h) in enumerate(zip(self.layers, initial, strict=True)):
            if number:
                outputs = dropout(outputs, size.dropout, self.training)
            outputs = layer(outputs, h)
            last.append(outputs[:, -1])
        return outputs, (torch.stack(last),)
