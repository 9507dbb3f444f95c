"""The beginnings of a vocabulary's symbols: what an unfinished text may still become."""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from typing import Literal

from cellwire.model_file.manifest import VocabularyFacts

_BLANK = " "
_FORMS: dict[str, Literal["NFD", "NFKD"]] = {
    "NFC": "NFD",
    "NFD": "NFD",
    "NFKC": "NFKD",
    "NFKD": "NFKD",
}


class Beginnings:
    """The symbols of a vocabulary, by how they begin."""

    def __init__(self, facts: VocabularyFacts, symbols: Iterable[str]) -> None:
        self._form = _FORMS.get(facts.unicode_form)
        self._lower_case = facts.lower_case
        self._symbols = {self._taken_apart(symbol.removeprefix(_BLANK)) for symbol in symbols}
        self._symbols.discard("")
        self._sorted = sorted(self._symbols)
        self._lengths = sorted({len(symbol) for symbol in self._symbols})

    def lead_on(self, end: str, place: int) -> bool:
        """Whether the end of a clean text may become symbols, from `place` on or from before it.

        It may if it consists of whole symbols, and then of the beginning of another one.
        """
        before, rest = self._taken_apart(end[:place]), self._taken_apart(end[place:])
        text, starts = before + rest, set(range(len(before) + 1))
        for start in range(len(text)):
            if start not in starts:
                continue
            if self._begins_one(text[start:]):
                return True
            starts |= {start + n for n in self._lengths if text[start : start + n] in self._symbols}
        return False

    def _begins_one(self, text: str) -> bool:
        place = bisect_left(self._sorted, text)
        return place < len(self._sorted) and self._sorted[place].startswith(text)

    def _taken_apart(self, text: str) -> str:
        """Return a text such that what is joined by a continuation begins as it does."""
        if self._form is not None:
            text = unicodedata.normalize(self._form, text)
        # A sigma is a final one only until a letter follows.
        return text.replace("\u03c2", "\u03c3") if self._lower_case else text
