"""One step of a layer of each kind, as nodes of a graph.

Each function is given the layer's number, what its gates come to from below, and its state by name;
it adds the nodes, and returns the name of the layer's new h.
"""

from __future__ import annotations

from cellwire.exporter.export.fold import (
    GruLayer,
    Layer,
    LstmLayer,
    MinGruLayer,
    RnnLayer,
    Table,
)
from cellwire.exporter.network.nodes import Nodes


def add_step(nodes: Nodes, number: int, layer: Layer, below: str) -> str:
    """Add a layer's step: `below` is the token [batch], or h of the layer below [batch, hidden]."""
    out = f"layer{number}.below"
    if isinstance(layer.below, Table):
        told = nodes.look_up(out, layer.below.rows, below)
    else:
        told = nodes.affine(out, below, layer.below)
    match layer:
        case RnnLayer():
            return _rnn(nodes, number, layer, told)
        case LstmLayer():
            return _lstm(nodes, number, layer, told)
        case GruLayer():
            return _gru(nodes, number, layer, told)
        case MinGruLayer():
            return _mingru(nodes, number, layer, told)


def _rnn(nodes: Nodes, number: int, layer: RnnLayer, below: str) -> str:
    """Add h' = tanh(below + h R), or the same with relu."""
    before = nodes.product(f"layer{number}.sum", f"state.h{number}", layer.recurrent, below)
    return nodes.add(layer.activation, before, out=f"next_state.h{number}")


def _lstm(nodes: Nodes, number: int, layer: LstmLayer, below: str) -> str:
    """Add c' = f c + i g, h' = o tanh(c').

    i, f and o are sigmoids, and g is a tanh, of below + h R.
    """
    at, hidden = f"layer{number}", len(layer.recurrent)
    gates = nodes.product(f"{at}.gates", f"state.h{number}", layer.recurrent, below)
    ifo, g = nodes.split(gates, ifo=3 * hidden, g=hidden)
    opened = nodes.add("Sigmoid", ifo, out=f"{at}.open")
    i, f, o = nodes.split(opened, i=hidden, f=hidden, o=hidden)
    kept = nodes.add("Mul", f, f"state.c{number}", out=f"{at}.kept")
    candidate = nodes.add("Tanh", g, out=f"{at}.candidate")
    new = nodes.add("Mul", i, candidate, out=f"{at}.new")
    c = nodes.add("Add", kept, new, out=f"next_state.c{number}")
    return nodes.add("Mul", o, nodes.add("Tanh", c, out=f"{at}.c"), out=f"next_state.h{number}")


def _gru(nodes: Nodes, number: int, layer: GruLayer, below: str) -> str:
    """Add h' = n + z (h - n), where n = tanh(below + r (h R_n + b_n)).

    r and z are sigmoids of below + h R.
    """
    at, h, hidden = f"layer{number}", f"state.h{number}", len(layer.recurrent)
    rz, n = nodes.split(below, rz=2 * hidden, n=hidden)
    gates = nodes.product(f"{at}.gates", h, layer.recurrent, rz)
    r, z = nodes.split(nodes.add("Sigmoid", gates, out=f"{at}.open"), r=hidden, z=hidden)
    remembered = nodes.affine(f"{at}.remembered", h, layer.candidate)
    reset = nodes.add("Mul", r, remembered, out=f"{at}.reset")
    candidate = nodes.add("Tanh", nodes.add("Add", n, reset, out=f"{at}.n"), out=f"{at}.candidate")
    return _between(nodes, number, start=candidate, end=h, share=z)


def _mingru(nodes: Nodes, number: int, layer: MinGruLayer, below: str) -> str:
    """Add h' = h + z (candidate - h)."""
    hidden = layer.below.width // 2
    z, candidate = nodes.split(below, z=hidden, candidate=hidden)
    if not isinstance(layer.below, Table):  # which holds sigmoids
        z = nodes.add("Sigmoid", z, out=f"layer{number}.open")
    return _between(nodes, number, start=f"state.h{number}", end=candidate, share=z)


def _between(nodes: Nodes, number: int, *, start: str, end: str, share: str) -> str:
    """Add h' = start + share (end - start)."""
    way = nodes.add("Sub", end, start, out=f"layer{number}.way")
    gone = nodes.add("Mul", share, way, out=f"layer{number}.gone")
    return nodes.add("Add", start, gone, out=f"next_state.h{number}")
