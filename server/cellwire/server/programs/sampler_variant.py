"""How much sampling a step program can do; less is faster."""

from __future__ import annotations

from enum import Enum, unique


@unique
class SamplerVariant(Enum):
    """What a program's sampler supports.

    A row gets the same bits from every variant that suffices for it.
    """

    FORCED = "forced tokens only: appends, scores and replays"
    PLAIN = "temperature"
    TOP_K = "top-k in every sampled row"
    RANKING = "temperature, top-k and reports of the top tokens"
    ADJUSTED = "temperature, penalties, biases and min-p"
    ADJUSTED_TOP_K = "the same, and top-k"
    ADJUSTED_RANKING = "the same, top-k and reports of the top tokens"
    TOP_P = "temperature, penalties, biases, min-p and top-p"
    TOP_P_TOP_K = "everything but reports"
    TOP_P_RANKING = "everything"

    @property
    def ranks_tokens(self) -> bool:
        """Whether the sampler ranks the likeliest tokens, and so takes a limit of them."""
        return self.reports_top_tokens or self in _TOP_K

    @property
    def reports_top_tokens(self) -> bool:
        """Whether the program outputs the likeliest tokens."""
        return self in _RANKING

    @property
    def adjusts(self) -> bool:
        """Whether the sampler changes logits and excludes unlikely tokens."""
        return self in _ADJUSTED or self.limits_top_p

    @property
    def limits_top_p(self) -> bool:
        """Whether the sampler takes top-p."""
        return self in _TOP_P


_S = SamplerVariant
_TOP_K = {_S.TOP_K, _S.ADJUSTED_TOP_K, _S.TOP_P_TOP_K}
_RANKING = {_S.RANKING, _S.ADJUSTED_RANKING, _S.TOP_P_RANKING}
_ADJUSTED = {_S.ADJUSTED, _S.ADJUSTED_TOP_K, _S.ADJUSTED_RANKING}
_TOP_P = {_S.TOP_P, _S.TOP_P_TOP_K, _S.TOP_P_RANKING}
