"""The text of a session, as far back as it is remembered."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np

from cellwire.model_file.vocabulary import BEGINNING, SETTLED
from cellwire.server.batch.limits import REMEMBERED_TOKENS

# That many may be written while no client reads. A client that returns asks from the last token
# that reached it, and some were still on their way then.
_IN_FLIGHT = 32_768
MAX_REMEMBERED = 2 * REMEMBERED_TOKENS + _IN_FLIGHT
MAX_LENGTH = 2**62  # tokens of a whole text; offsets fit 64 bits

# How many symbols there may be whose tokens an array of each type holds.
_SYMBOLS = {"B": 2**8, "H": 2**16, "I": 2**32}


def token_bytes(symbols: int) -> int:
    """Return the most bytes that a token takes in memory, in a text of so many symbols."""
    return array(_typecode(symbols)).itemsize


def _typecode(symbols: int) -> str:
    return next(code for code, most in _SYMBOLS.items() if symbols <= most)


def _narrowest(tokens: Sequence[int]) -> array[int]:
    """Return tokens in an array of the least type that holds them; there must be some."""
    wide = np.asarray(tokens, np.uint32)
    code = _typecode(int(wide.max()) + 1)
    return array(code, wide.astype(code).tobytes())


class TextHistory:
    """The last tokens of a text, addressed by their offset in the whole text.

    In memory, a token takes as many bytes as the greatest token of the text needs: see token_bytes.

    `end` is the end of the text that is read again with what follows: nothing of it, after any
    change, until the change's author sets it. At `blank_offset`, generated text begins with a blank
    that the client has already: its own text ends with one, which has no token.
    """

    __slots__ = ("_tokens", "blank_offset", "end", "length", "start")

    def __init__(self, start: int = 0, tokens: Sequence[int] = ()) -> None:
        """Begin with `tokens`, the first of which is at offset `start`."""
        self.start = start  # the first offset that is remembered
        self._tokens = _narrowest(tokens) if len(tokens) else array("B")
        self.length = start + len(self._tokens)  # of the whole text
        self.end = SETTLED if self.length else BEGINNING
        self.blank_offset = -1  # nowhere

    def __len__(self) -> int:
        """Return the length of the whole text."""
        return self.length

    def __getitem__(self, offset: int) -> int:
        assert offset >= self.start, "the token is forgotten"
        return self._tokens[offset - self.start]

    def between(self, start: int, end: int) -> array[int]:
        """Return the tokens from offset `start` up to `end`, without those forgotten."""
        return self._tokens[max(0, start - self.start) : max(0, end - self.start)]

    def last(self, count: int) -> array[int]:
        """Return the last `count` tokens, or all that are remembered."""
        return self.between(self.length - count, self.length)

    def extend(self, tokens: list[int]) -> None:
        """Add tokens at the end. They must be in a list: the bytes of an array are other ones."""
        try:
            if self._tokens.itemsize == 1:
                self._tokens.frombytes(bytes(tokens))  # in half the time of `extend`
            else:
                self._tokens.extend(tokens)
        except (ValueError, OverflowError):  # a token needs more bytes; some may have been added
            before = self._tokens[: self.length - self.start]
            self._tokens = _narrowest([*before, *tokens])
        self.end = SETTLED
        self.length = self.start + len(self._tokens)
        if len(self._tokens) > MAX_REMEMBERED:
            self.start += REMEMBERED_TOKENS
            del self._tokens[:REMEMBERED_TOKENS]

    def truncate(self, length: int) -> None:
        """Forget everything from offset `length` on."""
        self.end = SETTLED if length else BEGINNING
        if length <= self.blank_offset:
            self.blank_offset = -1
        del self._tokens[length - self.start :]
        self.length = length

    def copy(self) -> TextHistory:
        """Return an independent copy."""
        copy = TextHistory(self.start)
        copy._tokens, copy.length, copy.end = self._tokens[:], self.length, self.end
        copy.blank_offset = self.blank_offset
        return copy
