"""The reading of a text for training: with the code of model files, which serving reads with.

A large text is read in blocks that begin where reading starts anew, so that what is in memory is a
small multiple of the file, and the blocks' tokens are those of the whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from cellwire.exporter.data.corpus import Corpus, train_length
from cellwire.exporter.data.text_notes import NormalForm
from cellwire.exporter.data.vocabulary import (
    Tokens,
    WordList,
    facts_for,
    smallest_type,
    unknown_treatment,
    words_by_frequency,
)
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data
from cellwire.model_file.errors import UnknownSymbol
from cellwire.model_file.vocabulary import BEGINNING, SETTLED, Vocabulary
from cellwire.model_file.words import pieces, pieces_with_blanks

_LEAST_SYMBOLS = 2


class Reader:
    """Reads the text or the texts of a file, as a recipe says."""

    def __init__(self, corpus: Corpus, data: Data) -> None:
        self._corpus = corpus
        self._data = data
        self._symbolless = Vocabulary.of(facts_for(data))
        self._cut = pieces if data.kind == "labelled" else pieces_with_blanks
        self._normal_form = NormalForm()

    def clean(self, text: str, *, beginning: bool = True) -> str:
        """Return a text, or a settled block of one, as it is cut into symbols."""
        cleaned = self._symbolless.clean(text, beginning=beginning)
        if not self._data.unicode_form:
            self._normal_form.look_at(cleaned)
        return cleaned

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know about the texts that were cleaned."""
        return self._normal_form.notes()

    def text_vocabulary(self) -> Vocabulary:
        """Return the vocabulary of a text: of its words, only those that are trained on."""
        cleaned = self._cleaned_blocks()
        if self._data.symbols != "words":
            return self._character_vocabulary(cleaned)
        words = WordList()
        for block in cleaned:
            words.extend(self._cut(block))
        tally = words.tally(train_length(len(words), self._data.validation_fraction))
        return self._word_vocabulary(tally)

    def labelled_vocabulary(self, train: Iterable[str], texts: Iterable[str]) -> Vocabulary:
        """Return the vocabulary of labelled texts: of their words, only those trained on."""
        if self._data.symbols != "words":
            return self._character_vocabulary(map(self.clean, texts))
        tally: Counter[str] = Counter()
        for text in train:
            tally.update(self._cut(self.clean(text)))
        return self._word_vocabulary(tally)

    def encode(self, vocabulary: Vocabulary) -> Tokens:
        """Return a text as tokens `[n]`; CorpusError names symbols that are not known."""
        treatment, dtype = unknown_treatment(vocabulary), smallest_type(vocabulary)
        tokens, offset = bytearray(), 0
        for text, settled in self._blocks(vocabulary):
            after = SETTLED if offset else BEGINNING
            try:
                if settled == len(text):
                    read = vocabulary.encode(text, treatment, beginning=after.beginning)
                else:
                    read = vocabulary.read(text, treatment, after).tokens
            except UnknownSymbol as error:
                raise _new_symbols(self._corpus, error, offset) from error
            if settled < len(text):
                # What is not settled is read again, together with the next block.
                rest = vocabulary.read(text[settled:], treatment, SETTLED if settled else after)
                read = read[: len(read) - len(rest.tokens)]
            tokens += read.astype(dtype).tobytes()
            offset += settled
        return np.frombuffer(tokens, dtype)

    def _cleaned_blocks(self) -> Iterator[str]:
        beginning = True
        for text, settled in self._blocks(self._symbolless):
            if settled:
                yield self.clean(text[:settled], beginning=beginning)
                beginning = False

    def _blocks(self, vocabulary: Vocabulary) -> Iterator[tuple[str, int]]:
        """Yield blocks, and how much of each is settled: the next block begins there."""
        rest, beginning = "", True
        for block in self._corpus.blocks(self._data):
            text = rest + block
            settled = vocabulary.settled_length(text, beginning=beginning)
            yield text, settled
            beginning = beginning and not settled
            rest = text[settled:]
        if rest:
            yield rest, len(rest)

    def _character_vocabulary(self, cleaned: Iterable[str]) -> Vocabulary:
        symbols: set[str] = set()
        for text in cleaned:
            symbols.update(text)
        if len(symbols) < _LEAST_SYMBOLS:
            there = f"only {symbols.pop()!r} in it" if symbols else "none: it is empty"
            raise CorpusError(
                f"{self._corpus.path}: training needs at least two different symbols, and the "
                f"text has {there}"
            )
        names = () if self._data.symbols == "bytes" else sorted(symbols)
        return Vocabulary.of(facts_for(self._data, names))

    def _word_vocabulary(self, tally: Counter[str]) -> Vocabulary:
        words = words_by_frequency(tally, self._data.vocabulary)
        if len(words) == 1:
            raise CorpusError(
                f"{self._corpus.path}: no word comes twice in the part to train on; give more "
                "text, or train on characters with --set data.symbols=characters"
            )
        return Vocabulary.of(facts_for(self._data, words))


def _new_symbols(corpus: Corpus, error: UnknownSymbol, offset: int) -> CorpusError:
    symbols = ", ".join(map(repr, (error.symbol, *error.others)))
    return CorpusError(
        f"{corpus.path}: the run to start from does not know {symbols} (first at character "
        f"{offset + error.offset:,}). Remove or replace what is new, or train without "
        "--start-from; a run with data.symbols = bytes knows every symbol"
    )
