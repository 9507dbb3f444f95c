"""How much sampling a step program can do; less is faster."""

from __future__ import annotations

from enum import Enum


class SamplerVariant(Enum):
    """What a program's sampler supports.

    A row gets the same bits from every variant that suffices for it.
    """

    FORCED = "forced tokens only: appends, scores and replays"
    PLAIN = "temperature"
    TOP_K = "top-k in every sampled row"
    RANKING = "temperature, top-k and reports of the top tokens"
    ADJUSTED = "everything"

    @property
    def ranks_tokens(self) -> bool:
        """Whether the sampler ranks the likeliest tokens, and so takes a limit of them."""
        return self not in {SamplerVariant.FORCED, SamplerVariant.PLAIN}

    @property
    def reports_top_tokens(self) -> bool:
        """Whether the program outputs the likeliest tokens."""
        return self in {SamplerVariant.RANKING, SamplerVariant.ADJUSTED}
