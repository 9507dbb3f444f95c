"""Weights and hidden states as small integers, which makes matrix products exact.

Each column of a matrix has a scale and is rounded to 255 levels around zero. The other operand of
every product is a hidden state, which lies in [-1, 1] for any weights, and is rounded to 127 levels
at every step. Sums of integers are exact, so a row's result does not depend on the processor or on
the rest of the batch.

The hidden state has 127 levels instead of 255, because processors without VNNI add products in
pairs, in 16 bits: 2 * 127 * 127 fits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from typing_extensions import override

from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.weights import Float32

WEIGHT_LEVELS = 127  # on each side of zero
HIDDEN_LEVELS = 63  # likewise
HIDDEN_ZERO_POINT = HIDDEN_LEVELS + 1  # the integer that stands for a hidden state of 0


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """A quantized matrix; the original is about `values * scale`."""

    values: npt.NDArray[np.int8]  # [n, m]
    scale: Float32  # [m]

    @classmethod
    def of(cls, weights: Float32) -> Int8Weights:
        """Quantize a matrix `[n, m]`."""
        largest = np.abs(weights).max(axis=0)
        scale = np.where(largest > 0, largest, 1).astype(np.float32) / np.float32(WEIGHT_LEVELS)
        return cls(np.rint(weights / scale).astype(np.int8), scale)


class Int8Nodes(Nodes):
    """Nodes whose products are of integers; the rows of a product must be hidden states."""

    def __init__(self) -> None:
        super().__init__()
        self.constant("hidden.scale", np.array(1 / HIDDEN_LEVELS, np.float32))
        self.constant("hidden.zero_point", np.array(HIDDEN_ZERO_POINT, np.uint8))
        self._quantized: dict[str, str] = {}  # by the name in float32

    @override
    def product(self, out: str, rows: str, weights: Float32, addend: str) -> str:
        quantized = Int8Weights.of(weights)
        matrix = self.constant(f"{out}.weights", quantized.values)
        scale = self.constant(f"{out}.scale", quantized.scale / np.float32(HIDDEN_LEVELS))
        integers = self.add(
            "MatMulInteger",
            self._quantize(rows),
            matrix,
            "hidden.zero_point",
            out=f"{out}.integers",
        )
        floats = self.add("Cast", integers, out=f"{out}.floats", to=TensorProto.FLOAT)
        product = self.add("Mul", floats, scale, out=f"{out}.product")
        return self.add("Add", product, addend, out=out)

    def _quantize(self, hidden: str) -> str:
        """Return a hidden state as integers; a value that is used twice is rounded once."""
        if hidden not in self._quantized:
            self._quantized[hidden] = self.add(
                "QuantizeLinear",
                hidden,
                "hidden.scale",
                "hidden.zero_point",
                out=f"{hidden}.quantized",
            )
        return self._quantized[hidden]
