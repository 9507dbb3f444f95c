from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.exporter.texts import table
from tests.exporter.trainings import reviews

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.labelled import LabelledSplit, _held_out_counts
from cellwire.exporter.data.vocabulary import decode
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data

WORDS = Data(kind="labelled", symbols="words", lower_case=True, validation_fraction=0.2)


@pytest.mark.parametrize("rows", [(), ("good,1", "fine,1"), ("good,1", "bad,0")])
def test_too_few_texts_or_labels_are_refused(rows: tuple[str, ...]) -> None:
    with pytest.raises(CorpusError, match="at least two labels, and one with a text to hold out"):
        LabelledSplit.of(table(rows), WORDS)


def test_the_split_is_the_same_every_time_and_mixes_the_labels(tmp_path: Path) -> None:
    corpus = Corpus.read(reviews(tmp_path / "reviews.csv", rows=200))
    one, other = (LabelledSplit.of(corpus, WORDS) for _ in range(2))
    assert (len(one.train), len(one.validation)) == (160, 40)
    assert one.validation.labels.tolist() == other.validation.labels.tolist()
    assert one.validation.labels.sum() == 20
    assert one.labels == ("0", "1")


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=2),
    st.floats(0.01, 0.5),
)
def test_each_label_is_trained_on_and_the_fraction_held_out(
    counts: dict[str, int], fraction: float
) -> None:
    held_out = _held_out_counts(counts, fraction)
    assert all(0 <= held_out[label] < counts[label] for label in counts)
    most = sum(counts.values()) - len(counts)
    assert sum(held_out.values()) <= round(sum(counts.values()) * fraction)
    if min(counts.values()) > 1:
        assert sum(held_out.values()) == min(most, round(sum(counts.values()) * fraction))
    assert all(abs(held_out[label] - counts[label] * fraction) <= 1.5 for label in counts)


def test_words_are_those_of_the_training_part_that_come_twice(tmp_path: Path) -> None:
    corpus = Corpus.read(reviews(tmp_path / "reviews.csv"))
    split = LabelledSplit.of(corpus, WORDS)
    symbols = set(split.vocabulary.facts.symbols)
    assert "Good" not in symbols
    assert "good" in symbols
    assert not symbols & {str(row) for row in range(60)}  # each number comes once
    texts = [decode(split.vocabulary, text) for text in split.train.texts]
    assert all("<unk>" in text for text in texts)


@pytest.mark.parametrize("length", [0, 3])
def test_the_last_tokens_are_kept(length: int) -> None:
    texts = ["one two three four,a", "one two,a", "three four,b", "four one,b"] * 5
    corpus = table(f"{'one ' * number}{text}" for number, text in enumerate(texts))
    data = Data(kind="labelled", symbols="words", length=length, validation_fraction=0.4)
    split = LabelledSplit.of(corpus, data)
    lengths = Counter(map(len, (*split.train.texts, *split.validation.texts)))
    assert max(lengths) == (length or 21)
    ends = {decode(split.vocabulary, text)[-4:] for text in split.train.texts}
    assert ends <= {"four", " two", " one"}


def test_labelled_texts_may_be_of_characters_or_bytes() -> None:
    rows = ["ab,x", "bc,y", "abc,x", "cb,y"]
    data = Data(kind="labelled", validation_fraction=0.5)
    split = LabelledSplit.of(table(rows), data)
    assert split.vocabulary.facts.symbols == ("a", "b", "c")
    data = Data(kind="labelled", symbols="bytes", validation_fraction=0.5)
    split = LabelledSplit.of(table(rows), data)
    assert len(split.vocabulary) == 256
    assert split.train.token_count + split.validation.token_count == 9
