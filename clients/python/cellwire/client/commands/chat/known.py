"""Which characters of a text a model knows."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Literal, cast

import regex

from cellwire.client.commands.chat.graphemes import graphemes, word_start
from cellwire.client.model import Model, Vocabulary

_Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
_WORD = regex.compile(r"(?w)\b\p{Alphabetic}.*?\b")
_MOST_NAMED = 8
_HTML = frozenset("&#;<>/")


class Known:
    """The characters or words that a model knows. A model of bytes knows all.

    What it does not know is left out when it reads a text, and stays in the text.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._answers: dict[str, bool] = {}

    def knows(self, grapheme: str) -> bool:
        """Whether the model reads all of a user-perceived character."""
        if not self._symbols:
            return True  # a model of bytes, or one of words, which knows no characters
        if grapheme not in self._answers:
            normalised = _normalised(grapheme, self._model.vocabulary)
            self._answers[grapheme] = self._read.issuperset(normalised)
        return self._answers[grapheme]

    def unknown_in(self, text: str, start: int = 0) -> list[str]:
        """Return the distinct characters or words after a place that the model does not know.

        The last word of a text may still go on, so nothing is said about it.
        """
        if self._words:
            found = dict.fromkeys(self._words_of(text, start))
            return [word for word in found if not self._has_word(word)]
        return [one for one in dict.fromkeys(graphemes(text[start:])) if not self.knows(one)]

    def _words_of(self, text: str, start: int) -> Iterator[str]:
        for word in _WORD.finditer(text, word_start(text, start)):
            if word.end() < len(text):
                yield word[0]

    def _has_word(self, word: str) -> bool:
        return _normalised(word, self._model.vocabulary) in self._words

    @cached_property
    def _words(self) -> frozenset[str]:
        vocabulary = self._model.vocabulary
        symbols = vocabulary.symbols if vocabulary.kind == "words" else ()
        return frozenset(symbol.strip() for symbol in symbols)

    @cached_property
    def _symbols(self) -> frozenset[str]:
        vocabulary = self._model.vocabulary
        return frozenset(vocabulary.symbols if vocabulary.kind == "characters" else ())

    @cached_property
    def _read(self) -> frozenset[str]:
        # Whether an ampersand begins an entity is not for a client to say.
        return self._symbols | _HTML if self._model.vocabulary.reads_html else self._symbols


def notice_of_unknown(unknown: Sequence[str]) -> str:
    """Return what is said about characters that a model does not know."""
    names = [_name(one) for one in unknown[:_MOST_NAMED]]
    more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    return f"unknown to the model, which reads past it: {' '.join(names)}{more}"


def _name(grapheme: str) -> str:
    return grapheme if grapheme.isprintable() else f"U+{ord(grapheme[0]):04X}"


def _normalised(grapheme: str, vocabulary: Vocabulary) -> str:
    if grapheme == "\n" and vocabulary.line_ends == "spaces":
        return " "
    if vocabulary.lower_case:
        grapheme = grapheme.lower()
    if vocabulary.unicode_form:
        return unicodedata.normalize(cast("_Form", vocabulary.unicode_form), grapheme)
    return grapheme
