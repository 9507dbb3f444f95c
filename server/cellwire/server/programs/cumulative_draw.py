"""Draws by inverting a cumulative distribution (CDF): by sums within blocks, and sums of blocks.

Every operation must work on each row by itself, and in the same order whatever the batch holds, so
that a row's draw depends on no other row. Products with constants do. ReduceSum does not: its order
of addition depends on a row's place in memory, so here it adds whole numbers only.

A vocabulary above 512 is cut into blocks of 128. The block in which the mark falls is found first,
then the place in that block alone. A cumulative sum of all weights would add one number at a time
on a CPU, and on a card each of its threads would add all that come before. Up to 512 that takes
less than the operations for blocks.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from cellwire.server.programs.graph import Graph

BLOCK = 128
MOST_WHOLE = 512  # numbers that are not cut into blocks

_BELOW_ONE = 1 - 2.0**-23


def blocks_of(vocabulary: int) -> int:
    """Return the number of blocks; up to 512 symbols are one, as long as the vocabulary."""
    return 1 if vocabulary <= MOST_WHOLE else -(-vocabulary // BLOCK)


def in_blocks(graph: Graph, weight: str, vocabulary: int) -> str:
    """Cut float32[batch, vocabulary] into float32[batch, blocks, width], padded with zeros."""
    blocks = blocks_of(vocabulary)
    if blocks == 1:
        return graph.add("Unsqueeze", weight, graph.axes(1))
    if padding := blocks * BLOCK - vocabulary:
        weight = graph.add("Pad", weight, graph.constant([0, 0, 0, padding], np.int64))
    return graph.add("Reshape", weight, graph.constant([-1, blocks, BLOCK], np.int64))


def draw_from_blocks(graph: Graph, weight: str, uniform: str, vocabulary: int) -> str:
    """Return the place in each row where the share `uniform` of its total falls: int64[batch, 1].

    `weight` is what `in_blocks` returns. A place of weight 0 is never drawn.
    """
    blocks = blocks_of(vocabulary)
    if blocks == 1:
        return draw(graph, graph.add("Squeeze", weight, graph.axes(1)), uniform, vocabulary)
    before = _sums_before(graph, weight, blocks)
    total = graph.add("Gather", before, graph.constant([-1], np.int64), axis=1)
    mark = graph.add("Mul", total, uniform)
    one, zero, last = (graph.constant(n, np.int64) for n in (1, 0, blocks - 1))
    reached = count_true(graph, graph.add("LessOrEqual", before, mark))
    # Clipped for a row without a sum: of NaN, or of zeros alone.
    block = graph.add("Clip", graph.add("Sub", reached, one), zero, last)
    rest = graph.add("Sub", mark, graph.add("GatherElements", before, block, axis=1))
    inside = graph.add("GatherND", weight, block, batch_dims=1)  # [batch, 128]
    place = _place_in_block(graph, inside, rest)
    return graph.add("Add", graph.add("Mul", block, graph.constant(BLOCK, np.int64)), place)


def draw(graph: Graph, weight: str, uniform: str, vocabulary: int) -> str:
    """Return the same place for up to 512 weights, float32[batch, vocabulary]: int64[batch, 1]."""
    return place_of_share(graph, _cumulated(graph, weight, vocabulary), uniform)


def place_of_share(graph: Graph, cumulated: str, uniform: str) -> str:
    """Return each row's place where the share `uniform` of its total falls: int64[batch, 1].

    `cumulated` names the cumulative sums, float32[batch, places].
    """
    total = graph.add("Gather", cumulated, graph.constant([-1], np.int64), axis=1)
    mark = graph.add("Mul", total, uniform)
    return count_true(graph, graph.add("LessOrEqual", cumulated, mark))


def count_true(graph: Graph, mask: str) -> str:
    """Count each row's true values: int64[batch, 1]. Adding whole numbers is exact."""
    ones = graph.add("Cast", mask, to=TensorProto.FLOAT)
    count = graph.add("ReduceSum", ones, graph.axes(1), keepdims=1)
    return graph.add("Cast", count, to=TensorProto.INT64)


def _sums_before(graph: Graph, weight: str, blocks: int) -> str:
    """Return the sum before each block, and last the total: float32[batch, blocks + 1].

    The sums never decrease, whatever the order of addition is, since every order adds a block's sum
    to the same numbers as the sum before it.
    """
    ones = graph.constant(np.ones((BLOCK, 1)), np.float32)
    sums = graph.add("MatMul", weight, ones)
    sums = graph.add("Reshape", sums, graph.constant([-1, blocks], np.int64))
    if blocks <= BLOCK:
        triangle = np.triu(np.ones((blocks, blocks + 1)), 1)
        return graph.add("MatMul", sums, graph.constant(triangle, np.float32))
    padded = graph.add("Pad", sums, graph.constant([0, 0, 0, 1], np.int64))
    return graph.add("CumSum", padded, graph.constant(1, np.int64), exclusive=1)


def _place_in_block(graph: Graph, weight: str, mark: str) -> str:
    """Return the place of `mark` in float32[batch, 128]: int64[batch, 1].

    A block's sum may be added up in another order than the sums within it, so the mark is kept
    below the last of them.
    """
    cumulated = _cumulated(graph, weight, BLOCK)
    total = graph.add("Gather", cumulated, graph.constant([-1], np.int64), axis=1)
    below_total = graph.add("Mul", total, graph.constant(_BELOW_ONE, np.float32))
    mark = graph.add("Min", mark, below_total)
    return count_true(graph, graph.add("LessOrEqual", cumulated, mark))


def _cumulated(graph: Graph, weight: str, length: int) -> str:
    """Return the cumulative sums of up to 512 weights: float32[batch, length].

    For a few, a matrix product is faster than CumSum, which adds one number at a time.
    """
    if length > BLOCK:
        return graph.add("CumSum", weight, graph.constant(1, np.int64))
    triangle = np.triu(np.ones((length, length)))
    return graph.add("MatMul", weight, graph.constant(triangle, np.float32))
