"""A dataset: vocabulary, labels, and the training and validation parts of a file."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.exporter.data.corpus import Corpus, Split
from cellwire.exporter.data.labelled import Examples, LabelledSplit
from cellwire.exporter.data.vocabulary import (
    Tokens,
    character_vocabulary,
    encode,
    word_vocabulary,
)
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data
from cellwire.model_file.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A text as tokens `[n]`, or labelled texts, in two parts."""

    vocabulary: Vocabulary
    labels: tuple[str, ...]  # empty for a text
    train: Tokens | Examples
    validation: Tokens | Examples  # empty if nothing is held out

    @classmethod
    def of(cls, corpus: Corpus, data: Data) -> Dataset:
        """Prepare a file as a recipe says; CorpusError if it cannot be trained on."""
        if data.kind == "labelled":
            labelled = LabelledSplit.of(corpus, data)
            return cls(labelled.vocabulary, labelled.labels, labelled.train, labelled.validation)
        text = corpus.select(data)
        vocabulary = _vocabulary(text, data)
        if len(vocabulary) <= 1:
            raise CorpusError(f"{corpus.name}: fewer than two different symbols are left of it")
        tokens = encode(vocabulary, text)
        split = Split.of(tokens, data.validation_fraction, data.last_tokens)
        return cls(vocabulary, (), split.train, split.validation)

    @property
    def train_tokens(self) -> int:
        """The number of tokens in the training part."""
        return self.train.token_count if isinstance(self.train, Examples) else len(self.train)


def _vocabulary(text: str, data: Data) -> Vocabulary:
    if data.symbols == "words":
        return word_vocabulary([text], data.vocabulary, lower_case=data.lower_case)
    return character_vocabulary(text, lower_case=data.lower_case)
