"""The interface of a recurrent cell: a torch module for training, and its folded form for export.

Each file in `cells/` holds one kind of cell and ends with a `CELL`, which is a `CellKind`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from cellwire.exporter.network.folding import FoldedLayer, TrainedWeights

State = tuple[Tensor, ...]
"""A cell's state: for each state name, a tensor `[layers, batch, hidden]`."""


@dataclass(frozen=True, slots=True)
class CellSize:
    """The size of a cell."""

    inputs: int  # width of what the first layer reads
    hidden: int
    layers: int
    dropout: float = 0.0  # between layers


class Cell(nn.Module):
    """A stack of recurrent layers. Each layer reads the outputs of the layer before it."""

    def forward(self, inputs: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the outputs `[batch, time, hidden]` and the state after them.

        `inputs` are `[batch, time, inputs]`; a state of None stands for zeros.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CellKind:
    """All that training and export need to know of one kind of cell."""

    state_names: tuple[str, ...]  # in the order of a State; "h" is the output
    bounded: bool  # whether h lies in [-1, 1] for any weights, which int8 export requires
    make_module: Callable[[CellSize], Cell]  # draws fresh weights from torch's global generator
    fold_layer: Callable[[TrainedWeights, int], FoldedLayer]  # weights and layer number
