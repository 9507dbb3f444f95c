"""A cell's weights as they are exported: float32 tables and affine maps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """The projected input of each symbol."""

    rows: Float32  # [vocabulary, m]

    @property
    def width(self) -> int:
        """The length m of a row."""
        return int(self.rows.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """A matrix product and a bias: x W + b."""

    weights: Float32  # [n, m]
    bias: Float32  # [m]

    @classmethod
    def of(cls, weights: Float64, bias: Float64) -> Affine:
        """Round weights `[n, m]` and bias `[m]` to float32."""
        return cls(to_float32(weights), to_float32(bias))

    @property
    def width(self) -> int:
        """The length m of an output."""
        return len(self.bias)


InputProjection = Table | Affine
"""How a layer's input enters: a table in the first layer, an affine map in the others."""


def to_float32(array: Float64) -> Float32:
    """Round an array to float32, contiguous in memory."""
    return np.ascontiguousarray(array, dtype=np.float32)
