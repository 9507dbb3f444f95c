"""The sampler: the nodes that settle each row's next token from its logits.

There are three. The plain one draws with temperature. The ranking one, for batches in which some
row asks for it, also ranks the likeliest tokens, for top-k and to report them. The shaping one, for
batches in which some row asks for still more, also takes what step.Shaping describes. A row that
asks for nothing more gets the same bits from each.

Every operation on logits must work on each row by itself, in the same order whatever the batch
holds, so that a row's token depends on no other row. Softmax, LogSoftmax and CumSum do. ReduceSum
does not: its order of addition depends on how a row lies in memory, so here it only ever adds whole
numbers.
"""

from __future__ import annotations

from enum import Enum

import numpy as np
from onnx import TensorProto, helper

from cellwire.server.cell import LOGITS
from cellwire.server.graph import OWN, Graph

# What a program is given: for every step, as [steps, batch],
FORCED = f"{OWN}forced"
UNIFORM = f"{OWN}uniform"
# for all of them, as [batch],
INVERSE_TEMPERATURE = f"{OWN}inverse_temperature"
TOP_K = f"{OWN}top_k"
TOP_P = f"{OWN}top_p"
LOG_MIN_P = f"{OWN}log_min_p"
# the number of likeliest tokens to rank, as [1],
LIMIT = f"{OWN}limit"
# and changes of single logits, as [changes].
CHANGE_ROW = f"{OWN}change_row"
CHANGE_TOKEN = f"{OWN}change_token"
CHANGE_PENALTY = f"{OWN}change_penalty"
CHANGE_BIAS = f"{OWN}change_bias"

# What a step settles.
CHOSEN = f"{OWN}step.chosen"  # [batch]
LOG_PROBABILITY = f"{OWN}step.log_probability"  # [batch]
BEST_TOKEN = f"{OWN}step.best_token"  # [batch, limit]
BEST_LOG_PROBABILITY = f"{OWN}step.best_log_probability"  # [batch, limit]


class Sampler(Enum):
    """How much a program can do for the rows that ask for it."""

    PLAIN = "temperature"
    RANKING = "temperature, top-k and the likeliest tokens"
    SHAPING = "everything"


def add_sampler(graph: Graph, sampler: Sampler, step: str) -> None:
    """Settle the next token of each row: forced, or the inverse of its distribution's CDF.

    `step` names the number of the step. Greedy choice is an enormous inverse temperature with a
    uniform of 0; see sampling.py.
    """
    last = graph.axes(1)
    logits = _changed(graph) if sampler is Sampler.SHAPING else LOGITS
    inverse_temperature = graph.add("Unsqueeze", INVERSE_TEMPERATURE, last)
    scaled = graph.add("Mul", logits, inverse_temperature)  # [batch, vocabulary]
    if sampler is not Sampler.PLAIN:
        allowed = _allowed(graph, sampler, logits, scaled, inverse_temperature)
        scaled = graph.add("Where", allowed, scaled, graph.constant(-np.inf, np.float32))
    weight = graph.add("Softmax", scaled, axis=1)
    cumulated = graph.add("CumSum", weight, graph.constant(1, np.int64))
    total = graph.add("Gather", cumulated, graph.constant([-1], np.int64), axis=1)
    uniform = graph.add("Unsqueeze", graph.add("Gather", UNIFORM, step, axis=0), last)
    mark = graph.add("Mul", total, uniform)
    sampled = _count(graph, graph.add("LessOrEqual", cumulated, mark), keepdims=0)
    forced = graph.add("Gather", FORCED, step, axis=0)
    is_forced = graph.add("GreaterOrEqual", forced, graph.constant(0, np.int64))
    graph.add("Where", is_forced, forced, sampled, name=CHOSEN)
    _report_log_probabilities(graph, sampler)


def take_what_is_forced(graph: Graph, step: str) -> None:
    """Settle the next token of each row of a cell that has no logits: nothing is sampled there."""
    graph.add("Gather", FORCED, step, name=CHOSEN, axis=0)
    as_float = graph.add("Cast", CHOSEN, to=TensorProto.FLOAT)
    graph.add("Mul", as_float, graph.constant(0, np.float32), name=LOG_PROBABILITY)


