"""The network that is trained: token embedding, recurrent cell, linear head."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from typing_extensions import override

from cellwire.exporter.network.cell import CellSize, State
from cellwire.exporter.network.kinds import Kind, cell_kind


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """The size of a network, and where it has dropout."""

    cell: Kind
    vocabulary: int
    embedding: int | None  # width of the embedding; None: one-hot
    hidden: int
    layers: int
    dropout: float = 0.0  # between layers
    labels: int = 0  # of a classifier; 0: the network predicts the next symbol
    dropout_inputs: float = 0.0  # of the first layer's input
    dropout_outputs: float = 0.0  # of the last layer's output

    @property
    def input_width(self) -> int:
        """The width of the first layer's input."""
        return self.vocabulary if self.embedding is None else self.embedding


class Network(nn.Module):
    """An embedding or one-hot vectors, a stack of recurrent layers, a linear head.

    At export, the embedding and the first layer's input projection fold into one table, so that
    neither kind of input costs anything when it is served.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding: nn.Module = (
            OneHot(shape.vocabulary)
            if shape.embedding is None
            else nn.Embedding(shape.vocabulary, shape.embedding)
        )
        self.cell = cell_kind(shape.cell).make_module(
            CellSize(shape.input_width, shape.hidden, shape.layers, shape.dropout)
        )
        self.head = nn.Linear(shape.hidden, shape.labels or shape.vocabulary)

    @property
    def parameter_count(self) -> int:
        """The number of weights, frozen ones included."""
        return sum(parameter.numel() for parameter in self.parameters())

    def read(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the last layer's outputs `[batch, time, hidden]`, and the state after them.

        `tokens` are int64 `[batch, time]`; a state of None stands for zeros.
        """
        inputs = dropout(self.embedding(tokens), self.shape.dropout_inputs, self.training)
        outputs, next_state = self.cell(inputs, state)
        return dropout(outputs, self.shape.dropout_outputs, self.training), next_state

    @override
    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Return the logits `[batch, time, vocabulary or labels]`, and the state after them.

        `tokens` are int64 `[batch, time]`; a state of None stands for zeros.
        """
        outputs, next_state = self.read(tokens, state)
        return self.head(outputs), next_state


class OneHot(nn.Module):
    """Tokens as one-hot vectors."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        # A buffer follows the network's `.double()` and `.to()`, so it knows dtype and device.
        self.register_buffer("one", torch.ones(()), persistent=False)
        self._vocabulary = vocabulary

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """Return `[..., vocabulary]` for int64 `[...]`."""
        zeros = self.get_buffer("one").new_zeros(*tokens.shape, self._vocabulary)
        return zeros.scatter_(-1, tokens.unsqueeze(-1), 1.0)
