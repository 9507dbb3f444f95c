"""The vocabulary that a recipe makes of a text, and its encoding for training.

The vocabulary and the cutting of words are those of model files, so that training and the daemon
read a text the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from cellwire.exporter.errors import CorpusError
from cellwire.model_file.errors import UnknownSymbol
from cellwire.model_file.manifest import VocabularyFacts, VocabularyKind
from cellwire.model_file.vocabulary import Unknown, Vocabulary
from cellwire.model_file.words import pieces

Tokens = npt.NDArray[np.int64]
"""A text as tokens `[n]`, or arrays of them."""

UNKNOWN_SYMBOL = "<unk>"  # never a word of a text: words have no brackets


def character_vocabulary(text: str, *, lower_case: bool = False) -> Vocabulary:
    """Return all characters of a text, in code point order."""
    symbols = sorted(set(text.lower() if lower_case else text))
    return make_vocabulary("characters", symbols, lower_case=lower_case)


def word_vocabulary(texts: Iterable[str], size: int, *, lower_case: bool = False) -> Vocabulary:
    """Return the `size` most frequent words of texts, after the symbol for unknown ones.

    Other characters count as words; white space does not count.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(pieces(text.lower() if lower_case else text))
    by_frequency = sorted(counts, key=lambda word: (-counts[word], word))
    return make_vocabulary("words", [UNKNOWN_SYMBOL, *by_frequency[:size]], lower_case=lower_case)


def make_vocabulary(
    kind: VocabularyKind, symbols: Sequence[str], *, lower_case: bool = False
) -> Vocabulary:
    """Return the vocabulary of given symbols; a token is an index into them."""
    words = kind == "words"
    return Vocabulary.of(
        VocabularyFacts(
            kind,
            tuple(symbols),
            unknown=UNKNOWN_SYMBOL if words else None,
            lower_case=lower_case,
            separator=" " if words else "",
        )
    )


def encode(vocabulary: Vocabulary, text: str) -> Tokens:
    """Return a text as tokens `[n]`; CorpusError names the first unknown character."""
    unknown = Unknown.REJECT if vocabulary.unknown_token is None else Unknown.REPLACE
    try:
        return vocabulary.encode(text, unknown).astype(np.int64)
    except UnknownSymbol as error:
        raise CorpusError(f"unknown symbol {error.symbol!r} at offset {error.offset}") from error


def decode(vocabulary: Vocabulary, tokens: Iterable[int]) -> str:
    """Return tokens as text."""
    return vocabulary.text([int(token) for token in tokens])[0]
