"""The sampler: the nodes that choose each row's next token from its logits.

A row without top_k inverts the CDF of the whole distribution, in the order of tokens; a row with
top_k inverts that of its top tokens, in the order of ranks. Of the variants, a batch takes the
cheapest that suffices for all its rows.
"""

from __future__ import annotations

from cellwire.model_file.cell import Cell
from cellwire.model_file.interface import LOGITS
from cellwire.server.programs.adjusted_draw import draw_adjusted
from cellwire.server.programs.columns import FORCED, INVERSE_TEMPERATURE, UNIFORM
from cellwire.server.programs.draws import (
    LIMIT,
    Ranking,
    by_rank_if_top_k,
    draw_by_rank,
    draw_by_token,
)
from cellwire.server.programs.graph import OWN, Graph
from cellwire.server.programs.program import of_step
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_inputs import IS_FORCED
from cellwire.server.programs.unknown_symbol import writable

STEP_TOP_TOKEN = f"{OWN}step.top_token"  # int64[batch, limit]


def choose(graph: Graph, variant: SamplerVariant, cell: Cell, *, reports: bool) -> str:
    """Choose each row's next token, the forced one or a draw: int64[batch, 1].

    Greedy choice is a draw with a top_k of 1. Without logits, all tokens are forced. `reports` says
    whether there are top tokens to report.
    """
    if variant is SamplerVariant.FORCED or not cell.generates:
        return of_step(FORCED)
    sampled = _sampled(graph, variant, cell, reports=reports)
    return graph.add("Where", of_step(IS_FORCED), of_step(FORCED), sampled)


def _sampled(graph: Graph, variant: SamplerVariant, cell: Cell, *, reports: bool) -> str:
    """Draw a token of each row: int64[batch, 1]."""
    vocabulary, uniform = cell.manifest.vocabulary.size, of_step(UNIFORM)
    if variant is SamplerVariant.ADJUSTED:
        if reports:
            graph.top(LOGITS, LIMIT, places=STEP_TOP_TOKEN)  # the model's own
        return draw_adjusted(graph, uniform, cell)
    logits = writable(graph, cell, LOGITS)
    if variant is SamplerVariant.TOP_K:
        return draw_by_rank(graph, Ranking(*graph.top(logits, LIMIT)), uniform)
    scaled = graph.add("Mul", logits, INVERSE_TEMPERATURE)
    by_token = draw_by_token(graph, scaled, uniform, vocabulary)
    if variant is SamplerVariant.PLAIN:
        return by_token
    if reports and logits != LOGITS:
        graph.top(LOGITS, LIMIT, places=STEP_TOP_TOKEN)
    places = STEP_TOP_TOKEN if reports and logits == LOGITS else ""
    ranking = Ranking(*graph.top(logits, LIMIT, places=places))
    return by_rank_if_top_k(graph, draw_by_rank(graph, ranking, uniform), by_token)
