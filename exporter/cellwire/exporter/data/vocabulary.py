"""The symbols a model knows, in the order of their ids: characters, or words."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from cellwire.exporter.errors import CorpusError

Ids = npt.NDArray[np.int64]

UNKNOWN = "<unk>"  # no text has it as a word: it would be cut at its brackets

_IN_WORDS = "LMN"  # Unicode's letters, marks and numbers
_ALSO_IN_WORDS = "_'\u2019"
_HIGH = 0x10000


@dataclass(frozen=True)
class Vocabulary:
    """Symbols; the id of each is its place in `symbols`."""

    symbols: tuple[str, ...]
    lower_case: bool = False  # whether texts are lower-cased first

    kind: ClassVar[Literal["characters", "words"]]
    separator: ClassVar[str]  # what comes before each symbol in a text
    unknown: ClassVar[str | None]  # the symbol that stands for all others

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> Ids:
        """Return the ids of `text`, int64 `[n]`; CorpusError names the first unknown symbol."""
        return self._encode(text.lower() if self.lower_case else text)

    def _encode(self, text: str) -> Ids:
        raise NotImplementedError

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`."""
        return "".join(self.separator + self.symbols[int(i)] for i in ids)


class Characters(Vocabulary):
    """Unicode code points."""

    kind = "characters"
    separator = ""
    unknown = None

    @classmethod
    def of(cls, text: str, *, lower_case: bool = False) -> Characters:
        """Every symbol of `text`, in code point order."""
        return cls(tuple(sorted(set(text.lower() if lower_case else text))), lower_case)

    def _encode(self, text: str) -> Ids:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        known, ids = self._by_code
        places = np.searchsorted(known, codes).clip(max=len(known) - 1)
        wrong = np.flatnonzero(known[places] != codes)
        if wrong.size:
            offset = int(wrong[0])
            raise CorpusError(f"unknown symbol {text[offset]!r} at offset {offset}")
        found: Ids = ids[places]
        return found

    @cached_property
    def _by_code(self) -> tuple[npt.NDArray[np.uint32], Ids]:
        """The code points in ascending order, and the id of each."""
        known = np.array([ord(symbol) for symbol in self.symbols], dtype=np.uint32)
        order = np.argsort(known)
        return known[order], order.astype(np.int64)


class Words(Vocabulary):
    """The most frequent words, and single characters between them; the rest is unknown."""

    kind = "words"
    separator = " "
    unknown = UNKNOWN

    @classmethod
    def of(cls, texts: Iterable[str], most: int, *, lower_case: bool = False) -> Words:
        """Choose the `most` frequent words of `texts`; the unknown one comes before them.

        Other characters count as words; white space does not count.
        """
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(pieces(text.lower() if lower_case else text))
        frequent = sorted(counts, key=lambda word: (-counts[word], word))
        return cls((UNKNOWN, *frequent[:most]), lower_case)

    def _encode(self, text: str) -> Ids:
        return np.array([self._ids.get(piece, 0) for piece in pieces(text)], dtype=np.int64)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: i for i, symbol in enumerate(self.symbols)}


def vocabulary_of(kind: str, symbols: Sequence[str], *, lower_case: bool) -> Vocabulary:
    """Return a vocabulary whose symbols are known already."""
    return {"characters": Characters, "words": Words}[kind](tuple(symbols), lower_case)


def pieces(text: str) -> list[str]:
    """Cut a text into words and single other characters, white space left out.

    A word is a run of letters, marks, numbers, underscores and apostrophes: the daemon's rule.
    """
    return _piece().findall(text)


@cache
def _piece() -> re.Pattern[str]:
    """Match a word, or one character that is neither in a word nor white space."""
    inside = [c for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c))[0] in _IN_WORDS]
    # Python looks up quickly only in a class without characters this high; the others are rare.
    low = _ranges(c for c in inside if c < _HIGH) + _ALSO_IN_WORDS
    high = _ranges(c for c in inside if c >= _HIGH)
    return re.compile(rf"(?:[{low}]+|(?=[^\0-\uffff])[{high}]+)+|\S")


def _ranges(codes: Iterable[int]) -> str:
    """Return ascending code points as the ranges of a regular expression's class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)
