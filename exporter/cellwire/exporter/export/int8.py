"""Weights and hidden states as small integers, so that a matrix product is exact.

Each column of a matrix is rounded to 255 levels around zero, in units of its own. What it is
multiplied with, a hidden state, lies between -1 and 1 whatever the weights are, and is rounded to
127 levels at every step. The products are added as integers: in any order, on any processor and in
any batch they come to the same.

127 levels and not 255 for the hidden state, because processors without VNNI add products in pairs,
in 16 bits: 2 * 127 * 127 fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from cellwire.exporter.export.fold import Float32
from cellwire.exporter.network.cells import Kind
from cellwire.exporter.network.nodes import Nodes

# The cells whose h lies between -1 and 1, whatever the weights are.
BOUNDED: frozenset[Kind] = frozenset({"rnn", "rnn_by_hand", "lstm", "gru"})

WEIGHT_LEVELS = 127  # on each side of zero
HIDDEN_LEVELS = 63  # likewise
HIDDEN_ZERO = HIDDEN_LEVELS + 1  # the integer that stands for a hidden state of 0


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """A matrix of integers, each column in units of its own."""

    values: npt.NDArray[np.int8]  # [n, m]
    unit: Float32  # [m]

    @classmethod
    def of(cls, weights: Float32) -> Int8Weights:
        """Round a matrix `[n, m]`."""
        greatest = np.abs(weights).max(axis=0)
        unit = np.where(greatest > 0, greatest, 1).astype(np.float32) / np.float32(WEIGHT_LEVELS)
        return cls(np.rint(weights / unit).astype(np.int8), unit)


class Int8Nodes(Nodes):
    """The same nodes, but products are of integers; all that is multiplied are hidden states."""

    def __init__(self) -> None:
        super().__init__()
        self.constant("hidden.unit", np.array(1 / HIDDEN_LEVELS, np.float32))
        self.constant("hidden.zero", np.array(HIDDEN_ZERO, np.uint8))
        self._integers: dict[str, str] = {}

    def product(self, out: str, rows: str, weights: Float32, plus: str) -> str:
        """As of all nodes."""
        rounded = Int8Weights.of(weights)
        matrix = self.constant(f"{out}.weights", rounded.values)
        unit = self.constant(f"{out}.unit", rounded.unit / np.float32(HIDDEN_LEVELS))
        rows = self._rounded(rows)
        total = self.add("MatMulInteger", rows, matrix, "hidden.zero", out=f"{out}.total")
        number = self.add("Cast", total, out=f"{out}.number", to=TensorProto.FLOAT)
        return self.add("Add", self.add("Mul", number, unit, out=f"{out}.product"), plus, out=out)

    def _rounded(self, hidden: str) -> str:
        """Return a hidden state as integers; each is rounded once."""
        if hidden not in self._integers:
            self._integers[hidden] = self.add(
                "QuantizeLinear", hidden, "hidden.unit", "hidden.zero", out=f"{hidden}.rounded"
            )
        return self._integers[hidden]
