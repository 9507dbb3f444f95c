"""Where a model's reading of a text can be cut, and the pieces that a text is sent in."""

from __future__ import annotations

from dataclasses import dataclass

import regex

from cellwire.client.commands.chat.graphemes import is_boundary
from cellwire.client.model import Vocabulary

_IDEOGRAPH = regex.compile(r"\p{Ideographic}")
_TAIL_CHARACTERS = 2_048
"""The end of a text is sent in small pieces: a session can be rewound to the ends of pieces."""
_SMALL_PIECE = 64
_LARGE_PIECE = 16_384


@dataclass(frozen=True, slots=True)
class Reading:
    """How a model reads a text.

    Many models read the end of a text again with what is added: a word goes on, a letter gets its
    accent. Their texts are cut before white space only.
    """

    by_words: bool

    def may_cut(self, text: str, place: int) -> bool:
        """Whether what follows a place is read without regard to what is before it."""
        if place == 0:
            return True
        if not is_boundary(text, place):
            return False
        return not self.by_words or _between_words(text, place)

    def next_piece(self, text: str) -> str:
        """Return the beginning of a text that is to be appended, cut where it may be cut."""
        if len(text) > _TAIL_CHARACTERS + _SMALL_PIECE:
            return self._cut(text, min(_LARGE_PIECE, len(text) - _TAIL_CHARACTERS))
        return text if len(text) <= _SMALL_PIECE else self._cut(text, _SMALL_PIECE)

    def _cut(self, text: str, at_most: int) -> str:
        for place in range(at_most, at_most // 2, -1):
            if _between_words(text, place) and is_boundary(text, place):
                return text[:place]
        place = at_most
        while not is_boundary(text, place) and place > at_most // 2:
            place -= 1
        return text[:place]


def reading_of(vocabulary: Vocabulary) -> Reading:
    """Return how a model of a vocabulary reads."""
    return Reading(vocabulary.rereads or vocabulary.kind not in {"characters", "bytes"})


def _between_words(text: str, place: int) -> bool:
    if place == len(text):
        return False  # a word may go on
    before, after = text[place - 1], text[place]
    if after.isspace():
        return not before.isspace()
    return bool(_IDEOGRAPH.match(before) and _IDEOGRAPH.match(after))
