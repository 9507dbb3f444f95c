"""The sampler that a step batch requires."""

from __future__ import annotations

from cellwire.model_file.cell import Cell
from cellwire.server.batch.step import SAMPLED, StepBatch
from cellwire.server.programs.sampler_variant import SamplerVariant

# By what is ranked: nothing, tokens to draw from, or tokens to report.
_ADJUSTED = (
    SamplerVariant.ADJUSTED,
    SamplerVariant.ADJUSTED_TOP_K,
    SamplerVariant.ADJUSTED_RANKING,
)
_TOP_P = (SamplerVariant.TOP_P, SamplerVariant.TOP_P_TOP_K, SamplerVariant.TOP_P_RANKING)

_QUICKLY_RANKED = 16


def required_sampler(batch: StepBatch, cell: Cell) -> tuple[SamplerVariant, int]:
    """Return the cheapest variant for a batch, and the number of top tokens to rank.

    That number is one of few.
    """
    if not cell.generates:
        return SamplerVariant.PLAIN, 0
    vocabulary = cell.manifest.vocabulary.size
    ranked = max(min(int(batch.top_k.max()), vocabulary), batch.top_token_count)
    limit = min(vocabulary, _few(ranked)) if ranked else 0
    if batch.adjustments is not None:
        variants = _TOP_P if (batch.adjustments.top_p < 1).any() else _ADJUSTED
        return variants[2 if batch.top_token_count else bool(ranked)], limit
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


def _few(ranked: int) -> int:
    """Round a number of tokens up: to a power of two, and above 16 to one of four in an octave.

    Up to 16, ONNX Runtime ranks any number about equally fast on a CPU.
    """
    rounded = power_of_two(ranked)
    step = rounded // 8 if rounded > _QUICKLY_RANKED else rounded
    return -(-ranked // step) * step
