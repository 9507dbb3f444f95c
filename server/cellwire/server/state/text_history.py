"""The text of a session, as far back as it is remembered."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

REMEMBERED = 65_536  # tokens, at least
# As many as that may be written while nobody reads. Whoever comes back for them asks from the last
# that arrived, and some were still on their way then.
_ON_THEIR_WAY = 32_768
MOST_REMEMBERED = 2 * REMEMBERED + _ON_THEIR_WAY
LONGEST = 2**62  # tokens of a whole text: more than any will have, and places still fit 64 bits


class TextHistory:
    """The last tokens of a text, addressed by their place in the whole text."""

    __slots__ = ("_start", "_tokens", "length")

    def __init__(self, start: int = 0, tokens: Iterable[int] = ()) -> None:
        """Begin with `tokens`, the first of which is at place `start`."""
        self._start = start
        self._tokens = array("I", tokens)
        self.length = start + len(self._tokens)  # of the whole text

    def __len__(self) -> int:
        """Return the length of the whole text."""
        return self.length

    @property
    def start(self) -> int:
        """The first place that is still remembered."""
        return self._start

    def __getitem__(self, place: int) -> int:
        assert place >= self._start, "that far back is forgotten"
        return self._tokens[place - self._start]

    def between(self, start: int, end: int) -> array[int]:
        """Return the tokens from place `start` up to `end`; fewer if they are forgotten."""
        return self._tokens[max(0, start - self._start) : max(0, end - self._start)]

    def last(self, tokens: int) -> array[int]:
        """Return the last tokens, or all there are."""
        return self.between(len(self) - tokens, len(self))

    def extend(self, tokens: Iterable[int]) -> None:
        """Add tokens at the end."""
        self._tokens.extend(tokens)
        self.length = self._start + len(self._tokens)
        if len(self._tokens) > MOST_REMEMBERED:
            self._start += REMEMBERED
            del self._tokens[:REMEMBERED]

    def truncate(self, length: int) -> None:
        """Forget everything from place `length` on."""
        del self._tokens[length - self._start :]
        self.length = length

    def copy(self) -> TextHistory:
        """Return a history of its own with the same text."""
        copy = TextHistory(self._start)
        copy._tokens, copy.length = self._tokens[:], self.length
        return copy
