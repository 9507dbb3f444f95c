"""The symbols a model reads and writes: characters, bytes or words."""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cellwire.model_file.errors import TextError, UnknownSymbol
from cellwire.model_file.manifest import BYTES, VocabularyFacts
from cellwire.model_file.words import in_word, pieces, pieces_with_offsets

Tokens = npt.NDArray[np.uint32]  # half the size of int64: long appends wait in memory

MOST_INCOMPLETE = 3
"""How many tokens at the end of a text may have to wait for another: bytes of one character."""


class Unknown(Enum):
    """What to do with symbols that are not in the vocabulary."""

    REJECT = "reject"
    SKIP = "skip"
    REPLACE = "replace"


class Vocabulary(ABC):
    """Turns text into tokens and back; a token is a symbol's place in the vocabulary."""

    def __init__(self, facts: VocabularyFacts) -> None:
        self.facts = facts

    @staticmethod
    def of(facts: VocabularyFacts) -> Vocabulary:
        """Return the vocabulary a manifest describes."""
        match facts.kind:
            case "characters":
                return Characters(facts)
            case "bytes":
                return Bytes(facts)
            case "words":
                return Words(facts)

    def __len__(self) -> int:
        return self.facts.size

    @cached_property
    def unknown_token(self) -> int | None:
        """The token that stands for unknown symbols, if there is one."""
        unknown = self.facts.unknown
        return None if unknown is None else self.facts.symbols.index(unknown)

    def encode(self, text: str, unknown: Unknown = Unknown.REJECT) -> Tokens:
        """Return the tokens of `text` as the model is to read it, uint32 `[n]`.

        UnknownSymbol names the first that is not known, if unknown ones are rejected.
        """
        if self.facts.unicode_form:
            text = unicodedata.normalize(self.facts.unicode_form, text)
        return self._encode(text.lower() if self.facts.lower_case else text, unknown)

    def encode_bytes(self, data: bytes) -> Tokens:  # noqa: ARG002  # see Bytes
        """Return the tokens of bytes, uint32 `[n]`; InvalidRequest unless they are the symbols."""
        raise TextError(f"the model reads {self.facts.kind}, not bytes; send text")

    @abstractmethod
    def _encode(self, text: str, unknown: Unknown) -> Tokens:
        """Return the tokens of a text that has been normalised."""

    def symbol(self, token: int) -> str:
        """Return a token as text."""
        return self.facts.symbols[token]

    def text(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return tokens as text, and how many at their end are not in it, being incomplete."""
        symbols, separator = self.facts.symbols, self.facts.separator
        return "".join([separator + symbols[token] for token in tokens]), 0

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The tokens that words are made of."""
        symbols = ((token, self.symbol(token)) for token in range(len(self)))
        return frozenset(t for t, symbol in symbols if len(symbol) == 1 and in_word(symbol))

    @cached_property
    def between_words(self) -> frozenset[int]:
        """All other tokens."""
        return frozenset(range(len(self))) - self.in_words

    @cached_property
    def line_feeds(self) -> frozenset[int]:
        """The tokens that end a line."""
        return frozenset(t for t in range(len(self)) if "\n" in self.symbol(t))

    def _settle(self, tokens: Iterable[int | None], unknown: Unknown) -> Tokens:
        """Return `tokens`, with those that are None left out or replaced."""
        other = self.unknown_token if unknown is Unknown.REPLACE else None
        if other is None:
            return np.array([token for token in tokens if token is not None], np.uint32)
        return np.array([other if token is None else token for token in tokens], np.uint32)


class Characters(Vocabulary):
    """Unicode code points. Longer symbols can be written, but never come from a text."""

    def __init__(self, facts: VocabularyFacts) -> None:
        super().__init__(facts)
        single = [i for i, symbol in enumerate(facts.symbols) if len(symbol) == 1]
        codes = np.array([ord(facts.symbols[i]) for i in single], dtype=np.uint32)
        order = np.argsort(codes)
        self._tokens: Tokens = np.array(single, np.uint32)[order]
        self._codes = codes[order]

    def _encode(self, text: str, unknown: Unknown) -> Tokens:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        if not self._codes.size:
            places, strangers = np.zeros(len(codes), np.intp), np.arange(len(codes))
        else:
            places = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
            strangers = np.flatnonzero(self._codes[places] != codes)
        if not strangers.size:
            tokens: Tokens = self._tokens[places]
            return tokens
        if unknown is Unknown.REJECT:
            offset = int(strangers[0])
            raise UnknownSymbol(text[offset], offset)
        known = dict(zip(self._codes.tolist(), self._tokens.tolist(), strict=True))
        return self._settle(map(known.get, codes.tolist()), unknown)


class Bytes(Vocabulary):
    """The 256 bytes; text is UTF-8."""

    def _encode(self, text: str, unknown: Unknown) -> Tokens:  # noqa: ARG002  # all are known
        return self.encode_bytes(text.encode())

    def encode_bytes(self, data: bytes) -> Tokens:
        """Return the bytes themselves as tokens, uint32 `[len(data)]`."""
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def symbol(self, token: int) -> str:
        """Return a byte as text; U+FFFD if it is no character by itself."""
        return bytes([token]).decode(errors="replace")

    def text(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return bytes as text, and how many at their end begin a character they do not finish."""
        data = bytes(tokens)
        incomplete = _incomplete(data)
        return data[: len(data) - incomplete].decode(errors="replace"), incomplete

    @cached_property
    def in_words(self) -> frozenset[int]:
        """Bytes of ASCII letters and digits, and all of other characters."""
        ascii_ones = super().in_words
        return ascii_ones | frozenset(range(128, BYTES))


# The first bytes of UTF-8 characters of 2, 3 and 4 bytes begin here; no character begins with more.
_FIRST_OF = (0xC2, 0xE0, 0xF0, 0xF5)
_CONTINUATION = range(0x80, 0xC0)


def _incomplete(data: bytes) -> int:
    """Return how many bytes at the end begin a UTF-8 character that needs more of them."""
    for length, byte in enumerate(reversed(data[-MOST_INCOMPLETE:]), start=1):
        if byte in _CONTINUATION:
            continue
        needed = 1 + bisect_right(_FIRST_OF, byte)
        return length if length < needed <= len(_FIRST_OF) else 0
    return 0


class Words(Vocabulary):
    """Words, and single characters between them."""

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {symbol: token for token, symbol in enumerate(self.facts.symbols)}

    @cached_property
    def _skips_white_space(self) -> bool:
        """Whether white space is no token: the separator stands for it, and no symbol is it."""
        return bool(self.facts.separator) and not any(map(str.isspace, self.facts.symbols))

    def _encode(self, text: str, unknown: Unknown) -> Tokens:
        if self._skips_white_space and unknown is not Unknown.REJECT:
            return self._settle(map(self._tokens.get, pieces(text)), unknown)  # twice as fast
        tokens: list[int | None] = []
        for start, piece in pieces_with_offsets(text):
            token = self._tokens.get(piece)
            if token is None and self.facts.separator and piece.isspace():
                continue
            if token is None and unknown is Unknown.REJECT:
                raise UnknownSymbol(piece, start)
            tokens.append(token)
        return self._settle(tokens, unknown)

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The tokens that are words, by their first character, and what stands for unknown ones."""
        words = (t for t in range(len(self)) if in_word(self.symbol(t)[:1]))
        unknown = () if self.unknown_token is None else (self.unknown_token,)
        return frozenset((*words, *unknown))
