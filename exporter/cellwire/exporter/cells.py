"""The recurrent models that can be trained."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LstmState = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True)
class CellShape:
    """The size of a model."""

    vocabulary: int
    embedding: int
    hidden: int
    layers: int
    dropout: float = 0.0


class CharacterLstm(nn.Module):
    """Embedding, a stack of LSTM layers, and a linear layer to the next symbol's logits.

    At export the embedding and the first layer's input projection fold into one table, so the
    embedding costs nothing when serving.
    """

    def __init__(self, shape: CellShape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape.vocabulary, shape.embedding)
        self.lstm = nn.LSTM(
            shape.embedding,
            shape.hidden,
            shape.layers,
            batch_first=True,
            dropout=shape.dropout if shape.layers > 1 else 0.0,
        )
        self.head = nn.Linear(shape.hidden, shape.vocabulary)
        self._remember_at_first()

    def _remember_at_first(self) -> None:
        # A forget gate that starts open lets gradients reach far back from the first step
        # (Jozefowicz et al. 2015). torch adds two biases; gate order is i, f, g, o.
        hidden = self.shape.hidden
        with torch.no_grad():
            for layer in range(self.shape.layers):
                bias: Tensor = getattr(self.lstm, f"bias_ih_l{layer}")
                bias[hidden : 2 * hidden] = 1.0

    def forward(self, tokens: Tensor, state: LstmState | None = None) -> tuple[Tensor, LstmState]:
        """Return logits `[batch, time, vocabulary]` for tokens int64 `[batch, time]`, and a state.

        A state is (h, c), each `[layers, batch, hidden]`; None stands for zeros.
        """
        outputs, after = self.lstm(self.embedding(tokens), state)
        return self.head(outputs), after
