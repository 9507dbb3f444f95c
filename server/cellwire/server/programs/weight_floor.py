"""The least weight that a row's tokens must have: of its top_p, and of its min_p.

Weights are probabilities in blocks, float32[batch, blocks, width] (see cumulative_draw.py). A floor
is found as a *scale*, float32[batch, 1, 1]: a token stays if its weight times the scale is above
CUTOFF. What stays is then one operation on the scaled weights, which are as good to draw from, and
the same operation finds the sum of what would stay.

top_p needs no order of the tokens. The tokens that it excludes together have at most 1 - top_p. So
each has at most that, and one with less than that over the number of tokens is never needed. The
floor is searched for between the two, on a logarithmic scale. Each round takes a floor above which
the tokens together reach top_p, or leaves it. So the tokens that stay always reach top_p, and the
likeliest is one of them. The floor is found up to a factor of the 1,024th root of the number of
tokens, 0.8 % for 3,000. So a token that is less likely than the last that is needed may stay if it
is as close as that to it, or to 1 - top_p; a token that ties with the last that is needed stays.

A row's numbers must not depend on its place in a batch, as those of ONNX Runtime's Log do on a CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

import numpy as np
import numpy.typing as npt

from cellwire.server.programs.columns import LOG_MIN_P, TOP_P
from cellwire.server.programs.cumulative_draw import BLOCK, blocks_of
from cellwire.server.programs.graph import Graph

Array = npt.NDArray[np.float64]

# Far from the least and the greatest float32, so that scaled weights are neither 0 nor infinite.
CUTOFF = 2.0**-64
_OPEN = 2.0**100  # the scale of a row without a limit: any weight above 0 stays

# For rounding: a token that has just the weight of a floor stays.
_JUST_ABOVE = 1 + 2.0**-19

_INTERVALS = 1_024  # at least, that the search divides its range into


@dataclass(frozen=True, slots=True)
class Floors:
    """What all steps need to find floors."""

    vocabulary: int
    min_p_scale: str  # float32[batch, 1, 1], for a likeliest token of weight 1
    top_p: TopP | None  # None if no row has one


@dataclass(frozen=True, slots=True)
class TopP:
    """What all steps need to find the floors of top_p."""

    share: str  # float32[batch, 1, 1], top_p
    first_scale: str  # float32[batch, 1, 1], of a floor that is low enough
    ones: str  # float32[batch, 1, blocks]


def add_floors(outer: Graph, vocabulary: int, *, limits_top_p: bool) -> Floors:
    """Add to the nodes before all steps what their floors need."""
    log_min_p = outer.add("Unsqueeze", LOG_MIN_P, outer.axes(2))
    over_min_p = outer.add("Exp", outer.add("Sub", outer.constant(0, np.float32), log_min_p))
    min_p_scale = outer.add("Mul", over_min_p, outer.constant(CUTOFF * _JUST_ABOVE, np.float32))
    top_p = _add_top_p(outer, vocabulary) if limits_top_p else None
    return Floors(vocabulary, min_p_scale, top_p)


def _add_top_p(outer: Graph, vocabulary: int) -> TopP:
    """Add the same for top_p. In a row without, where it is 1, the first scale is infinite."""
    share = outer.add("Unsqueeze", TOP_P, outer.axes(2))
    rest = outer.add("Sub", outer.constant(1, np.float32), share)
    over = outer.constant(CUTOFF * vocabulary * _JUST_ABOVE, np.float32)
    zero = outer.add("Mul", share, outer.constant(0, np.float32))
    ones = outer.constant(np.ones((1, 1, blocks_of(vocabulary))), np.float32)
    return TopP(
        share,
        outer.add("Div", over, rest),
        outer.add("Add", zero, ones),
    )


def find_scale(graph: Graph, floors: Floors, weight: str) -> str:
    """Return the scale of each row's floor: float32[batch, 1, 1]."""
    likeliest = graph.add("ReduceMax", weight, graph.axes(1, 2), keepdims=1)
    scales = [graph.add("Div", floors.min_p_scale, likeliest)]
    if floors.top_p:
        scales.append(_top_p_scale(graph, floors.top_p, weight, floors.vocabulary))
    return graph.add("Min", *scales, graph.constant(_OPEN, np.float32))


def above_floor(graph: Graph, weight: str, scale: str) -> str:
    """Return the scaled weights, and 0 for tokens below the floor."""
    return graph.add("ThresholdedRelu", graph.add("Mul", weight, scale), alpha=CUTOFF)


def _top_p_scale(graph: Graph, top_p: TopP, weight: str, vocabulary: int) -> str:
    """Return the scale of each row's top_p: float32[batch, 1, 1].

    All scales of a row without top_p are infinite.
    """
    scale = top_p.first_scale
    for factors in _factors(vocabulary):
        tried = graph.add("Mul", scale, graph.constant(factors, np.float32))  # [batch, tried, 1]
        total = _total(graph, top_p, above_floor(graph, weight, tried), vocabulary)
        wanted = graph.add("Mul", top_p.share, tried)
        reached = graph.add("GreaterOrEqual", total, wanted)
        scale = graph.add("Where", reached, tried, scale)
        if len(factors) > 1:
            scale = graph.add("ReduceMin", scale, graph.axes(1), keepdims=1)
    return scale


def _factors(vocabulary: int) -> list[Array]:
    """Return the factors of the scale that each round tries: [tried, 1] each.

    In a small vocabulary, three in half as many rounds take less time than one.
    """
    tried = 3 if blocks_of(vocabulary) == 1 else 1
    rounds = ceil(log2(_INTERVALS) / log2(tried + 1))
    shares = np.arange(1, tried + 1).reshape(-1, 1) / (tried + 1)
    return [vocabulary ** -(shares / (tried + 1) ** number) for number in range(rounds)]


def _total(graph: Graph, top_p: TopP, weight: str, vocabulary: int) -> str:
    """Return the sum of each row's weights: float32[batch, tried, 1].

    A product for each row by itself, of ones and its blocks, is faster than one that has only a
    column; it is as independent of the batch.
    """
    length = vocabulary
    if blocks_of(vocabulary) > 1:
        weight, length = graph.add("MatMul", top_p.ones, weight), BLOCK
    return graph.add("MatMul", weight, graph.constant(np.ones((length, 1)), np.float32))
