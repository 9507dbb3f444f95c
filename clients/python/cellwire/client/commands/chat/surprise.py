"""How surprising each part of a text was to the model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import regex

from cellwire.client.commands.chat.graphemes import graphemes
from cellwire.client.commands.chat.known import Known
from cellwire.client.commands.chat.mirror import common_length

LEVEL_BITS = (1, 3, 6, 10)
"""Where each level of surprise after the first begins, in bits."""

_WORDS_WITH_BLANKS = regex.compile(r"(?w) ?\w+(?:['\u2019]\w+)*| ?[^\w\s]|\s")
_WORDS = regex.compile(r"(?w)\w+(?:['\u2019]\w+)*|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a text, and its log-probability in nats."""

    text: str
    log_probability: float


class Surprise:
    """The log-probabilities of a text from its start on, as far as they are known."""

    def __init__(self) -> None:
        self._text = ""
        self._levels: list[int] = []

    def known_length(self, text: str) -> int:
        """Return up to which place of a text the surprise is known."""
        return common_length(self._text, text)

    def add(self, before: str, parts: Iterable[Part]) -> None:
        """Note the parts that follow a text; nothing if what is before is not known."""
        if self.known_length(before) < len(before):
            return
        del self._levels[len(before) :]
        self._text = before
        for part in parts:
            self._text += part.text
            self._levels += [level_of(part.log_probability)] * len(part.text)

    def levels(self, text: str) -> Sequence[int]:
        """Return the level of each code point of a text, as far as it is known."""
        return self._levels[: self.known_length(text)]


def level_of(log_probability: float) -> int:
    """Return 0 for what was expected, or is not known (NaN), to 4 for what was not at all."""
    bits = -log_probability / math.log(2)
    return sum(bits >= limit for limit in LEVEL_BITS)


def parts_of(text: str, log_probabilities: Sequence[float], known: Known) -> list[Part]:
    """Return the parts of a text that its tokens stand for.

    The contract gives a text's tokens no boundaries. They are those of characters, bytes or words,
    whichever make as many; if none do, the text is one part with the mean of its tokens.
    """
    for parts, counts in _ways(text, known):
        if sum(counts) == len(log_probabilities):
            return _joined(parts, counts, log_probabilities)
    mean = sum(log_probabilities) / len(log_probabilities) if log_probabilities else 0.0
    return [Part(text, mean)]


def _ways(text: str, known: Known) -> Iterable[tuple[list[str], list[int]]]:
    characters = list(text)
    yield characters, [1] * len(characters)
    yield characters, [len(character.encode()) for character in characters]
    whole = graphemes(text)
    yield whole, [len(one) if known.knows(one) else 0 for one in whole]
    yield whole, [1 if known.knows(one) else 0 for one in whole]
    for pattern in (_WORDS_WITH_BLANKS, _WORDS):
        ends = [match.end() for match in pattern.finditer(text)]
        if ends:
            ends[-1] = len(text)
            starts = [0, *ends]
            yield (
                [text[a:b] for a, b in zip(starts, ends, strict=False)],
                [1] * len(ends),
            )


def _joined(
    parts: Sequence[str], counts: Sequence[int], log_probabilities: Sequence[float]
) -> list[Part]:
    joined: list[Part] = []
    read = 0
    for part, count in zip(parts, counts, strict=True):
        joined.append(Part(part, sum(log_probabilities[read : read + count])))
        read += count
    return joined
