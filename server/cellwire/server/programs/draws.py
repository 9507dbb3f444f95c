"""Draws of a token from each row's distribution: in the order of tokens, or of ranks.

See cumulative_draw.py for the sums. The number of ranked tokens depends on other rows, so ranked
weights are added by CumSum only, which goes from the first to the last. In a large vocabulary it
adds blocks of them, so that a card need not add thousands for each of thousands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellwire.server.programs.columns import INVERSE_TEMPERATURE, TOP_K
from cellwire.server.programs.cumulative_draw import (
    blocks_of,
    draw,
    draw_from_blocks,
    in_blocks,
    place_of_share,
)
from cellwire.server.programs.graph import OWN, Graph

LIMIT = f"{OWN}limit"  # int64[1], the number of top tokens to rank

_RANK_BLOCK = 512
_MOST_WHOLE = 4_096  # symbols of a vocabulary whose ranks are not cut into blocks


@dataclass(frozen=True, slots=True)
class Ranks:
    """What all steps need to draw from top tokens; `limit` is known in programs of fixed shapes."""

    limit: int | None
    within: str = ""  # bool[batch, limit], the ranks below a row's top_k
    last: str = ""  # int64[1], the last rank
    blocks: RankBlocks | None = None  # of a vocabulary above 4,096


@dataclass(frozen=True, slots=True)
class RankBlocks:
    """How to cut the ranks into blocks of up to 512."""

    padding: str  # int64[4], of Pad
    shape: str  # int64[3]


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
    if blocks_of(vocabulary) == 1:
        return draw(graph, weight, uniform, vocabulary)
    return draw_from_blocks(graph, in_blocks(graph, weight, vocabulary), uniform, vocabulary)


def add_ranks(outer: Graph, vocabulary: int, limit: int | None) -> Ranks:
    """Add to the nodes before all steps what their draws from top tokens need."""
    if limit == 1:
        return Ranks(limit)
    zero, one = outer.constant(0, np.int64), outer.constant(1, np.int64)
    ranks = outer.add("Range", zero, outer.add("Squeeze", LIMIT), one)
    return Ranks(
        limit,
        outer.add("Less", ranks, TOP_K),
        outer.add("Sub", LIMIT, one),
        _rank_blocks(outer) if vocabulary > _MOST_WHOLE else None,
    )


def _rank_blocks(outer: Graph) -> RankBlocks:
    most = outer.constant([_RANK_BLOCK], np.int64)
    width = outer.add("Min", LIMIT, most)
    over = outer.add("Mod", LIMIT, width)
    padding = outer.add("Mod", outer.add("Sub", width, over), width)
    return RankBlocks(
        outer.add("Concat", outer.constant([0, 0, 0], np.int64), padding, axis=0),
        outer.add("Concat", outer.constant([0, -1], np.int64), width, axis=0),
    )


def draw_by_rank(
    graph: Graph, ranks: Ranks, ranking: Ranking, uniform: str, allowed: str = ""
) -> str:
    """Draw from each row's first top_k ranks, in the order of ranks: int64[batch, 1].

    `allowed` names a bool[batch, limit] that restricts the ranks further. The draw of a row without
    top_k is undefined.
    """
    if ranks.limit == 1:
        return ranking.tokens
    scaled = graph.add("Mul", ranking.logits, INVERSE_TEMPERATURE)
    first = graph.add("Gather", scaled, graph.constant([0], np.int64), axis=1)
    weight = graph.add("Exp", graph.add("Sub", scaled, first))
    within = graph.add("And", ranks.within, allowed) if allowed else ranks.within
    weight = graph.add("Where", within, weight, graph.constant(0, np.float32))
    drawn = place_of_share(graph, _cumulated(graph, ranks, weight), uniform)
    rank = graph.add("Min", drawn, ranks.last)  # without top_k, all weights are 0
    return graph.add("GatherElements", ranking.tokens, rank, axis=1)


def _cumulated(graph: Graph, ranks: Ranks, weight: str) -> str:
    """Return cumulative sums of the weights, with zeros behind them: float32[batch, limit or more].

    In the first block they do not depend on the limit.
    """
    last_axis = graph.constant(-1, np.int64)
    if ranks.blocks is None:
        return graph.add("CumSum", weight, last_axis)
    padded = graph.add("Pad", weight, ranks.blocks.padding)
    blocks = graph.add("Reshape", padded, ranks.blocks.shape)
    inside = graph.add("CumSum", blocks, last_axis)  # [batch, blocks, width]
    sums = graph.add("Gather", inside, graph.constant([-1], np.int64), axis=2)
    before = graph.add("CumSum", sums, graph.constant(1, np.int64), exclusive=1)
    cumulated = graph.add("Add", inside, before)
    return graph.add("Reshape", cumulated, graph.constant([0, -1], np.int64))


def by_rank_if_top_k(graph: Graph, by_rank: str, by_token: str) -> str:
    """Choose between the two draws of each row: int64[batch, 1]."""
    has_top_k = graph.add("Greater", TOP_K, graph.constant(0, np.int64))
    return graph.add("Where", has_top_k, by_rank, by_token)
