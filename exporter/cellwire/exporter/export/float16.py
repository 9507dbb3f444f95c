"""Weights in half precision: half the size, and a mantissa of 11 bits.

What a matrix is multiplied with is rounded likewise, so that a processor that has products of half
precision uses them. Bias, gates and states stay float32.

ONNX Runtime's CPU provider has no such products: it leaves the rows as they are, and multiplies in
float32. There the daemon widens the weights when it loads the model.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from cellwire.exporter.export.fold import Float32
from cellwire.exporter.network.nodes import Nodes


class Float16Nodes(Nodes):
    """The same nodes, but tables and matrices are in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self._halves: dict[str, str] = {}

    def look_up(self, out: str, rows: Float32, places: str) -> str:
        """As of all nodes."""
        table = self.constant(f"{out}.table", _half(rows))
        found = self.add("Gather", table, places, out=f"{out}.half")
        return self.add("Cast", found, out=out, to=TensorProto.FLOAT)

    def product(self, out: str, rows: str, weights: Float32, plus: str) -> str:
        """As of all nodes."""
        matrix = self.constant(f"{out}.weights", _half(weights))
        total = self.add("MatMul", self._rounded(rows), matrix, out=f"{out}.half")
        product = self.add("Cast", total, out=f"{out}.product", to=TensorProto.FLOAT)
        return self.add("Add", product, plus, out=out)

    def _rounded(self, rows: str) -> str:
        """Return rows in half precision; each is rounded once."""
        if rows not in self._halves:
            self._halves[rows] = self.add("Cast", rows, out=f"{rows}.half", to=TensorProto.FLOAT16)
        return self._halves[rows]


def _half(array: Float32) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which the proof notices
        return array.astype(np.float16)
