"""Draws of a token from each row's distribution, by inverting its cumulative distribution (CDF).

Every operation on logits must work on each row by itself, and in the same order whatever the batch
holds, so that a row's token depends on no other row. Softmax, LogSoftmax, CumSum and products with
constants do. ReduceSum does not: its order of addition depends on a row's place in memory, so here
it adds whole numbers only. The number of ranked tokens depends on other rows, so ranked weights are
added by CumSum only, which goes from the first to the last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from cellwire.server.programs.columns import INVERSE_TEMPERATURE, TOP_K
from cellwire.server.programs.graph import OWN, Graph

LIMIT = f"{OWN}limit"  # int64[1], the number of top tokens to rank

_MAX_PRODUCT_VOCABULARY = 128


@dataclass(frozen=True, slots=True)
class Ranking:
    """The top tokens of each row, the likeliest first; of equally likely ones the lowest first."""

    logits: str  # float32[batch, limit]
    tokens: str  # int64[batch, limit]


def draw_by_token(graph: Graph, scaled: str, uniform: str, vocabulary: int) -> str:
    """Draw from the whole vocabulary, in the order of tokens: int64[batch, 1].

    `scaled` names the logits divided by the temperature, float32[batch, vocabulary].
    """
    weight = graph.add("Softmax", scaled, axis=1)
    return _inverse_of_cdf(graph, _cumulated(graph, weight, vocabulary), uniform)


def draw_by_rank(graph: Graph, ranking: Ranking, uniform: str, allowed: str = "") -> str:
    """Draw from each row's first top_k ranks, in the order of ranks: int64[batch, 1].

    `allowed` names a bool[batch, limit] that restricts the ranks further. The draw of a row without
    top_k is undefined.
    """
    scaled = graph.add("Mul", ranking.logits, INVERSE_TEMPERATURE)
    first = graph.add("Gather", scaled, graph.constant([0], np.int64), axis=1)
    weight = graph.add("Exp", graph.add("Sub", scaled, first))
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    ranks = graph.add("Range", zero, graph.add("Squeeze", LIMIT), one)
    within = graph.add("Less", ranks, TOP_K)
    if allowed:
        within = graph.add("And", within, allowed)
    weight = graph.add("Where", within, weight, graph.constant(0, np.float32))
    drawn = _inverse_of_cdf(graph, graph.add("CumSum", weight, one), uniform)
    last_rank = graph.add("Sub", LIMIT, graph.constant(1, np.int64))
    rank = graph.add("Min", drawn, last_rank)  # without top_k, all weights are 0
    return graph.add("GatherElements", ranking.tokens, rank, axis=1)


def by_rank_if_top_k(graph: Graph, by_rank: str, by_token: str) -> str:
    """Choose between the two draws of each row: int64[batch, 1]."""
    has_top_k = graph.add("Greater", TOP_K, graph.constant(0, np.int64))
    return graph.add("Where", has_top_k, by_rank, by_token)


def count_true(graph: Graph, mask: str) -> str:
    """Count each row's true values: int64[batch, 1]. Adding whole numbers is exact."""
    ones = graph.add("Cast", mask, to=TensorProto.FLOAT)
    count = graph.add("ReduceSum", ones, graph.axes(1), keepdims=1)
    return graph.add("Cast", count, to=TensorProto.INT64)


def _cumulated(graph: Graph, weight: str, vocabulary: int) -> str:
    """Return the cumulative sums of each row of `weight`: float32[batch, vocabulary].

    For a small vocabulary, a matrix product is faster than CumSum, which adds one number at a time.
    """
    if vocabulary > _MAX_PRODUCT_VOCABULARY:
        return graph.add("CumSum", weight, graph.constant(1, np.int64))
    triangle = np.triu(np.ones((vocabulary, vocabulary)))
    return graph.add("MatMul", weight, graph.constant(triangle, np.float32))


def _inverse_of_cdf(graph: Graph, cumulated: str, uniform: str) -> str:
    """Return each row's place where the share `uniform` of its total falls: int64[batch, 1]."""
    total = graph.add("Gather", cumulated, graph.constant([-1], np.int64), axis=1)
    mark = graph.add("Mul", total, uniform)
    return count_true(graph, graph.add("LessOrEqual", cumulated, mark))
