"""Labelled texts as tokens, some of each label held out for validation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.known import Known
from cellwire.exporter.data.labelled_rows import LabelledRows, LabelledText
from cellwire.exporter.data.reading import Reader
from cellwire.exporter.data.text_notes import unknown_notes
from cellwire.exporter.data.vocabulary import Tokens, encode
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data
from cellwire.model_file.vocabulary import Vocabulary

_SHUFFLE_SEED = 0  # of no recipe, so that all of them hold out the same texts
_LEAST_LABELS = 2
_MAX_SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Labelled texts as tokens."""

    texts: tuple[Tokens, ...]  # each [length], never empty
    labels: Tokens  # int64 [texts], as indices

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
    notes: tuple[str, ...]  # for the user, before training

    @classmethod
    def of(cls, corpus: Corpus, data: Data, known: Known | None = None) -> LabelledSplit:
        """Read, shuffle and split a file, in the same order every time.

        CorpusError if it is no table of labelled texts, has too few texts or labels, or labels or
        symbols that are not `known`.
        """
        reader = Reader(corpus, data)
        read = LabelledRows.read(corpus, data, reader.clean)
        labels = tuple(sorted({row.label for row in read.rows}))
        if known:
            labels = known.check_labels(labels, corpus)
        train, held_out = _split(read.rows, data.validation_fraction)
        if len(labels) < _LEAST_LABELS or not held_out:
            raise _too_few(corpus, read, labels)
        if known:
            vocabulary = known.vocabulary
        else:
            vocabulary = reader.labelled_vocabulary(_texts(train), _texts(read.rows))
        examples = [_examples(part, vocabulary, labels, data) for part in (train, held_out)]
        notes = (
            *read.notes,
            *_unmeasured(labels, held_out),
            *reader.notes(),
            *unknown_notes(vocabulary, *map(_join, examples)),
        )
        return cls(vocabulary, labels, examples[0], examples[1], notes)


def _too_few(corpus: Corpus, read: LabelledRows, labels: Sequence[str]) -> CorpusError:
    there = ", ".join(map(repr, labels[:_MAX_SHOWN])) or "none"
    return CorpusError(
        f"{corpus.path}: {len(read.rows):,} texts of {len(labels)} labels ({there}); there must "
        f"be at least two labels, and one with a text to hold out. {' '.join(read.notes)}"
    )


def _split(
    rows: Sequence[LabelledText], fraction: float
) -> tuple[list[LabelledText], list[LabelledText]]:
    """Shuffle; hold out the same share of each label, but never its only text."""
    shuffled = [rows[i] for i in np.random.default_rng(_SHUFFLE_SEED).permutation(len(rows))]
    counts: dict[str, int] = defaultdict(int)
    for row in shuffled:
        counts[row.label] += 1
    left = _held_out_counts(counts, fraction)
    train, held_out = [], []
    for row in shuffled:
        if left[row.label]:
            left[row.label] -= 1
            held_out.append(row)
        else:
            train.append(row)
    return train, held_out


def _held_out_counts(counts: dict[str, int], fraction: float) -> dict[str, int]:
    """Return how many texts of each label are held out: in all, the fraction, rounded."""
    held_out = {label: min(int(n * fraction), n - 1) for label, n in counts.items()}
    missing = round(sum(counts.values()) * fraction) - sum(held_out.values())
    by_remainder = sorted(counts, key=lambda label: (-(counts[label] * fraction % 1), label))
    for label in by_remainder:
        if missing > 0 and held_out[label] < counts[label] - 1:
            held_out[label] += 1
            missing -= 1
    return held_out


def _unmeasured(labels: Sequence[str], held_out: Sequence[LabelledText]) -> tuple[str, ...]:
    """Return which labels have too few texts to hold one out."""
    measured = {row.label for row in held_out}
    others = [label for label in labels if label not in measured]
    if not others:
        return ()
    shown = ", ".join(map(repr, others[:_MAX_SHOWN])) + ", ..." * (len(others) > _MAX_SHOWN)
    return (f"No text is held out of {shown}: too few texts, so the accuracy leaves it out.",)


def _examples(
    rows: Sequence[LabelledText], vocabulary: Vocabulary, labels: Sequence[str], data: Data
) -> Examples:
    """Encode texts; those that have no symbol at all are left out."""
    label_indices = {label: index for index, label in enumerate(labels)}
    last = slice(-data.length, None)  # a length of 0 is the whole text
    texts = [encode(vocabulary, row.text)[last] for row in rows]
    indices = np.array([label_indices[row.label] for row in rows], dtype=np.int64)
    return Examples(tuple(texts), indices)


def _join(examples: Examples) -> Tokens:
    return np.concatenate(examples.texts)


def _texts(rows: Iterable[LabelledText]) -> Iterator[str]:
    return (row.text for row in rows)
