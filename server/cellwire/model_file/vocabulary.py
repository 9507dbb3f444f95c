"""A model's vocabulary: texts to tokens, and tokens to texts.

A symbol is a character, a byte or a word; a token is the number of a symbol.
"""

from __future__ import annotations

import codecs
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import numpy as np
import numpy.typing as npt

from cellwire.model_file.errors import TextError, UnknownSymbol
from cellwire.model_file.manifest import BYTES, VocabularyFacts
from cellwire.model_file.words import in_word, pieces, pieces_with_offsets

Tokens = npt.NDArray[np.uint32]  # half of int64: long appends wait in memory

MOST_INCOMPLETE = 3
"""The most tokens at the end of a text that can be an unfinished character: bytes of UTF-8."""


class Unknown(Enum):
    """The treatment of symbols that are not in the vocabulary."""

    REJECT = "reject"
    SKIP = "skip"
    REPLACE = "replace"


class Vocabulary(ABC):
    """Converts text to tokens and back."""

    def __init__(self, facts: VocabularyFacts) -> None:
        self.facts = facts

    @staticmethod
    def of(facts: VocabularyFacts) -> Vocabulary:
        """Return the vocabulary that a manifest describes."""
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
        """Return the tokens of `text` after normalisation, uint32 `[n]`.

        With Unknown.REJECT, UnknownSymbol names the first symbol that is not in the vocabulary.
        """
        if self.facts.unicode_form:
            text = unicodedata.normalize(self.facts.unicode_form, text)
        return self._encode(text.lower() if self.facts.lower_case else text, unknown)

    def encode_bytes(self, data: bytes) -> Tokens:  # noqa: ARG002  # see Bytes
        """Return the tokens of bytes, uint32 `[n]`; TextError unless the symbols are bytes."""
        raise TextError(f"the model reads {self.facts.kind}, not bytes; send text")

    @abstractmethod
    def _encode(self, text: str, unknown: Unknown) -> Tokens:
        """Return the tokens of a normalised text."""

    def symbol(self, token: int) -> str:
        """Return a token's symbol."""
        return self.facts.symbols[token]

    def text(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return tokens as text, and the number of tokens at their end that are not in it yet."""
        symbols, separator = self.facts.symbols, self.facts.separator
        return "".join([separator + symbols[token] for token in tokens]), 0

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The tokens of words, or of the characters in words."""
        symbols = ((token, self.symbol(token)) for token in range(len(self)))
        return frozenset(t for t, symbol in symbols if len(symbol) == 1 and in_word(symbol))

    @cached_property
    def between_words(self) -> frozenset[int]:
        """The tokens that are not in `in_words`."""
        return frozenset(range(len(self))) - self.in_words

    @cached_property
    def line_feeds(self) -> frozenset[int]:
        """The tokens that hold a line feed."""
        return frozenset(t for t in range(len(self)) if "\n" in self.symbol(t))

    def _without_unknown(self, tokens: Iterable[int | None], unknown: Unknown) -> Tokens:
        """Return `tokens`; None, an unknown symbol, is left out or replaced."""
        replacement = self.unknown_token if unknown is Unknown.REPLACE else None
        if replacement is None:
            return np.array([token for token in tokens if token is not None], np.uint32)
        return np.array([replacement if token is None else token for token in tokens], np.uint32)


class Characters(Vocabulary):
    """Unicode code points. Longer symbols can be generated, but are never read from a text."""

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
            places, unknown_places = np.zeros(len(codes), np.intp), np.arange(len(codes))
        else:
            places = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
            unknown_places = np.flatnonzero(self._codes[places] != codes)
        if not unknown_places.size:
            tokens: Tokens = self._tokens[places]
            return tokens
        if unknown is Unknown.REJECT:
            offset = int(unknown_places[0])
            raise UnknownSymbol(text[offset], offset)
        known = dict(zip(self._codes.tolist(), self._tokens.tolist(), strict=True))
        return self._without_unknown(map(known.get, codes.tolist()), unknown)


class Bytes(Vocabulary):
    """The 256 bytes; text is read and written as UTF-8."""

    def _encode(self, text: str, unknown: Unknown) -> Tokens:  # noqa: ARG002  # no byte is unknown
        return self.encode_bytes(text.encode())

    def encode_bytes(self, data: bytes) -> Tokens:
        """Return the bytes themselves as tokens, uint32 `[len(data)]`."""
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def symbol(self, token: int) -> str:
        """Return a byte as text: U+FFFD unless the byte is a character."""
        return bytes([token]).decode(errors="replace")

    def text(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return bytes as text, and the number of bytes at their end that begin a character."""
        text, consumed = codecs.utf_8_decode(bytes(tokens), "replace", False)  # noqa: FBT003
        return text, len(tokens) - consumed

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The bytes of ASCII letters and digits, and all bytes beyond ASCII."""
        return super().in_words | frozenset(range(128, BYTES))


class Words(Vocabulary):
    """Words, and single characters between words."""

    @cached_property
    def _tokens(self) -> dict[str, int]:
        return {symbol: token for token, symbol in enumerate(self.facts.symbols)}

    @cached_property
    def _skips_white_space(self) -> bool:
        """Whether white space has no tokens: the separator stands for it."""
        return bool(self.facts.separator) and not any(map(str.isspace, self.facts.symbols))

    def _encode(self, text: str, unknown: Unknown) -> Tokens:
        if self._skips_white_space and unknown is not Unknown.REJECT:
            # Without offsets, the cutting takes half the time.
            return self._without_unknown(map(self._tokens.get, pieces(text)), unknown)
        tokens: list[int | None] = []
        for start, piece in pieces_with_offsets(text):
            token = self._tokens.get(piece)
            if token is None and self.facts.separator and piece.isspace():
                continue
            if token is None and unknown is Unknown.REJECT:
                raise UnknownSymbol(piece, start)
            tokens.append(token)
        return self._without_unknown(tokens, unknown)

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The tokens that are words, by their first character, and the unknown symbol's."""
        words = (t for t in range(len(self)) if in_word(self.symbol(t)[:1]))
        unknown = () if self.unknown_token is None else (self.unknown_token,)
        return frozenset((*words, *unknown))


@dataclass(frozen=True, slots=True)
class TextEnd:
    """The end of a text that is read again with what follows it."""

    text: str = ""
    tokens: tuple[int, ...] = ()
    beginning: bool = False


BEGINNING = TextEnd(beginning=True)
SETTLED = TextEnd()
MAX_REREAD_TOKENS = 64
MAX_REREAD_CHARS = 1_024
