from __future__ import annotations

from pathlib import Path

import pytest
from tests.exporter.trainings import reviews

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.labelled import LabelledSplit, LabelledText, read_labelled
from cellwire.exporter.data.vocabulary import decode
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data

WORDS = Data(kind="labelled", symbols="words", lower_case=True, validation_fraction=0.2)


def table(*rows: str, header: str = "text,label,source") -> Corpus:
    return Corpus("reviews.csv", "\n".join([header, *rows]), "")


def test_texts_are_cleaned_and_without_duplicates() -> None:
    corpus = table(
        '"Good,<br /><br />""really"" &amp; truly",1,imdb',
        "Bad &lt;3,0,imdb",
        "Bad &lt;3,0,imdb",
        "Bad <3,1,imdb",
        "  ,1,imdb",
        '"two\nlines",0,tomatoes',
    )
    assert read_labelled(corpus) == [
        LabelledText('Good,  "really" & truly', "1"),
        LabelledText("Bad <3", "0"),
        LabelledText("two\nlines", "0"),
    ]
    assert [row.text for row in read_labelled(corpus, "tomatoes")] == ["two\nlines"]


def test_the_column_of_sources_is_optional() -> None:
    corpus = table("good,1", header="text,label")
    assert read_labelled(corpus) == [LabelledText("good", "1")]
    with pytest.raises(CorpusError, match="no column 'source'"):
        read_labelled(corpus, "imdb")


@pytest.mark.parametrize(
    ("corpus", "words"),
    [
        (table("good,1", header="words,label"), "no column 'text'"),
        (Corpus("a.csv", "", ""), "no column 'label'"),
        (table("good,1,x", "bad"), "line 3: too few columns"),
        (table('"good,1,x'), "line 1: unexpected end of data"),
    ],
)
def test_other_files_are_refused(corpus: Corpus, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        read_labelled(corpus)


@pytest.mark.parametrize("rows", [(), ("good,1,x", "fine,1,x"), ("good,1,x", "bad,0,x")])
def test_too_few_texts_or_labels_are_refused(rows: tuple[str, ...]) -> None:
    with pytest.raises(CorpusError, match="there must be two labels"):
        LabelledSplit.of(table(*rows), WORDS)


def test_the_split_is_the_same_every_time_and_mixes_the_labels(tmp_path: Path) -> None:
    corpus = Corpus.read(reviews(tmp_path / "reviews.csv", rows=200))
    one, other = (LabelledSplit.of(corpus, WORDS) for _ in range(2))
    assert (len(one.train), len(one.validation)) == (160, 40)
    assert one.validation.labels.tolist() == other.validation.labels.tolist()
    assert 10 < one.validation.labels.sum() < 30
    assert one.labels == ("0", "1")


def test_words_are_chosen_by_the_training_part(tmp_path: Path) -> None:
    corpus = Corpus.read(reviews(tmp_path / "reviews.csv"))
    split = LabelledSplit.of(corpus, WORDS)
    held_out = {str(row) for row in range(60)} - set(split.vocabulary.facts.symbols)
    assert len(held_out) == len(split.validation) == 12
    assert "Good" not in split.vocabulary.facts.symbols
    assert "good" in split.vocabulary.facts.symbols


@pytest.mark.parametrize("length", [0, 3])
def test_the_last_tokens_are_kept(length: int) -> None:
    corpus = table("one two three four,a,x", "five,b,x", "six seven,b,x")
    data = Data(kind="labelled", symbols="words", length=length, validation_fraction=0.4)
    split = LabelledSplit.of(corpus, data)
    texts = {
        decode(split.vocabulary, text)
        for part in (split.train, split.validation)
        for text in part.texts
    }
    kept = {text.replace("one ", "") if length else text for text in texts}
    assert len(texts) == 3
    assert texts == kept
    assert sorted(map(len, (*split.train.texts, *split.validation.texts))) == [1, 2, length or 4]


def test_labelled_texts_may_be_of_characters() -> None:
    data = Data(kind="labelled", validation_fraction=0.5)
    split = LabelledSplit.of(table("ab,x,s", "bc,y,s"), data)
    assert split.vocabulary.facts.symbols == ("a", "b", "c")
    assert split.train.token_count == 2
