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
    LOG_MIN_P,
    TOP_P,
)
from cellwire.server.programs.cumulative_draw import count_true
from cellwire.server.programs.draws import (
    LIMIT,
    Ranking,
    Ranks,
    by_rank_if_top_k,
    draw_by_rank,
    draw_by_token,
)
from cellwire.server.programs.graph import Graph
from cellwire.server.programs.unknown_symbol import (
    EXCLUDED_LOGIT,
    unwritten_token,
    writable,
)


def draw_adjusted(graph: Graph, ranks: Ranks, uniform: str, cell: Cell) -> str:
    """Draw from each row's adjusted distribution: int64[batch, 1]."""
    logits, vocabulary = _changed(graph, cell), cell.manifest.vocabulary.size
    ranking = Ranking(*graph.top(logits, LIMIT))
    scaled = graph.add("Mul", logits, INVERSE_TEMPERATURE)
    ranked = graph.add("Mul", ranking.logits, INVERSE_TEMPERATURE)  # [batch, limit], descending
    top_p_floor = _top_p_floor(graph, ranking.logits, ranked)
    min_p_floor = _min_p_floor(graph, ranked)

    def allowed(logits: str, scaled: str) -> str:
        in_top_p = graph.add("GreaterOrEqual", logits, top_p_floor)
        return graph.add("And", in_top_p, graph.add("GreaterOrEqual", scaled, min_p_floor))

    by_rank = draw_by_rank(graph, ranks, ranking, uniform, allowed(ranking.logits, ranked))
    nothing = graph.constant(-np.inf, np.float32)
    masked = graph.add("Where", allowed(logits, scaled), scaled, nothing)
    return by_rank_if_top_k(graph, by_rank, draw_by_token(graph, masked, uniform, vocabulary))


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


def _top_p_floor(graph: Graph, logits: str, ranked: str) -> str:
    """Return the lowest logit within each row's top_p: float32[batch, 1].

    `logits` and `ranked`, its scaled logits, hold the whole vocabulary in a row with a top_p.
    """
    weight = graph.add("Softmax", ranked, axis=1)
    # The sum of likelier tokens: 0 for the first, so one token always remains.
    before = graph.add("CumSum", weight, graph.constant(1, np.int64), exclusive=1)
    count = count_true(graph, graph.add("Less", before, TOP_P))
    index = graph.add("Sub", count, graph.constant(1, np.int64))
    lowest = graph.add("GatherElements", logits, index, axis=1)
    unrestricted = graph.add("GreaterOrEqual", TOP_P, graph.constant(1, np.float32))
    return graph.add("Where", unrestricted, graph.constant(-np.inf, np.float32), lowest)


def _min_p_floor(graph: Graph, ranked: str) -> str:
    """Return the lowest scaled logit within each row's min_p: float32[batch, 1]."""
    likeliest = graph.add("Gather", ranked, graph.constant([0], np.int64), axis=1)
    return graph.add("Add", likeliest, LOG_MIN_P)
