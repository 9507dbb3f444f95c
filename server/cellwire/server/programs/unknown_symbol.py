"""The symbol that stands for unknown ones: models read it, and never write it unless asked to."""

from __future__ import annotations

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.server.programs.graph import Graph

# A logit that is never drawn. It is finite, since the padding of CUDA's TopK is the lowest finite
# number: places that do not exist would rank above -inf. A model's own logits are finite, too, or
# it is refused (model_file/trial.py).
EXCLUDED_LOGIT = -1e30


def unwritten_token(cell: Cell) -> int | None:
    """Return the token that a cell does not write, if it has one."""
    facts = cell.manifest.vocabulary
    return None if facts.unknown is None else facts.symbols.index(facts.unknown)


def writable(graph: Graph, cell: Cell, values: str, excluded: float = -np.inf) -> str:
    """Return logits or log-probabilities to choose from, with `excluded` added to one not written.

    `values` names a float32[..., vocabulary]. A cell without such a token pays nothing.
    """
    token = unwritten_token(cell)
    if token is None:
        return values
    mask = np.zeros(cell.manifest.vocabulary.size)
    mask[token] = excluded
    return graph.add("Add", values, graph.constant(mask, np.float32))
