"""The sampler: the nodes that settle each row's next token from its logits.

A row without top-k inverts the CDF of the whole distribution, in the order of the tokens; a row
with top-k that of its likeliest tokens, in the order of their rank. There are five samplers, of
which a stride takes the cheapest that does for all its rows. A row gets the same bits from each
that does for it.

Every operation on logits must work on each row by itself, in the same order whatever the batch
holds, so that a row's token depends on no other row. Softmax, LogSoftmax, CumSum and products with
constants do. ReduceSum does not: its order of addition depends on how a row lies in memory, so here
it only ever adds whole numbers. Of ranked tokens there may be more or fewer, as other rows want
them, so they are only added up by CumSum, which goes from the first to the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from onnx import TensorProto

from cellwire.model_file.cell import LOGITS
from cellwire.server.programs.graph import OWN, Graph

# What a program is given: for every step, as [steps, batch, 1],
FORCED = f"{OWN}forced"
UNIFORM = f"{OWN}uniform"
# for all of them, as [batch, 1],
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
CHOSEN = f"{OWN}step.chosen"  # [batch, 1]
LOG_PROBABILITY = f"{OWN}step.log_probability"  # [batch, 1]
TOP_TOKEN = f"{OWN}step.best_token"  # [batch, limit]
TOP_LOG_PROBABILITY = f"{OWN}step.best_log_probability"  # [batch, limit]


_MOST_AS_PRODUCT = 128  # symbols


@dataclass(frozen=True, slots=True)
class _Ranking:
    """The likeliest tokens of each row, descending; of equally likely ones the lowest first."""

    logits: str  # [batch, limit]
    tokens: str  # [batch, limit]


class SamplerVariant(Enum):
    """How much a program can do for the rows that ask for it."""

    FORCED = "nothing is sampled: appends, scores and replays"
    PLAIN = "temperature"
    TOP_K = "top-k, of every row that is sampled"
    RANKING = "temperature, top-k and reports of the likeliest tokens"
    ADJUSTED = "everything"

    @property
    def samples(self) -> bool:
        """Whether it draws tokens at all."""
        return self is not SamplerVariant.FORCED

    @property
    def ranks(self) -> bool:
        """Whether it ranks the likeliest tokens."""
        return self not in {SamplerVariant.FORCED, SamplerVariant.PLAIN}

    @property
    def reports_top_tokens(self) -> bool:
        """Whether it reports the likeliest tokens."""
        return self in {SamplerVariant.RANKING, SamplerVariant.ADJUSTED}


def add_sampler(graph: Graph, sampler: SamplerVariant, step: str, vocabulary: int) -> None:
    """Settle the next token of each row: forced, or the inverse of its distribution's CDF.

    `step` names the number of the step. Greedy choice is a top_k of 1.
    """
    if sampler is SamplerVariant.FORCED:
        graph.add("Gather", FORCED, step, name=CHOSEN, axis=0)
    else:
        sampled = _sampled(graph, sampler, step, vocabulary)
        forced = graph.add("Gather", FORCED, step, axis=0)
        is_forced = graph.add("GreaterOrEqual", forced, graph.constant(0, np.int64))
        graph.add("Where", is_forced, forced, sampled, name=CHOSEN)
    _report_log_probabilities(graph, sampler)


def _sampled(graph: Graph, sampler: SamplerVariant, step: str, vocabulary: int) -> str:
    """Draw a token of each row: `[batch, 1]`."""
    uniform = graph.add("Gather", UNIFORM, step, axis=0)
    if sampler is SamplerVariant.ADJUSTED:
        return _drawn_from_shaped(graph, uniform, vocabulary)
    if sampler is SamplerVariant.TOP_K:
        ranking = _Ranking(*graph.top(LOGITS, LIMIT, places=TOP_TOKEN))
        return _drawn_by_rank(graph, ranking, uniform)
    scaled = graph.add("Mul", LOGITS, INVERSE_TEMPERATURE)
    by_token = _drawn(graph, scaled, uniform, vocabulary)
    if sampler is SamplerVariant.PLAIN:
        return by_token
    ranking = _Ranking(*graph.top(LOGITS, LIMIT, places=TOP_TOKEN))
    by_rank = _drawn_by_rank(graph, ranking, uniform)
    return _by_rank_if_top_k(graph, by_rank, by_token)


def add_forced_tokens(graph: Graph, step: str) -> None:
    """Settle the next token of each row of a cell that has no logits: nothing is sampled there."""
    graph.add("Gather", FORCED, step, name=CHOSEN, axis=0)
    as_float = graph.add("Cast", CHOSEN, to=TensorProto.FLOAT)
    graph.add("Mul", as_float, graph.constant(0, np.float32), name=LOG_PROBABILITY)


def _drawn(graph: Graph, scaled: str, uniform: str, vocabulary: int) -> str:
    """Draw a token of each row of `scaled` logits `[batch, vocabulary]`: `[batch, 1]`."""
    weight = graph.add("Softmax", scaled, axis=1)
    return _inverse_of_cdf(graph, _cumulated(graph, weight, vocabulary), uniform)


def _cumulated(graph: Graph, weight: str, vocabulary: int) -> str:
    """Return the sums of each row of `weight` `[batch, vocabulary]` up to each token.

    For few symbols a matrix product is quicker than CumSum, which adds one number at a time.
    """
    if vocabulary > _MOST_AS_PRODUCT:
        return graph.add("CumSum", weight, graph.constant(1, np.int64))
    up_to = np.triu(np.ones((vocabulary, vocabulary)))
    return graph.add("MatMul", weight, graph.constant(up_to, np.float32))


def _drawn_by_rank(graph: Graph, ranking: _Ranking, uniform: str, allowed: str = "") -> str:
    """Draw a token of each row's top_k likeliest, if `allowed` `[batch, limit]`: `[batch, 1]`."""
    scaled = graph.add("Mul", ranking.logits, INVERSE_TEMPERATURE)
    first = graph.add("Gather", scaled, graph.constant([0], np.int64), axis=1)
    weight = graph.add("Exp", graph.add("Sub", scaled, first))
    ranks = graph.add(
        "Range",
        graph.constant(0, np.int64),
        graph.add("Squeeze", LIMIT),
        graph.constant(1, np.int64),
    )
    within = graph.add("Less", ranks, TOP_K)
    if allowed:
        within = graph.add("And", within, allowed)
    weight = graph.add("Where", within, weight, graph.constant(0, np.float32))
    cumulated = graph.add("CumSum", weight, graph.constant(1, np.int64))
    # A row without top_k has no weights at all, and what comes of it is not used.
    rank = graph.add(
        "Min",
        _inverse_of_cdf(graph, cumulated, uniform),
        graph.add("Sub", LIMIT, graph.constant(1, np.int64)),
    )
    return graph.add("GatherElements", ranking.tokens, rank, axis=1)


