"""Log-probabilities: the nodes that look up those of chosen tokens and of top tokens.

They are natural logarithms, and the model's own: without any sampling parameter. Each row is looked
up by itself, so it gets the same bits in a step as from the logits of all steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.server.programs.graph import Graph


@dataclass(frozen=True, slots=True)
class Names:
    """The values that are read and looked up, of a step or of all steps."""

    logits: str  # float32[..., batch, vocabulary]
    chosen: str  # int64[..., batch, 1]
    top_token: str  # int64[..., batch, limit]
    log_probability: str  # float32[..., batch, 1]
    top_log_probability: str  # float32[..., batch, limit]


def look_up(graph: Graph, names: Names, *, reports: bool) -> None:
    """Look up log-probabilities of the chosen tokens, and if it `reports`, of the top tokens."""
    logs = graph.add("LogSoftmax", names.logits, axis=-1)
    graph.add("GatherElements", logs, names.chosen, name=names.log_probability, axis=-1)
    if reports:
        tokens, name = names.top_token, names.top_log_probability
        graph.add("GatherElements", logs, tokens, name=name, axis=-1)


def set_to_zero(graph: Graph, names: Names) -> None:
    """Give the chosen tokens of a cell without logits a log-probability of 0."""
    as_float = graph.add("Cast", names.chosen, to=TensorProto.FLOAT)
    graph.add("Mul", as_float, graph.constant(0, np.float32), name=names.log_probability)
