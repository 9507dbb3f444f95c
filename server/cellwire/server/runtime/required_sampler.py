"""The sampler that a step batch requires."""

from __future__ import annotations

from cellwire.model_file.cell import Cell
from cellwire.server.batch.step import SAMPLED, StepBatch
from cellwire.server.programs.sampler_variant import SamplerVariant


def required_sampler(batch: StepBatch, cell: Cell) -> tuple[SamplerVariant, int]:
    """Return the cheapest variant for a batch, and the number of top tokens to rank.

    That number is a power of two or the vocabulary's size, so that there are few.
    """
    if not cell.generates:
        return SamplerVariant.PLAIN, 0
    vocabulary = cell.manifest.vocabulary.size
    ranked = max(min(int(batch.top_k.max()), vocabulary), batch.top_token_count)
    adjustments = batch.adjustments
    if adjustments is not None and (adjustments.top_p < 1).any():
        ranked = vocabulary
    limit = min(vocabulary, power_of_two(max(ranked, 1)))
    if adjustments is not None:
        return SamplerVariant.ADJUSTED, limit
    sampled = (batch.forced == SAMPLED).any(axis=0)  # [batch]
    if not sampled.any():
        return SamplerVariant.FORCED, 0
    if ranked == 0:
        return SamplerVariant.PLAIN, 0
    if batch.top_token_count or (sampled & (batch.top_k == 0)).any():
        return SamplerVariant.RANKING, limit
    return SamplerVariant.TOP_K, limit


def power_of_two(number: int) -> int:
    """Return the next power of two; at least 1."""
    return 1 << max(0, number - 1).bit_length()
