"""What a recipe makes of a file: symbols, labels, and what is learnt from and held out."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.exporter.data.corpus import Corpus, Split
from cellwire.exporter.data.labelled import Examples, LabelledSplit
from cellwire.exporter.data.vocabulary import Characters, Ids, Vocabulary, Words
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A text `[symbols]`, or labelled texts, in two parts."""

    vocabulary: Vocabulary
    labels: tuple[str, ...]  # none of a text
    train: Ids | Examples
    validation: Ids | Examples  # empty if nothing is held out

    @classmethod
    def of(cls, corpus: Corpus, data: Data) -> Dataset:
        """Prepare a file; CorpusError when it cannot be learnt from."""
        if data.kind == "labelled":
            labelled = LabelledSplit.of(corpus, data)
            return cls(labelled.vocabulary, labelled.labels, labelled.train, labelled.validation)
        text = corpus.prepared(data)
        vocabulary = _vocabulary(text, data)
        if len(vocabulary) <= 1:
            raise CorpusError(f"{corpus.name}: fewer than two different symbols are left of it")
        split = Split.of(vocabulary.encode(text), data.validation_share, data.last_chars)
        return cls(vocabulary, (), split.train, split.validation)

    @property
    def symbols(self) -> int:
        """How many symbols are learnt from."""
        return self.train.symbols if isinstance(self.train, Examples) else len(self.train)


def _vocabulary(text: str, data: Data) -> Vocabulary:
    if data.symbols == "words":
        return Words.of([text], data.vocabulary, lower_case=data.lower_case)
    return Characters.of(text, lower_case=data.lower_case)
