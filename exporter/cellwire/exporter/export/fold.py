"""A network's weights, folded for single steps.

torch computes x W' + b_ih + h R' + b_hh in each layer. For the first layer x is a row of the
embedding, or a vector of zeros with a single one, so x W' + b_ih + b_hh has one value for each
symbol: a table replaces the embedding, a matrix product and both biases. Further layers keep the
product and one bias. All is folded in float64, so that the only rounding is the last, to float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import numpy.typing as npt

from cellwire.exporter.network.cells import Kind
from cellwire.exporter.network.network import Network

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """What each symbol comes to."""

    rows: Float32  # [vocabulary, m]

    @property
    def width(self) -> int:
        """How many numbers a symbol comes to."""
        return int(self.rows.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """What rows come to: their product with the weights, and the bias."""

    weights: Float32  # [n, m]
    bias: Float32  # [m]

    @property
    def width(self) -> int:
        """How many numbers a row comes to."""
        return len(self.bias)


# What a layer is told from below: of a symbol in the first layer, of the layer below in others.
Below = Table | Affine


@dataclass(frozen=True, slots=True, eq=False)
class RnnLayer:
    """A layer of a simple RNN."""

    below: Below  # m = hidden
    recurrent: Float32  # [hidden, hidden]
    activation: Literal["Tanh", "Relu"]  # ONNX's names


@dataclass(frozen=True, slots=True, eq=False)
class LstmLayer:
    """A layer of an LSTM; gates lie in the order i, f, o, g."""

    below: Below  # m = 4 hidden
    recurrent: Float32  # [hidden, 4 hidden]


@dataclass(frozen=True, slots=True, eq=False)
class GruLayer:
    """A layer of a GRU; gates lie in the order r, z, n.

    The recurrent part of n has a bias of its own, since r multiplies it.
    """

    below: Below  # m = 3 hidden
    recurrent: Float32  # [hidden, 2 hidden], of r and z
    candidate: Affine  # n = m = hidden, of n


@dataclass(frozen=True, slots=True, eq=False)
class MinGruLayer:
    """A layer of a minimal GRU: z, then the candidate.

    Neither depends on the state, so the table of the first layer holds z itself; others are told
    what z is the sigmoid of.
    """

    below: Below  # m = 2 hidden


Layer = RnnLayer | LstmLayer | GruLayer | MinGruLayer


@dataclass(frozen=True, slots=True, eq=False)
class FoldedNetwork:
    """All weights of a network; the first layer's `below` is a table, others' are not."""

    kind: Kind
    hidden: int
    layers: tuple[Layer, ...]
    head: Affine  # n = hidden, m = vocabulary or labels
    classifies: bool


def fold(network: Network) -> FoldedNetwork:
    """Fold a network of any cell."""
    shape = network.shape
    source = _Source({name: t.double().numpy() for name, t in network.state_dict().items()})
    return FoldedNetwork(
        shape.cell,
        shape.hidden,
        tuple(_LAYERS[shape.cell](source, number) for number in range(shape.layers)),
        _affine(source.transposed("head.weight"), source.transposed("head.bias")),
        classifies=shape.labels > 0,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    """A network's weights in float64, by the names they have in torch."""

    weights: dict[str, Float64]

    def transposed(self, name: str) -> Float64:
        """Return a matrix as `[inputs, outputs]`; a bias as it is."""
        return self.weights[name].T

    def recurrent_layer(self, number: int) -> tuple[Float64, Float64, Float64, Float64]:
        """Return w_ih, w_hh, b_ih and b_hh of a layer of torch's, or of the one by hand."""
        names = [f"weight_ih_l{number}", f"weight_hh_l{number}"]
        names += [f"bias_ih_l{number}", f"bias_hh_l{number}"]
        if f"cell.layers.{number}.W_ih" in self.weights:
            names = [f"{number}.{name}" for name in ("W_ih", "W_hh", "b_ih", "b_hh")]
        w_ih, w_hh, b_ih, b_hh = (self.transposed(f"cell.layers.{name}") for name in names)
        return w_ih, w_hh, b_ih, b_hh

    def symbols(self, projection: Float64, bias: Float64) -> Float64:
        """Return what each symbol comes to, `[vocabulary, m]`; the projection is `[inputs, m]`."""
        embedding = self.weights.get("embedding.weight")  # one-hot input has none
        return (projection if embedding is None else embedding @ projection) + bias

    def below(self, number: int, projection: Float64, bias: Float64) -> Below:
        """Fold what a layer is told from below."""
        if number:
            return _affine(projection, bias)
        return Table(_float32(self.symbols(projection, bias)))


def _rnn(activation: Literal["Tanh", "Relu"], source: _Source, number: int) -> RnnLayer:
    w_ih, w_hh, b_ih, b_hh = source.recurrent_layer(number)
    return RnnLayer(source.below(number, w_ih, b_ih + b_hh), _float32(w_hh), activation)


def _lstm(source: _Source, number: int) -> LstmLayer:
    w_ih, w_hh, b_ih, b_hh = (_ifog(array) for array in source.recurrent_layer(number))
    return LstmLayer(source.below(number, w_ih, b_ih + b_hh), _float32(w_hh))


def _ifog(array: Float64) -> Float64:
    """Reorder torch's gates i, f, g, o, which lie along the last axis, to i, f, o, g."""
    i, f, g, o = np.split(array, 4, axis=-1)
    return np.concatenate([i, f, o, g], axis=-1)


def _gru(source: _Source, number: int) -> GruLayer:
    w_ih, w_hh, b_ih, b_hh = source.recurrent_layer(number)
    n = 2 * len(w_hh)  # where its columns begin
    bias = b_ih + np.concatenate([b_hh[:n], np.zeros(len(w_hh))])
    candidate = _affine(w_hh[:, n:], b_hh[n:])
    return GruLayer(source.below(number, w_ih, bias), _float32(w_hh[:, :n]), candidate)


def _mingru(source: _Source, number: int) -> MinGruLayer:
    parts = [f"cell.layers.{number}.{part}" for part in ("gate", "candidate")]
    weights, bias = (
        np.concatenate([source.transposed(f"{part}.{name}") for part in parts], axis=-1)
        for name in ("weight", "bias")
    )
    if number:
        return MinGruLayer(_affine(weights, bias))
    gate, candidate = np.split(source.symbols(weights, bias), 2, axis=1)
    z = np.exp(-np.logaddexp(0, -gate))  # its sigmoid; no gate overflows
    return MinGruLayer(Table(_float32(np.concatenate([z, candidate], axis=1))))


_LAYERS: dict[Kind, Callable[[_Source, int], Layer]] = {
    "rnn": partial(_rnn, "Tanh"),
    "rnn_relu": partial(_rnn, "Relu"),
    "rnn_by_hand": partial(_rnn, "Tanh"),
    "lstm": _lstm,
    "gru": _gru,
    "mingru": _mingru,
}


def _affine(weights: Float64, bias: Float64) -> Affine:
    return Affine(_float32(weights), _float32(bias))


def _float32(array: Float64) -> Float32:
    return np.ascontiguousarray(array, dtype=np.float32)
