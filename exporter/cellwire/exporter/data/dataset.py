"""A dataset: vocabulary, labels, and the training and validation parts of a file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellwire.exporter.data.corpus import Corpus, Split
from cellwire.exporter.data.known import Known
from cellwire.exporter.data.labelled import Examples, LabelledSplit
from cellwire.exporter.data.reading import Reader
from cellwire.exporter.data.text_notes import unknown_notes
from cellwire.exporter.data.vocabulary import Tokens, count_tokens
from cellwire.exporter.recipe.data import Data
from cellwire.model_file.vocabulary import Vocabulary

_TOP_BITS, _CONTINUATION = 0xC0, 0x80  # of a byte of UTF-8 that continues a character


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A text as tokens `[n]`, or labelled texts, in two parts."""

    vocabulary: Vocabulary
    labels: tuple[str, ...]  # empty for a text
    train: Tokens | Examples
    validation: Tokens | Examples  # empty if nothing is held out
    notes: tuple[str, ...] = ()  # lines for the user, before training

    @classmethod
    def of(cls, corpus: Corpus, data: Data, known: Known | None = None) -> Dataset:
        """Prepare a file as a recipe says; CorpusError if it cannot be trained on.

        What is `known` is not chosen by the file: the run to start from, or to resume, has it.
        """
        notes = corpus.notes(data)
        if data.kind == "labelled":
            labelled = LabelledSplit.of(corpus, data, known)
            notes += labelled.notes
            parts = labelled.train, labelled.validation
            return cls(labelled.vocabulary, labelled.labels, *parts, notes)
        reader = Reader(corpus, data)
        vocabulary = known.vocabulary if known else reader.text_vocabulary()
        tokens = reader.encode(vocabulary)
        split = Split.of(tokens, data.validation_fraction, data.last_tokens)
        notes += (*reader.notes(), *unknown_notes(vocabulary, split.train, split.validation))
        return cls(vocabulary, (), split.train, split.validation, notes)

    @property
    def train_tokens(self) -> int:
        """The number of tokens in the training part."""
        return self.train.token_count if isinstance(self.train, Examples) else len(self.train)

    @property
    def answer_counts(self) -> npt.NDArray[np.int64]:
        """How often each symbol or label is an answer in the training part, `[symbols]`."""
        if isinstance(self.train, Examples):
            return count_tokens(self.train.labels, len(self.labels))
        return count_tokens(self.train, len(self.vocabulary))

    @property
    def characters_per_token(self) -> float | None:
        """Of what is held out, or else of the training part; None for words and labelled texts."""
        if self.labels or self.vocabulary.facts.kind == "words":
            return None
        tokens = self.validation if len(self.validation) else self.train
        if self.vocabulary.facts.kind == "characters" or isinstance(tokens, Examples):
            return 1.0
        return 1 - float(((tokens & _TOP_BITS) == _CONTINUATION).mean())
