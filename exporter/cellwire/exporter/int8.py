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

from cellwire.exporter.fold import Float32

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
