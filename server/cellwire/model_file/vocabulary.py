"""A model's vocabulary: texts to tokens, and tokens to texts.

A symbol is a character, a byte or a word; a token is the number of a symbol.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import Enum
from functools import cached_property

from cellwire.model_file.beginnings import Beginnings
from cellwire.model_file.cleaning import Cleaning
from cellwire.model_file.errors import TextError, UnknownSymbol
from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.text_end import (
    BEGINNING,
    MAX_REREAD_CHARS,
    MAX_REREAD_TOKENS,
    SETTLED,
    Reading,
    TextEnd,
    Tokens,
)
from cellwire.model_file.words import in_word

__all__ = [
    "BEGINNING",
    "MAX_REREAD_TOKENS",
    "MOST_INCOMPLETE",
    "SETTLED",
    "Reading",
    "TextEnd",
    "Tokens",
    "Unknown",
    "Vocabulary",
]

MOST_INCOMPLETE = 3
"""The most tokens at the end of a text that can be an unfinished character: bytes of UTF-8."""

_WINDOW_CHARS = 2 * MAX_REREAD_CHARS  # of a text's end, where its last settled place is looked for
_MAX_OTHERS = 10


class Unknown(Enum):
    """The treatment of symbols that are not in the vocabulary."""

    REJECT = "reject"
    SKIP = "skip"
    REPLACE = "replace"


class Vocabulary(ABC):
    """Converts text to tokens and back."""

    def __init__(self, facts: VocabularyFacts) -> None:
        self.facts = facts
        self._cleaning = Cleaning(facts)
        self._spelled = {symbol: token for token, symbol in enumerate(facts.symbols)}
        """The tokens by their symbols, as they are and as clean texts have them."""
        for token, symbol in enumerate(facts.symbols):
            self._spelled.setdefault(self._cleaning.clean_symbol(symbol), token)
        # Here and not on first use: with many words that would hold a request up.
        self._beginnings = Beginnings(facts, self._spelled)

    @staticmethod
    def of(facts: VocabularyFacts) -> Vocabulary:
        """Return the vocabulary that a manifest describes."""
        from cellwire.model_file.byte_vocabulary import Bytes
        from cellwire.model_file.character_vocabulary import Characters
        from cellwire.model_file.word_vocabulary import Words

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

    def read(
        self, text: str, unknown: Unknown = Unknown.REJECT, after: TextEnd = BEGINNING
    ) -> Reading:
        """Read what follows the end of a text, together with that end.

        With Unknown.REJECT, UnknownSymbol names the symbols that are not in the vocabulary. Its
        offset is in `text`; it is 0 if the symbol began before. An end that a continuation may make
        a symbol of, such as half a word, is not refused yet: it is left out; see `check_end`.
        """
        whole, beginning = after.text + text, after.beginning
        try:
            tokens = self.encode(whole, unknown, beginning=beginning)
        except UnknownSymbol as error:
            if self._is_unfinished(whole, error.offset, beginning=beginning):
                return self.read(text, Unknown.SKIP, after)
            offset = max(0, error.offset - len(after.text))
            raise UnknownSymbol(error.symbol, offset, error.others) from None
        return Reading(tokens, self._end(whole, tokens, unknown, beginning=beginning))

    def check_end(self, end: TextEnd) -> None:
        """Raise UnknownSymbol if an end was read without a symbol that the model does not know."""
        if end.text:
            self.encode(end.text, beginning=end.beginning)

    def _is_unfinished(self, text: str, offset: int, *, beginning: bool) -> bool:
        """Whether what follows a text may make a symbol of the unknown one at an offset of it."""
        settled = self.settled_length(text, beginning=beginning)
        if not settled <= offset < len(text) or len(text) - settled > MAX_REREAD_CHARS:
            return False
        whole_end = self._cleaning.length_without_unfinished_html(text)
        if whole_end <= offset:
            return True
        end = self.clean(text[settled:whole_end], beginning=beginning and not settled)
        place = len(self.clean(text[settled:offset], beginning=beginning and not settled))
        return self._beginnings.lead_on(end, place)

    def encode(
        self, text: str, unknown: Unknown = Unknown.REJECT, *, beginning: bool = True
    ) -> Tokens:
        """Return the tokens of a text that nothing follows, uint32 `[n]`.

        With Unknown.REJECT, UnknownSymbol names the symbols that are not in the vocabulary, the
        first with its offset. `beginning` if nothing is before the text.
        """
        try:
            return self._tokens_of(self.clean(text, beginning=beginning), unknown)
        except UnknownSymbol as error:
            offset = self._cleaning.original_offset(text, error.offset, beginning=beginning)
            raise UnknownSymbol(error.symbol, offset, error.others) from None

    def encode_bytes(self, data: bytes) -> Tokens:  # noqa: ARG002  # see Bytes
        """Return the tokens of bytes, uint32 `[n]`; TextError unless the symbols are bytes."""
        raise TextError(f"the model reads {self.facts.kind}, not bytes; send text")

    def clean(self, text: str, *, beginning: bool = True) -> str:
        """Return what is read of a text; `beginning` if nothing is before it."""
        return self._cleaning.clean(text, beginning=beginning)

    def settled_length(self, text: str, *, beginning: bool = True) -> int:
        """Return how much of a text is settled, in characters.

        Whatever follows the text, this much of it is read as it is now, and what is behind it is
        read by itself, as a text that has no beginning.
        """
        start = 0 if self._reads_whole else max(0, len(text) - _WINDOW_CHARS)
        settled = self._cleaning.settled_length(
            text[start:], beginning=beginning and not start, places=self._settled_places
        )
        return start + settled if settled else 0

    def _end(self, text: str, tokens: Tokens, unknown: Unknown, *, beginning: bool) -> TextEnd:
        """Return the end of a text that was read as `tokens`."""
        settled = self.settled_length(text, beginning=beginning)
        end, beginning = text[settled:], beginning and not settled
        if len(end) > MAX_REREAD_CHARS:
            return SETTLED
        if settled:
            tokens = self.encode(end, unknown, beginning=False) if end else tokens[:0]
        if len(tokens) > MAX_REREAD_TOKENS:
            return SETTLED
        return TextEnd(end, tuple(tokens.tolist()), beginning)

    @cached_property
    def rereads(self) -> bool:
        """Whether what follows a text can change the tokens at its end."""
        return not self._cleaning.is_local

    def waiting_blank(self, end: TextEnd) -> bool:  # noqa: ARG002  # see Words
        """Whether the text ends with a blank that is read with the word after it."""
        return False

    @property
    def _reads_whole(self) -> bool:
        """Whether the settled places of a text depend on all of it."""
        return False

    @abstractmethod
    def _tokens_of(self, text: str, unknown: Unknown) -> Tokens:
        """Return the tokens of a clean text; UnknownSymbol has offsets in it."""

    @abstractmethod
    def _settled_places(self, text: str) -> Sequence[int]:
        """Return the ascending offsets at which the reading of a clean text is settled."""

    def symbol(self, token: int) -> str:
        """Return a token's symbol, as it joins to a text."""
        return self.facts.symbols[token]

    @cached_property
    def _tokens_by_name(self) -> dict[str, int]:
        names = {self.symbol(token): token for token in reversed(range(len(self)))}
        return names | {symbol: token for token, symbol in enumerate(self.facts.symbols)}

    def token_of(self, symbol: str) -> int | None:
        """Return the token of exactly this symbol, or of one that joins to a text like this."""
        return self._tokens_by_name.get(symbol)

    def stops(self, text: str) -> tuple[tuple[int, ...], ...]:
        """Return the sequences of tokens that spell a stop string.

        TextError, or UnknownSymbol, says why there are none.
        """
        if self.facts.line_ends == "spaces" and ("\n" in text or "\r" in text):
            raise TextError(
                "the model never writes a line feed: its training text has spaces in the place of "
                "line ends; use a stop string without line feeds"
            )
        try:
            found = self._spellings(self._cleaning.clean_part(text))
        except UnknownSymbol as error:
            offset = self._cleaning.original_offset(text, error.offset, beginning=False)
            raise UnknownSymbol(error.symbol, offset, error.others) from None
        sequences = dict.fromkeys(tuple(tokens.tolist()) for tokens in found if len(tokens))
        if not sequences:
            raise TextError(f"the stop string {text!r} has no symbol that the model writes")
        return tuple(sequences)

    def _spellings(self, text: str) -> list[Tokens]:
        """Return the tokens that spell a clean text; UnknownSymbol if there are none."""
        return [self._tokens_of(text, Unknown.REJECT)]

    def text(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return tokens as text, and the number of tokens at their end that are not in it yet."""
        return "".join([self.symbol(token) for token in tokens]), 0

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The tokens of words, or of the characters in words."""
        symbols = ((token, self.symbol(token)) for token in range(len(self)))
        return frozenset(t for t, symbol in symbols if all(map(in_word, symbol)))

    @cached_property
    def between_words(self) -> frozenset[int]:
        """The tokens that are not in `in_words`."""
        return frozenset(range(len(self))) - self.in_words

    @cached_property
    def line_feeds(self) -> frozenset[int]:
        """The tokens that hold a line feed."""
        return frozenset(t for t in range(len(self)) if "\n" in self.symbol(t))

    @property
    def word_end(self) -> tuple[frozenset[int], frozenset[int] | None]:
        """The tokens that end a word, and those they must follow; None: they may follow any."""
        return self.between_words, self.in_words


def unknown_symbol(symbols: Sequence[tuple[int, str]]) -> UnknownSymbol:
    """Return the error for unknown symbols and their offsets, of which there is one at least."""
    offset, first = symbols[0]
    others = dict.fromkeys(symbol for _, symbol in symbols if symbol != first)
    return UnknownSymbol(first, offset, tuple(others)[:_MAX_OTHERS])
