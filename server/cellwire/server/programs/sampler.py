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
    add_ranks,
    by_rank_if_top_k,
    draw_by_rank,
    draw_by_token,
)
from cellwire.server.programs.graph import OWN, Graph
from cellwire.server.programs.program import of_step
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_inputs import IS_FORCED
from cellwire.server.programs.unknown_symbol import EXCLUDED_LOGIT, writable
from cellwire.server.programs.weight_floor import add_floors

STEP_TOP_TOKEN = f"{OWN}step.top_token"  # int64[batch, limit]


class Sampler:
    """Chooses tokens in one program: nodes of each step, and nodes before all steps."""

    def __init__(
        self,
        step: Graph,
        outer: Graph,
        variant: SamplerVariant,
        cell: Cell,
        limit: int | None,
        *,
        reports: bool,
    ) -> None:
        """`limit` is the number of top tokens to rank, if it is known.

        `reports` says whether there are top tokens to report.
        """
        self._step = step
        self._variant = variant
        self._cell = cell
        self._reports = reports
        self._vocabulary = cell.manifest.vocabulary.size
        ranks = cell.generates and variant.ranks_tokens
        self._ranks = add_ranks(outer, self._vocabulary, limit) if ranks else None
        self._floors = None
        if cell.generates and variant.adjusts:
            self._floors = add_floors(outer, self._vocabulary, limits_top_p=variant.limits_top_p)

    def choose(self) -> str:
        """Choose each row's next token, the forced one or a draw: int64[batch, 1].

        Greedy choice is a draw with a top_k of 1. Without logits, all tokens are forced.
        """
        if self._variant is SamplerVariant.FORCED or not self._cell.generates:
            return of_step(FORCED)
        return self._step.add("Where", of_step(IS_FORCED), of_step(FORCED), self._sampled())

    def _sampled(self) -> str:
        """Draw a token of each row: int64[batch, 1]."""
        step, ranks, uniform = self._step, self._ranks, of_step(UNIFORM)
        if self._floors:
            if self._reports:
                step.top(LOGITS, LIMIT, places=STEP_TOP_TOKEN)  # the model's own
            return draw_adjusted(step, ranks, self._floors, uniform, self._cell)
        logits = writable(step, self._cell, LOGITS, EXCLUDED_LOGIT)
        if ranks and self._variant is SamplerVariant.TOP_K:
            return draw_by_rank(step, ranks, Ranking(*step.top(logits, LIMIT)), uniform)
        scaled = step.add("Mul", logits, INVERSE_TEMPERATURE)
        by_token = draw_by_token(step, scaled, uniform, self._vocabulary)
        if ranks is None:
            return by_token
        if self._reports and logits != LOGITS:
            step.top(LOGITS, LIMIT, places=STEP_TOP_TOKEN)
        places = STEP_TOP_TOKEN if self._reports and logits == LOGITS else ""
        ranking = Ranking(*step.top(logits, LIMIT, places=places))
        return by_rank_if_top_k(step, draw_by_rank(step, ranks, ranking, uniform), by_token)
