"""The vocabulary of a model that reads and writes words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain

import numpy as np

from cellwire.model_file.errors import UnknownSymbol
from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.names import Names
from cellwire.model_file.text_end import MAX_REREAD_CHARS, TextEnd
from cellwire.model_file.vocabulary import Tokens, Unknown, Vocabulary, unknown_symbol
from cellwire.model_file.words import (
    all_pieces,
    closes,
    in_word,
    pieces,
    pieces_with_blanks,
    settled_places,
)

_BLANK = " "


class Words(Vocabulary):
    """Words, and what is between them.

    Without a separator, symbols join to texts as they are. A blank belongs to the piece after it if
    there is a symbol that begins with one, and is a symbol by itself otherwise. With a separator,
    white space has no symbols, unless the vocabulary holds some.
    """

    def __init__(self, facts: VocabularyFacts) -> None:
        super().__init__(facts)
        self._lengths = sorted({len(symbol) for symbol in self._spelled}, reverse=True)
        self._joins_blanks = not facts.separator and any(map(_begins_with_blank, facts.symbols))
        self._has_spaces = not facts.separator or any(map(str.isspace, facts.symbols))
        self._pieces_of_names = self._by_pieces()
        names = ("".join(name) for found in self._pieces_of_names.values() for name in found)
        self._names = Names(list(names))

    @cached_property
    def rereads(self) -> bool:
        """Whether what follows a text can change the tokens at its end: a word may go on."""
        return True

    def waiting_blank(self, end: TextEnd) -> bool:
        """Whether the text ends with a blank that is read with the word after it."""
        return self._joins_blanks and self.clean(end.text, beginning=end.beginning).endswith(_BLANK)

    def _tokens_of(self, text: str, unknown: Unknown) -> Tokens:
        found = self._cut(text)
        if self._names.appear_in(text):
            found = self._with_names(found)
        tokens = list(map(self._spelled.get, found))
        if None not in tokens:
            return np.array(tokens, np.uint32)
        missing = {piece for piece, token in zip(found, tokens, strict=True) if token is None}
        parts = {piece: self._parts(piece, unknown) for piece in missing}
        if unknown is Unknown.REJECT and None in parts.values():
            strange = {piece for piece, known in parts.items() if known is None}
            raise unknown_symbol(list(self._strange(text, found, strange)))
        known = [
            (token,) if token is not None else parts[piece] or ()
            for piece, token in zip(found, tokens, strict=True)
        ]
        return np.fromiter(chain.from_iterable(known), np.uint32)

    def _cut(self, text: str) -> list[str]:
        """Cut a text into what can be symbols; a blank at its end is left out."""
        if not self._joins_blanks:
            return all_pieces(text) if self._has_spaces else pieces(text)
        found = pieces_with_blanks(text)
        if found and found[-1] == _BLANK:
            found.pop()
        return found

    def _strange(
        self, text: str, found: Sequence[str], strange: set[str]
    ) -> Iterator[tuple[int, str]]:
        """Yield the first offset of each unknown piece of a text that was cut into `found`."""
        left, end = set(strange), 0
        for piece in found:
            start = text.index(piece, end)
            end = start + len(piece)
            if piece in left:
                left.remove(piece)
                word = piece.removeprefix(_BLANK) or piece
                yield end - len(word), word
            if not left:
                return

    def _parts(self, piece: str, unknown: Unknown) -> tuple[int, ...] | None:
        """Return what a piece that is no symbol is read as; None if it is unknown."""
        separator = self.facts.separator
        if separator and (piece.isspace() or piece == separator):
            return ()
        if self._joins_blanks and piece[0] == _BLANK:
            blank, word = self._spelled.get(_BLANK), self._spelled.get(piece[1:])
            if word is not None and word == self.unknown_token:
                return (word,)
            if blank is not None and word is not None:
                return blank, word
        if unknown is Unknown.REPLACE and self.unknown_token is not None:
            return (self.unknown_token,)
        return self._spelling(piece)

    def _spelling(self, piece: str) -> tuple[int, ...] | None:
        """Return the fewest symbols that spell a piece; None if none do.

        The model may write words without a blank between them, and its own text can be read.
        """
        if len(piece) > MAX_REREAD_CHARS:
            return None
        best: list[tuple[int, ...] | None] = [None] * len(piece) + [()]
        for start in reversed(range(len(piece))):
            if self.facts.separator and piece.startswith(self.facts.separator, start):
                best[start] = best[start + len(self.facts.separator)]
            for length in self._lengths:
                rest = best[start + length] if start + length <= len(piece) else None
                token = self._spelled.get(piece[start : start + length])
                shortest = best[start]
                if token is None or rest is None:
                    continue
                if shortest is None or len(rest) + 1 < len(shortest):
                    best[start] = (token, *rest)
        return best[0]

    def _by_pieces(self) -> dict[str, list[tuple[str, ...]]]:
        """Return the symbols that are cut into several pieces, by their first, longest first."""
        names: dict[str, list[tuple[str, ...]]] = {}
        several = [s for s in self._spelled if not _is_plain(s) and len(self._cut(s)) > 1]
        for name in (*several, *(_BLANK + symbol for symbol in several if self._joins_blanks)):
            cut = tuple(self._cut(name))
            if "".join(cut) == name:
                names.setdefault(cut[0], []).append(cut)
        for found in names.values():
            found.sort(key=len, reverse=True)
        return names

    def _groups(self, found: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield where names, and the other pieces, begin and end among pieces."""
        start = 0
        while start < len(found):
            end = start + 1
            for name in self._pieces_of_names.get(found[start], ()):
                if tuple(found[start : start + len(name)]) == name:
                    end = start + len(name)
                    break
            yield start, end
            start = end

    def _with_names(self, found: Sequence[str]) -> list[str]:
        """Return pieces with those that spell a name as one."""
        return ["".join(found[start:end]) for start, end in self._groups(found)]

    def _settled_places(self, text: str) -> Sequence[int]:
        places = settled_places(text)
        last = min(self._names.unfinished(text), default=len(text))
        named = self._names.spans(text, overlapped=True) if self._names.appear_in(text) else ()
        inside = {place for start, end in named for place in range(start + 1, end)}
        return [place for place in places if place <= last and place not in inside]

    def _spellings(self, text: str) -> list[Tokens]:
        """Return the tokens of a text, as a blank before it or none changes them."""
        texts = [text]
        if self._joins_blanks and not text.startswith(_BLANK):
            texts.append(_BLANK + text)
        found, errors = [], []
        for spelling in texts:
            try:
                found.append(self._tokens_of(spelling, Unknown.REJECT))
            except UnknownSymbol as error:
                errors.append(error)
        if errors and not found:
            raise errors[0]
        return found

    @cached_property
    def _joined(self) -> tuple[str, ...]:
        """The symbols as they join to a text."""
        separator = self.facts.separator
        return tuple(
            symbol if not separator or symbol.isspace() or closes(symbol) else separator + symbol
            for symbol in self.facts.symbols
        )

    def symbol(self, token: int) -> str:
        """Return a token's symbol, as it joins to a text."""
        return self._joined[token]

    def text(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return tokens as text, and 0: all of them are in it."""
        joined = self._joined
        return "".join([joined[token] for token in tokens]), 0

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The tokens that are words, by their first character, and the unknown symbol's."""
        symbols = enumerate(self.facts.symbols)
        words = (t for t, symbol in symbols if in_word(symbol.removeprefix(_BLANK)[:1]))
        unknown = () if self.unknown_token is None else (self.unknown_token,)
        return frozenset((*words, *unknown))

    @property
    def word_end(self) -> tuple[frozenset[int], frozenset[int] | None]:
        """The tokens that end a word: each is a whole one."""
        return self.in_words, None


def _begins_with_blank(symbol: str) -> bool:
    return len(symbol) > 1 and symbol[0] == _BLANK and not symbol[1].isspace()


def _is_plain(symbol: str) -> bool:
    """Whether a symbol is a word of plain letters, with a blank before it or without."""
    return symbol.isascii() and symbol.removeprefix(_BLANK).isalpha()
