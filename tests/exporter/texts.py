"""Files in memory, and vocabularies, for tests of data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.vocabulary import facts_for
from cellwire.exporter.recipe.data import Data
from cellwire.model_file.vocabulary import Vocabulary


def corpus_of(text: str | bytes, name: str = "text.txt") -> Corpus:
    raw = text if isinstance(text, bytes) else text.encode()
    return Corpus(Path(name), raw, "0" * 64)


def table(rows: Iterable[str], head: str = "text,label", end: str = "\n") -> Corpus:
    lines = [head, *rows] if head else list(rows)
    return corpus_of(end.join(lines) + end, "reviews.csv")


def vocabulary(symbols: Sequence[str], data: Data | None = None) -> Vocabulary:
    return Vocabulary.of(facts_for(data or Data(), symbols))
