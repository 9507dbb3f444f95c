"""An LSTM's weights, folded for single steps.

torch computes, for each layer, gates = x W' + b_ih + h R' + b_hh. For the first layer x is a row of
the embedding, so x W' + b_ih + b_hh has one value for each symbol: a table replaces the embedding,
a matrix product and both biases. Further layers keep the product and one bias.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from cellwire.exporter.cells import CharacterLstm

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer above the first; gates lie in the order i, f, o, g."""

    weights: Float32  # [hidden, 4 hidden], of the layer below
    recurrent: Float32  # [hidden, 4 hidden]
    bias: Float32  # [4 hidden]


@dataclass(frozen=True, slots=True)
class FoldedLstm:
    """All weights of a cell; gates lie in the order i, f, o, g."""

    table: Float32  # [vocabulary, 4 hidden]
    recurrent: Float32  # [hidden, 4 hidden], of the first layer
    above: tuple[Layer, ...]
    head: Float32  # [hidden, vocabulary]
    head_bias: Float32  # [vocabulary]

    @classmethod
    def of(cls, model: CharacterLstm) -> FoldedLstm:
        """Fold in float64, so that the only rounding is the last, to float32."""
        weights = {name: _float64(tensor) for name, tensor in model.state_dict().items()}

        def gates(name: str, layer: int) -> Float64:
            return _ifog(weights[f"lstm.{name}_l{layer}"]).T

        def bias(layer: int) -> Float64:
            return gates("bias_ih", layer) + gates("bias_hh", layer)

        return cls(
            table=_float32(weights["embedding.weight"] @ gates("weight_ih", 0) + bias(0)),
            recurrent=_float32(gates("weight_hh", 0)),
            above=tuple(
                Layer(
                    weights=_float32(gates("weight_ih", layer)),
                    recurrent=_float32(gates("weight_hh", layer)),
                    bias=_float32(bias(layer)),
                )
                for layer in range(1, model.shape.layers)
            ),
            head=_float32(weights["head.weight"].T),
            head_bias=_float32(weights["head.bias"]),
        )


def _ifog(rows: Float64) -> Float64:
    """Reorder torch's gates i, f, g, o, which lie along the first axis, to i, f, o, g."""
    i, f, g, o = np.split(rows, 4)
    return np.concatenate([i, f, o, g])


def _float64(tensor: Tensor) -> Float64:
    array: Float64 = tensor.double().numpy()
    return array


def _float32(array: Float64) -> Float32:
    return np.ascontiguousarray(array, dtype=np.float32)
