"""Folding: trained weights, rearranged so that a single step costs least.

torch computes x W' + b_ih + h R' + b_hh in each layer. In the first layer, x is a row of the
embedding or a one-hot vector, so that x W' + b_ih + b_hh has one value for each symbol: a table
replaces the embedding, a matrix product and both biases. The other layers keep the product and one
bias. Folding is done in float64; only the result is rounded to float32.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from cellwire.exporter.network.nodes import Nodes
from cellwire.exporter.network.weights import (
    Affine,
    Float64,
    InputProjection,
    Table,
    to_float32,
)


@dataclass(frozen=True, slots=True, eq=False)
class FoldedLayer(ABC):
    """One layer's weights as they are exported."""

    input_projection: InputProjection

    @abstractmethod
    def add_step(self, nodes: Nodes, layer: int, projected: str) -> str:
        """Add one step of the layer to a graph; return the name of its new h.

        `projected` is the projected input `[batch, m]`. The layer's state is `state.<name><layer>`
        before the step, and `next_state.<name><layer>` after it, each `[batch, hidden]`.
        """


@dataclass(frozen=True, slots=True, eq=False)
class TrainedWeights:
    """A network's weights in float64, by their names in torch."""

    arrays: Mapping[str, Float64]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def transposed(self, name: str) -> Float64:
        """Return a matrix as `[inputs, outputs]`; a bias as it is."""
        return self.arrays[name].T

    def affine(self, name: str) -> Affine:
        """Return a linear module."""
        return Affine.of(self.transposed(f"{name}.weight"), self.transposed(f"{name}.bias"))

    def symbol_rows(self, projection: Float64, bias: Float64) -> Float64:
        """Return the projected input of each symbol, `[vocabulary, m]`.

        `projection` is `[inputs, m]`, `bias` `[m]`.
        """
        embedding = self.arrays.get("embedding.weight")  # one-hot input has none
        return (projection if embedding is None else embedding @ projection) + bias

    def input_projection(self, layer: int, projection: Float64, bias: Float64) -> InputProjection:
        """Fold a layer's projection `[inputs, m]` and bias `[m]`."""
        if layer:
            return Affine.of(projection, bias)
        return Table(to_float32(self.symbol_rows(projection, bias)))
