"""The folding of a whole network (see network/folding.py)."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.exporter.network.folding import FoldedLayer, TrainedWeights
from cellwire.exporter.network.kinds import Kind, cell_kind
from cellwire.exporter.network.network import Network
from cellwire.exporter.network.weights import Affine


@dataclass(frozen=True, slots=True, eq=False)
class FoldedNetwork:
    """A network's weights as they are exported.

    The first layer's input projection is a table, those of the other layers are affine maps.
    """

    kind: Kind
    hidden: int
    layers: tuple[FoldedLayer, ...]
    head: Affine  # [hidden, vocabulary or labels]
    classifies: bool


def fold(network: Network) -> FoldedNetwork:
    """Fold a network of any kind of cell."""
    shape, cell = network.shape, cell_kind(network.shape.cell)
    state_dict = network.state_dict()
    weights = TrainedWeights({name: t.double().numpy() for name, t in state_dict.items()})
    return FoldedNetwork(
        shape.cell,
        shape.hidden,
        tuple(cell.fold_layer(weights, layer) for layer in range(shape.layers)),
        weights.affine("head"),
        classifies=shape.labels > 0,
    )
