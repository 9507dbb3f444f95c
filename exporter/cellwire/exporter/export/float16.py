"""Weights in half precision: half the size, with a mantissa of 11 bits.

The other operand of each matrix product is rounded as well, so that processors with products of
half precision use them. Biases, gates and states stay float32.

ONNX Runtime's CPU provider has no products of half precision and computes in float32. There the
daemon widens the weights when it loads the model.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto
from typing_extensions import override

from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.weights import Float32


class Float16Nodes(Nodes):
    """Nodes whose tables and matrices are in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self._rounded: dict[str, str] = {}  # by the name in float32

    @override
    def look_up(self, out: str, table: Float32, indices: str) -> str:
        constant = self.constant(f"{out}.table", _half(table))
        rows = self.add("Gather", constant, indices, out=f"{out}.half")
        return self.add("Cast", rows, out=out, to=TensorProto.FLOAT)

    @override
    def product(self, out: str, rows: str, weights: Float32, addend: str) -> str:
        matrix = self.constant(f"{out}.weights", _half(weights))
        half = self.add("MatMul", self._round(rows), matrix, out=f"{out}.half")
        product = self.add("Cast", half, out=f"{out}.product", to=TensorProto.FLOAT)
        return self.add("Add", product, addend, out=out)

    def _round(self, rows: str) -> str:
        """Return rows in half precision; a value that is used twice is rounded once."""
        if rows not in self._rounded:
            self._rounded[rows] = self.add("Cast", rows, out=f"{rows}.half", to=TensorProto.FLOAT16)
        return self._rounded[rows]


def _half(array: Float32) -> np.ndarray[tuple[int, ...], np.dtype[np.float16]]:
    with np.errstate(over="ignore"):  # overflow becomes infinity, which measure_rounding reports
        return array.astype(np.float16)
