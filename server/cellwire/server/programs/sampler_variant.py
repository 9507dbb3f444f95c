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
    ADJUSTED = "temperature, penalties, biases and min-p"
    ADJUSTED_RANKING = "the same, with top-k and reports of the top tokens"
    TOP_P = "temperature, penalties, biases, min-p and top-p"
    TOP_P_RANKING = "everything"

    @property
    def ranks_tokens(self) -> bool:
        """Whether the sampler ranks the likeliest tokens, and so takes a limit of them."""
        return self is SamplerVariant.TOP_K or self.reports_top_tokens

    @property
    def reports_top_tokens(self) -> bool:
        """Whether the program outputs the likeliest tokens."""
        variant = SamplerVariant
        return self in {variant.RANKING, variant.ADJUSTED_RANKING, variant.TOP_P_RANKING}

    @property
    def adjusts(self) -> bool:
        """Whether the sampler changes logits and excludes unlikely tokens."""
        return self.limits_top_p or self in {
            SamplerVariant.ADJUSTED,
            SamplerVariant.ADJUSTED_RANKING,
        }

    @property
    def limits_top_p(self) -> bool:
        """Whether the sampler takes top-p."""
        return self in {SamplerVariant.TOP_P, SamplerVariant.TOP_P_RANKING}
