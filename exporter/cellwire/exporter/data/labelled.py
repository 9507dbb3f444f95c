"""Labelled texts: a CSV file with the columns text, label and, optionally, source."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.vocabulary import (
    Tokens,
    character_vocabulary,
    encode,
    word_vocabulary,
)
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data
from cellwire.model_file.vocabulary import Vocabulary

_LINE_BREAK = re.compile(r"<br\s*/?>")
_SHUFFLE_SEED = 0  # of no recipe, so that all of them hold out the same texts


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text and its label."""

    text: str
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled texts as tokens."""

    texts: tuple[Tokens, ...]  # each [length], never empty
    labels: Tokens  # [texts], as indices

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def token_count(self) -> int:
        """The number of tokens in all texts."""
        return sum(map(len, self.texts))


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSplit:
    """Labelled texts, some of which are held out for validation."""

    vocabulary: Vocabulary
    labels: tuple[str, ...]
    train: Examples
    validation: Examples

    @classmethod
    def of(cls, corpus: Corpus, data: Data) -> LabelledSplit:
        """Read, clean, shuffle and split a CSV file, in the same order every time.

        CorpusError if it is not a CSV file of labelled texts, or has too few texts or labels.
        """
        rows = _shuffle(read_labelled(corpus, data.source))
        labels = tuple(sorted({row.label for row in rows}))
        cut = len(rows) - round(len(rows) * data.validation_fraction)
        if len(labels) <= 1 or not 0 < cut < len(rows):
            raise CorpusError(
                f"{corpus.name}: {len(rows)} texts of {len(labels)} labels; there must be two "
                "labels, and texts both to train on and to hold out"
            )
        vocabulary = _vocabulary(rows, rows[:cut], data)
        parts = (_examples(part, vocabulary, labels, data) for part in (rows[:cut], rows[cut:]))
        return cls(vocabulary, labels, *parts)


def read_labelled(corpus: Corpus, source: str | None = None) -> list[LabelledText]:
    """Return a CSV file's texts without duplicates, in its order; if given, of one source only.

    HTML line breaks become spaces, and HTML entities characters. CorpusError names the line at
    fault.
    """
    reader = csv.DictReader(io.StringIO(corpus.text), strict=True)
    required = {"text", "label"} | ({"source"} if source else set())
    if missing := required - set(reader.fieldnames or ()):
        raise CorpusError(
            f"{corpus.name}: no column {min(missing)!r}; labelled texts are a CSV file that begins "
            "with the line text,label or text,label,source"
        )
    labels: dict[str, str] = {}  # by text; the first label of a text counts
    try:
        for row in _rows(reader, corpus.name):
            text = html.unescape(_LINE_BREAK.sub(" ", row["text"])).strip()
            if text and (source is None or row["source"] == source):
                labels.setdefault(text, row["label"].strip())
    except csv.Error as error:
        raise CorpusError(f"{corpus.name}, line {reader.line_num}: {error}") from error
    return [LabelledText(text, label) for text, label in labels.items()]


def _rows(reader: csv.DictReader[str], name: str) -> Iterator[dict[str, str]]:
    """Yield the rows; CorpusError if one has no text or no label."""
    for row in reader:
        if row["text"] is None or row["label"] is None:
            raise CorpusError(f"{name}, line {reader.line_num}: too few columns")
        yield row


def _shuffle(rows: list[LabelledText]) -> list[LabelledText]:
    return [rows[i] for i in np.random.default_rng(_SHUFFLE_SEED).permutation(len(rows))]


def _vocabulary(rows: list[LabelledText], train: list[LabelledText], data: Data) -> Vocabulary:
    """Choose words by the training part only; characters must all be known."""
    if data.symbols == "words":
        texts = (row.text for row in train)
        return word_vocabulary(texts, data.vocabulary, lower_case=data.lower_case)
    return character_vocabulary("".join(row.text for row in rows), lower_case=data.lower_case)


def _examples(
    rows: list[LabelledText], vocabulary: Vocabulary, labels: tuple[str, ...], data: Data
) -> Examples:
    label_indices = {label: index for index, label in enumerate(labels)}
    last = slice(-data.length, None)  # a length of 0 is the whole text
    texts = tuple(encode(vocabulary, row.text)[last] for row in rows)
    return Examples(texts, np.array([label_indices[row.label] for row in rows], dtype=np.int64))
