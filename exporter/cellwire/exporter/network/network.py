"""The network that is trained: symbols in, a cell, and logits or scores out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from cellwire.exporter.network.cells import CellShape, Kind, State, make_cell


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The size of a network."""

    cell: Kind
    vocabulary: int
    embedding: int | None  # numbers in a symbol's embedding; None: one-hot
    hidden: int
    layers: int
    dropout: float = 0.0  # between layers
    labels: int = 0  # of a network that classifies; 0: it predicts the next symbol
    dropout_inputs: float = 0.0  # of what the first layer reads
    dropout_outputs: float = 0.0  # of what the last layer gives


class Network(nn.Module):
    """Symbols, embedded or one-hot; a stack of recurrent layers; a linear layer.

    At export the embedding and the first layer's input projection fold into one table, so that
    neither kind of input costs anything when serving.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding: nn.Module = (
            OneHot(shape.vocabulary)
            if shape.embedding is None
            else nn.Embedding(shape.vocabulary, shape.embedding)
        )
        width = shape.vocabulary if shape.embedding is None else shape.embedding
        self.cell = make_cell(
            CellShape(shape.cell, width, shape.hidden, shape.layers, shape.dropout)
        )
        self.head = nn.Linear(shape.hidden, shape.labels or shape.vocabulary)

    @property
    def parameters_count(self) -> int:
        """How many numbers it has learnt, or was given."""
        return sum(parameter.numel() for parameter in self.parameters())

    def read(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the last layer's outputs `[batch, time, hidden]`, and the state after them."""
        inputs = dropout(self.embedding(tokens), self.shape.dropout_inputs, self.training)
        outputs, after = self.cell(inputs, state)
        return dropout(outputs, self.shape.dropout_outputs, self.training), after

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Read tokens int64 `[batch, time]`; return `[batch, time, vocabulary or labels]`.

        Of a network that classifies, these are its scores before the softmax.
        """
        outputs, after = self.read(tokens, state)
        return self.head(outputs), after


class OneHot(nn.Module):
    """Symbols as vectors of zeros with a single one."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        # What a network's numbers are, it is told by `.double()` and `.to()`.
        self.register_buffer("one", torch.ones(()), persistent=False)
        self._vocabulary = vocabulary

    def forward(self, tokens: Tensor) -> Tensor:
        """Return `[..., vocabulary]` for int64 `[...]`."""
        zeros = self.get_buffer("one").new_zeros(*tokens.shape, self._vocabulary)
        return zeros.scatter_(-1, tokens.unsqueeze(-1), 1.0)