def _by_rank_if_top_k(graph: Graph, by_rank: str, by_token: str) -> str:
    has_top_k = graph.add("Greater", TOP_K, graph.constant(0, np.int64))
    return graph.add("Where", has_top_k, by_rank, by_token)


def _drawn_from_shaped(graph: Graph, uniform: str, vocabulary: int) -> str:
    """Draw from the distribution that is left by penalties, biases, top_p and min_p."""
    graph.top(LOGITS, LIMIT, places=TOP_TOKEN)
    logits = _changed(graph)
    ranking = _Ranking(*graph.top(logits, LIMIT))
    scaled = graph.add("Mul", logits, INVERSE_TEMPERATURE)
    ranked = graph.add("Mul", ranking.logits, INVERSE_TEMPERATURE)  # [batch, limit], descending
    top_p_floor = _top_p_floor(graph, ranking.logits, ranked)
    min_p_floor = _min_p_floor(graph, ranked)

    def allowed(logits: str, scaled: str) -> str:
        in_top_p = graph.add("GreaterOrEqual", logits, top_p_floor)
        return graph.add("And", in_top_p, graph.add("GreaterOrEqual", scaled, min_p_floor))

    by_rank = _drawn_by_rank(graph, ranking, uniform, allowed(ranking.logits, ranked))
    nothing = graph.constant(-np.inf, np.float32)
    masked = graph.add("Where", allowed(logits, scaled), scaled, nothing)
    return _by_rank_if_top_k(graph, by_rank, _drawn(graph, masked, uniform, vocabulary))


def _inverse_of_cdf(graph: Graph, cumulated: str, uniform: str) -> str:
    """Return `[batch, 1]`: the place in each row of `cumulated` where its share of the sum is."""
    total = graph.add("Gather", cumulated, graph.constant([-1], np.int64), axis=1)
    mark = graph.add("Mul", total, uniform)
    return _count(graph, graph.add("LessOrEqual", cumulated, mark))


def _report_log_probabilities(graph: Graph, sampler: SamplerVariant) -> None:
    """Look up what the model itself thought of the chosen tokens and of the likeliest."""
    log_probabilities = graph.add("LogSoftmax", LOGITS, axis=1)  # [batch, vocabulary]
    graph.add("GatherElements", log_probabilities, CHOSEN, name=LOG_PROBABILITY, axis=1)
    if sampler.reports_top_tokens:
        graph.add("GatherElements", log_probabilities, TOP_TOKEN, name=TOP_LOG_PROBABILITY, axis=1)


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


def _top_p_floor(graph: Graph, best: str, ranked: str) -> str:
    """Return `[batch, 1]`: the least logit of those that together have each row's top_p.

    For a row that asks for it, `best` and `ranked` hold the whole vocabulary.
    """
    weight = graph.add("Softmax", ranked, axis=1)
    # What the likelier ones have; 0 for the first, so that one is always left.
    before = graph.add("CumSum", weight, graph.constant(1, np.int64), exclusive=1)
    count = _count(graph, graph.add("Less", before, TOP_P))
    index = graph.add("Sub", count, graph.constant(1, np.int64))
    least = graph.add("GatherElements", best, index, axis=1)
    everything = graph.add("GreaterOrEqual", TOP_P, graph.constant(1, np.float32))
    return graph.add("Where", everything, graph.constant(-np.inf, np.float32), least)


def _min_p_floor(graph: Graph, ranked: str) -> str:
    """Return `[batch, 1]`: the least scaled logit whose symbol has its share of the likeliest."""
    likeliest = graph.add("Gather", ranked, graph.constant([0], np.int64), axis=1)
    return graph.add("Add", likeliest, LOG_MIN_P)


def _count(graph: Graph, truths: str) -> str:
    """Return `[batch, 1]`: how many of each row are true; adding whole numbers, which is exact."""
    ones = graph.add("Cast", truths, to=TensorProto.FLOAT)
    count = graph.add("ReduceSum", ones, graph.axes(1), keepdims=1)
    return graph.add("Cast", count, to=TensorProto.INT64)
