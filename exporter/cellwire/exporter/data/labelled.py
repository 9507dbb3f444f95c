"""Labelled texts: a CSV file with the columns text, label and, if it likes, source."""

from __future__ import annotations

import csv
import html
import io
import re
from dataclasses import dataclass

import numpy as np

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.vocabulary import Characters, Ids, Vocabulary, Words
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data

_LINE_BREAK = re.compile(r"<br\s*/?>")
# The same for every recipe, so that all hold out the same texts.
_SEED = 0


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text, and what it is."""

    text: str
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled texts as the network reads them."""

    texts: tuple[Ids, ...]  # each [length], never empty
    labels: Ids  # [texts]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def symbols(self) -> int:
        """How many symbols there are in all texts."""
        return sum(map(len, self.texts))


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSplit:
    """Examples to train on, and those held out."""

    vocabulary: Vocabulary
    labels: tuple[str, ...]
    train: Examples
    validation: Examples

    @classmethod
    def of(cls, corpus: Corpus, data: Data) -> LabelledSplit:
        """Read, clean, shuffle and split a CSV file, the same way every time.

        CorpusError when it is not such a file, or has too few texts or labels.
        """
        rows = _shuffled(read_labelled(corpus, data.source))
        labels = tuple(sorted({row.label for row in rows}))
        cut = len(rows) - round(len(rows) * data.validation_share)
        if len(labels) <= 1 or not 0 < cut < len(rows):
            raise CorpusError(
                f"{corpus.name}: {len(rows)} texts of {len(labels)} labels; there must be two "
                "labels, and texts both to learn from and to hold out"
            )
        vocabulary = _vocabulary(rows, rows[:cut], data)
        parts = (_examples(part, vocabulary, labels, data) for part in (rows[:cut], rows[cut:]))
        return cls(vocabulary, labels, *parts)


def read_labelled(corpus: Corpus, source: str | None = None) -> list[LabelledText]:
    """Return a CSV file's texts, each once, in its order; of one source, unless that is None.

    Line breaks in HTML become spaces, and its entities characters. CorpusError names the line at
    fault.
    """
    reader = csv.DictReader(io.StringIO(corpus.text), strict=True)
    wanted = {"text", "label"} | ({"source"} if source else set())
    if missing := wanted - set(reader.fieldnames or ()):
        raise CorpusError(
            f"{corpus.name}: no column {min(missing)!r}; labelled texts are a CSV file that begins "
            "with the line text,label or text,label,source"
        )
    texts: dict[str, str] = {}
    try:
        for row in reader:
            if row["text"] is None or row["label"] is None:
                raise CorpusError(f"{corpus.name}, line {reader.line_num}: too few columns")
            text = html.unescape(_LINE_BREAK.sub(" ", row["text"])).strip()
            if text and (source is None or row["source"] == source):
                texts.setdefault(text, row["label"].strip())
    except csv.Error as error:
        raise CorpusError(f"{corpus.name}, line {reader.line_num}: {error}") from error
    return [LabelledText(text, label) for text, label in texts.items()]


def _shuffled(rows: list[LabelledText]) -> list[LabelledText]:
    return [rows[i] for i in np.random.default_rng(_SEED).permutation(len(rows))]


def _vocabulary(rows: list[LabelledText], train: list[LabelledText], data: Data) -> Vocabulary:
    """Choose words by what is learnt from only; of characters, there must be all."""
    if data.symbols == "words":
        texts = (row.text for row in train)
        return Words.of(texts, data.vocabulary, lower_case=data.lower_case)
    return Characters.of("".join(row.text for row in rows), lower_case=data.lower_case)


def _examples(
    rows: list[LabelledText], vocabulary: Vocabulary, labels: tuple[str, ...], data: Data
) -> Examples:
    places = {label: place for place, label in enumerate(labels)}
    last = slice(-data.length, None)  # of length 0, all
    texts = tuple(vocabulary.encode(row.text)[last] for row in rows)
    return Examples(texts, np.array([places[row.label] for row in rows], dtype=np.int64))
