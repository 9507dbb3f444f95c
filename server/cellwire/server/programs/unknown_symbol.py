"""The symbol that stands for unknown ones: models read it, and never write it unless asked to."""

from __future__ import annotations

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.server.programs.graph import Graph


def unwritten_token(cell: Cell) -> int | None:
    """Return the token that a cell does not write, if it has one."""
    facts = cell.manifest.vocabulary
    return None if facts.unknown is None else facts.symbols.index(facts.unknown)


def writable(graph: Graph, cell: Cell, values: str) -> str:
    """Return logits or log-probabilities to choose from: -inf for a token that is not written.

    `values` names a float32[..., vocabulary]. A cell without such a token pays nothing.
    """
    token = unwritten_token(cell)
    if token is None:
        return values
    mask = np.zeros(cell.manifest.vocabulary.size)
    mask[token] = -np.inf
    return graph.add("Add", values, graph.constant(mask, np.float32))
