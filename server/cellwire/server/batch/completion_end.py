"""The tokens that end a completion."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CompletionEnd:
    """A completion ends with a token of `tokens` that follows a token of `after`.

    It ends at its maximum length only, if `tokens` is None. If there are none, it was to end
    otherwise, but the vocabulary has no token for that: it is then cut off at that length.
    """

    tokens: frozenset[int] | None = None
    after: frozenset[int] | None = None  # None: any token, and the start of the completion

    def may_follow(self, previous: int | None) -> bool:
        """Whether an end may follow token `previous`; None is the start of the completion."""
        return self.after is None or previous in self.after

    def ends(self, previous: int | None, token: int) -> bool:
        """Whether `token` ends a completion in which it follows `previous`."""
        return self.tokens is not None and token in self.tokens and self.may_follow(previous)


MAX_LENGTH_ONLY = CompletionEnd()
