"""The draw from adjusted logits: with penalties and biases, top_p and min_p.

In this order: penalties and biases change the logits, and the temperature scales them; then top_k,
top_p and min_p each restrict the tokens, independently of one another.
"""

from __future__ import annotations

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import LOGITS
from cellwire.server.programs.columns import (
    CHANGE_BIAS,
    CHANGE_PENALTY,
    CHANGE_ROW,
    CHANGE_TOKEN,
    INVERSE_TEMPERATURE,
)
from cellwire.server.programs.cumulative_draw import draw_from_blocks, in_blocks
from cellwire.server.programs.draws import (
    LIMIT,
    Ranking,
    Ranks,
    by_rank_if_top_k,
    draw_by_rank,
)
from cellwire.server.programs.graph import Graph
from cellwire.server.programs.unknown_symbol import (
    EXCLUDED_LOGIT,
    unwritten_token,
    writable,
)
from cellwire.server.programs.weight_floor import CUTOFF, Floors, above_floor, find_scale


def draw_adjusted(
    graph: Graph, ranks: Ranks | None, floors: Floors, uniform: str, cell: Cell
) -> str:
    """Draw from each row's adjusted distribution: int64[batch, 1].

    `ranks` is None if no row has a top_k.
    """
    logits, vocabulary = _changed(graph, cell), cell.manifest.vocabulary.size
    scaled = graph.add("Mul", logits, INVERSE_TEMPERATURE)
    probability = graph.add("Softmax", scaled, axis=1)
    weight = in_blocks(graph, probability, vocabulary)
    scale = find_scale(graph, floors, weight)
    kept = above_floor(graph, weight, scale)
    by_token = draw_from_blocks(graph, kept, uniform, vocabulary)
    # In a row of NaN, nothing is above the floor.
    by_token = graph.add("Min", by_token, graph.constant(vocabulary - 1, np.int64))
    if ranks is None:
        return by_token
    ranking = Ranking(*graph.top(logits, LIMIT))
    ranked = graph.add("GatherElements", probability, ranking.tokens, axis=1)
    ranked = graph.add("Mul", ranked, graph.add("Squeeze", scale, graph.axes(2)))
    allowed = graph.add("Greater", ranked, graph.constant(CUTOFF, np.float32))
    by_rank = draw_by_rank(graph, ranks, ranking, uniform, allowed)
    return by_rank_if_top_k(graph, by_rank, by_token)


def _changed(graph: Graph, cell: Cell) -> str:
    """Apply repetition penalties and biases to single logits: float32[batch, vocabulary].

    A token that is not written is, if it has a bias other than 0.
    """
    last = graph.axes(1)
    row = graph.add("Unsqueeze", CHANGE_ROW, last)
    places = graph.add("Concat", row, graph.add("Unsqueeze", CHANGE_TOKEN, last), axis=1)
    before = graph.add("GatherND", LOGITS, places)  # [changes]
    penalized = graph.add(
        "Where",
        graph.add("Greater", before, graph.constant(0, np.float32)),
        graph.add("Div", before, CHANGE_PENALTY),
        graph.add("Mul", before, CHANGE_PENALTY),
    )
    after = graph.add("Add", penalized, CHANGE_BIAS)
    unwritten = unwritten_token(cell)
    if unwritten is not None:
        is_unwritten = graph.add("Equal", CHANGE_TOKEN, graph.constant(unwritten, np.int64))
        unbiased = graph.add("Equal", CHANGE_BIAS, graph.constant(0, np.float32))
        stays = graph.add("And", is_unwritten, unbiased)
        excluded = graph.constant(EXCLUDED_LOGIT, np.float32)
        after = graph.add("Where", stays, excluded, after)
    return graph.add("ScatterND", writable(graph, cell, LOGITS, EXCLUDED_LOGIT), places, after)