def _allowed(
    graph: Graph, sampler: Sampler, logits: str, scaled: str, inverse_temperature: str
) -> str:
    """Return `[batch, vocabulary]`: which tokens may be drawn. Also rank the likeliest."""
    best = _rank(graph, LOGITS, BEST_TOKEN)
    if sampler is Sampler.RANKING:
        return graph.add("GreaterOrEqual", logits, _top_k_floor(graph, best))
    best = _rank(graph, logits)
    ranked = graph.add("Mul", best, inverse_temperature)  # [batch, limit], descending
    in_top_k = graph.add("GreaterOrEqual", logits, _top_k_floor(graph, best))
    in_top_p = graph.add("GreaterOrEqual", logits, _top_p_floor(graph, best, ranked))
    in_min_p = graph.add("GreaterOrEqual", scaled, _min_p_floor(graph, ranked))
    return graph.add("And", in_top_k, graph.add("And", in_top_p, in_min_p))


def _report_log_probabilities(graph: Graph, sampler: Sampler) -> None:
    """Look up what the model itself thought of the chosen tokens and of the likeliest."""
    last = graph.axes(1)
    log_probabilities = graph.add("LogSoftmax", LOGITS, axis=1)  # [batch, vocabulary]
    chosen = graph.add("Unsqueeze", CHOSEN, last)
    log_probability = graph.add("GatherElements", log_probabilities, chosen, axis=1)
    graph.add("Squeeze", log_probability, last, name=LOG_PROBABILITY)
    if sampler is not Sampler.PLAIN:
        graph.add(
            "GatherElements", log_probabilities, BEST_TOKEN, name=BEST_LOG_PROBABILITY, axis=1
        )


def _rank(graph: Graph, logits: str, tokens: str = "") -> str:
    """Return the greatest logits `[batch, limit]`, descending; of equals the lowest token first."""
    best = f"{tokens or logits}.logits"
    tokens = tokens or f"{logits}.tokens"
    graph.nodes.append(helper.make_node("TopK", [logits, LIMIT], [best, tokens], axis=1))
    return best


def _changed(graph: Graph) -> str:
    """Apply repetition penalties and biases, each to single logits."""
    last = graph.axes(1)
    row = graph.add("Unsqueeze", CHANGE_ROW, last)
    places = graph.add("Concat", row, graph.add("Unsqueeze", CHANGE_TOKEN, last), axis=1)
    before = graph.add("GatherND", LOGITS, places)  # [changes]
    unlikelier = graph.add(
        "Where",
        graph.add("Greater", before, graph.constant(0, np.float32)),
        graph.add("Div", before, CHANGE_PENALTY),
        graph.add("Mul", before, CHANGE_PENALTY),
    )
    after = graph.add("Add", unlikelier, CHANGE_BIAS)
    return graph.add("ScatterND", LOGITS, places, after)


def _top_k_floor(graph: Graph, best: str) -> str:
    """Return `[batch, 1]`: the least logit of each row's top_k; -inf for a top_k of 0."""
    top_k = graph.add("Unsqueeze", TOP_K, graph.axes(1))
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    index = graph.add("Max", graph.add("Sub", top_k, one), zero)
    kth = graph.add("GatherElements", best, index, axis=1)
    everything = graph.add("Equal", top_k, zero)
    return graph.add("Where", everything, graph.constant(-np.inf, np.float32), kth)


def _top_p_floor(graph: Graph, best: str, ranked: str) -> str:
    """Return `[batch, 1]`: the least logit of those that together have each row's top_p.

    For a row that asks for it, `best` and `ranked` hold the whole vocabulary.
    """
    last = graph.axes(1)
    top_p = graph.add("Unsqueeze", TOP_P, last)
    weight = graph.add("Softmax", ranked, axis=1)
    # What the likelier ones have; 0 for the first, so that one is always left.
    before = graph.add("CumSum", weight, graph.constant(1, np.int64), exclusive=1)
    count = _count(graph, graph.add("Less", before, top_p), keepdims=1)
    index = graph.add("Sub", count, last)
    least = graph.add("GatherElements", best, index, axis=1)
    everything = graph.add("GreaterOrEqual", top_p, graph.constant(1, np.float32))
    return graph.add("Where", everything, graph.constant(-np.inf, np.float32), least)


def _min_p_floor(graph: Graph, ranked: str) -> str:
    """Return `[batch, 1]`: the least scaled logit whose symbol has its share of the likeliest."""
    likeliest = graph.add("Gather", ranked, graph.constant([0], np.int64), axis=1)
    log_min_p = graph.add("Unsqueeze", LOG_MIN_P, graph.axes(1))
    return graph.add("Add", likeliest, log_min_p)


def _count(graph: Graph, truths: str, *, keepdims: int) -> str:
    """Return how many of each row are true, int64; adding whole numbers, which is exact."""
    ones = graph.add("Cast", truths, to=TensorProto.FLOAT)
    count = graph.add("ReduceSum", ones, graph.axes(1), keepdims=keepdims)
    return graph.add("Cast", count, to=TensorProto.INT64)
