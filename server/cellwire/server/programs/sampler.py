"""The sampler: the nodes that choose each row's next token from its logits.

A row without top_k inverts the CDF of the whole distribution, in the order of tokens; a row with
top_k inverts that of its top tokens, in the order of ranks. Of the variants, a batch takes the
cheapest that suffices for all its rows.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import LOGITS
from cellwire.server.programs.adjusted_draw import draw_adjusted
from cellwire.server.programs.columns import FORCED, INVERSE_TEMPERATURE, UNIFORM
from cellwire.server.programs.draws import (
    LIMIT,
    Ranking,
    Ranks,
    add_ranks,
    by_rank_if_top_k,
    draw_by_rank,
    draw_by_token,
)
from cellwire.server.programs.graph import OWN, Graph
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.unknown_symbol import EXCLUDED_LOGIT, writable

STEP_CHOSEN = f"{OWN}step.chosen"  # int64[batch, 1]
STEP_LOG_PROBABILITY = f"{OWN}step.log_probability"  # float32[batch, 1]
STEP_TOP_TOKEN = f"{OWN}step.top_token"  # int64[batch, limit]
STEP_TOP_LOG_PROBABILITY = f"{OWN}step.top_log_probability"  # float32[batch, limit]


def add_sampler(
    graph: Graph,
    outer: Graph,
    variant: SamplerVariant,
    step: str,
    cell: Cell,
    limit: int | None = None,
) -> None:
    """Choose the next token of each row: the forced one, or a draw. Greedy choice is a top_k of 1.

    `outer` holds the nodes before all steps, `step` names the step's number, and `limit` is the
    number of top tokens to rank, if it is known.
    """
    if variant is SamplerVariant.FORCED:
        graph.add("Gather", FORCED, step, name=STEP_CHOSEN, axis=0)
    else:
        uniform = graph.add("Gather", UNIFORM, step, axis=0)
        ranks = _ranks(outer, variant, cell, limit)
        sampled = _sampled(graph, ranks, uniform, variant, cell)
        forced = graph.add("Gather", FORCED, step, axis=0)
        is_forced = graph.add("GreaterOrEqual", forced, graph.constant(0, np.int64))
        graph.add("Where", is_forced, forced, sampled, name=STEP_CHOSEN)
    _add_log_probabilities(graph, variant)


def add_forced_tokens(graph: Graph, step: str) -> None:
    """Choose the next token of each row of a cell without logits: the forced one."""
    graph.add("Gather", FORCED, step, name=STEP_CHOSEN, axis=0)
    as_float = graph.add("Cast", STEP_CHOSEN, to=TensorProto.FLOAT)
    graph.add("Mul", as_float, graph.constant(0, np.float32), name=STEP_LOG_PROBABILITY)


def _sampled(
    graph: Graph, ranks: Ranks | None, uniform: str, variant: SamplerVariant, cell: Cell
) -> str:
    """Draw a token of each row: int64[batch, 1]."""
    vocabulary = cell.manifest.vocabulary.size
    if ranks and variant is SamplerVariant.ADJUSTED:
        graph.top(LOGITS, LIMIT, places=STEP_TOP_TOKEN)  # to report: the model's own
        return draw_adjusted(graph, ranks, uniform, cell)
    logits = writable(graph, cell, LOGITS, EXCLUDED_LOGIT)
    if ranks and variant is SamplerVariant.TOP_K:
        return draw_by_rank(graph, ranks, Ranking(*graph.top(logits, LIMIT)), uniform)
    scaled = graph.add("Mul", logits, INVERSE_TEMPERATURE)
    by_token = draw_by_token(graph, scaled, uniform, vocabulary)
    if ranks is None:
        return by_token
    ranking = Ranking(*graph.top(LOGITS, LIMIT, places=STEP_TOP_TOKEN))  # to report, as above
    if logits != LOGITS:
        ranking = Ranking(*graph.top(logits, LIMIT))
    return by_rank_if_top_k(graph, draw_by_rank(graph, ranks, ranking, uniform), by_token)


def _ranks(outer: Graph, variant: SamplerVariant, cell: Cell, limit: int | None) -> Ranks | None:
    if not variant.ranks_tokens:
        return None
    return add_ranks(outer, cell.manifest.vocabulary.size, limit)


def _add_log_probabilities(graph: Graph, variant: SamplerVariant) -> None:
    """Look up the model's own log-probabilities of the chosen token and of the top tokens."""
    logs = graph.add("LogSoftmax", LOGITS, axis=1)  # [batch, vocabulary]
    graph.add("GatherElements", logs, STEP_CHOSEN, name=STEP_LOG_PROBABILITY, axis=1)
    if variant.reports_top_tokens:
        graph.add("GatherElements", logs, STEP_TOP_TOKEN, name=STEP_TOP_LOG_PROBABILITY, axis=1)
