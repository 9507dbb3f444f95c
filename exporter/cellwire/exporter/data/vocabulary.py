"""The vocabulary that a recipe makes of a text, and its encoding for training.

What is done to a text, and how it is cut, is written in the model file and carried out by its
code, so that training and the daemon read a text the same way.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data
from cellwire.model_file.errors import UnknownSymbol
from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import Unknown, Vocabulary

Tokens = npt.NDArray[np.integer[Any]]
"""A text as tokens `[n]`, or arrays of them; of the smallest type that holds the vocabulary."""

UNKNOWN_SYMBOL = "<unk>"
_PART_TOKENS = 1 << 18
_LEAST_COUNT = 2  # of a word: those that come once stand for all that are unknown


def facts_for(
    data: Data, symbols: Sequence[str] = (), separator: str | None = None
) -> VocabularyFacts:
    """Return what a recipe does to a text, for given symbols; a token is an index into them."""
    words, labelled = data.symbols == "words", data.kind == "labelled"
    if separator is None:
        separator = " " if labelled else ""
    return VocabularyFacts(
        data.symbols,
        tuple(symbols),
        unknown=UNKNOWN_SYMBOL if words else None,
        lower_case=data.lower_case,
        unicode_form=data.unicode_form,
        separator=separator if words else "",
        byte_order_mark="dropped",
        html=data.reads_html,
        line_ends="spaces" if data.newlines == "spaces" else "line_feeds",
        trim=labelled,
    )


def words_by_frequency(tally: Counter[str], size: int) -> list[str]:
    """Return the symbol for unknown words, and the `size` most frequent words."""
    often = (word for word, count in tally.items() if count >= _LEAST_COUNT)
    words = sorted(often, key=lambda word: (-tally[word], word))[:size]
    return [UNKNOWN_SYMBOL, *words]


class WordList:
    """The words of a text in their order, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._text = array("I")

    def extend(self, words: Iterable[str]) -> None:
        """Append the words of the next part of the text."""
        numbers = self._numbers
        self._text.extend([numbers.setdefault(word, len(numbers)) for word in words])

    def __len__(self) -> int:
        return len(self._text)

    def tally(self, first: int) -> Counter[str]:
        """Count the `first` words of the text."""
        counts = count_tokens(np.frombuffer(self._text, np.uint32)[:first], len(self._numbers))
        return Counter(dict(zip(self._numbers, counts.tolist(), strict=True)))


def count_tokens(tokens: Tokens, size: int) -> npt.NDArray[np.int64]:
    """Return how often each of `size` tokens comes, `[size]`; in parts, as NumPy widens them."""
    counts = np.zeros(size, np.int64)
    for start in range(0, len(tokens), _PART_TOKENS):
        counts += np.bincount(tokens[start : start + _PART_TOKENS], minlength=size)
    return counts


def smallest_type(vocabulary: Vocabulary) -> np.dtype[Any]:
    """Return the smallest type of unsigned integers that holds all tokens."""
    return np.min_scalar_type(len(vocabulary) - 1)


def unknown_treatment(vocabulary: Vocabulary) -> Unknown:
    """Return how training reads unknown symbols: as the symbol for them, if there is one."""
    return Unknown.REJECT if vocabulary.unknown_token is None else Unknown.REPLACE


def encode(vocabulary: Vocabulary, text: str) -> Tokens:
    """Return a whole text as tokens `[n]`; CorpusError names the first unknown symbol."""
    try:
        tokens = vocabulary.encode(text, unknown_treatment(vocabulary))
    except UnknownSymbol as error:
        raise CorpusError(f"unknown symbol {error.symbol!r} at offset {error.offset}") from error
    return tokens.astype(smallest_type(vocabulary))


def decode(vocabulary: Vocabulary, tokens: Iterable[int]) -> str:
    """Return tokens as text."""
    return vocabulary.text([int(token) for token in tokens])[0]
