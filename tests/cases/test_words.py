"""Kind W: models of words, and of scripts without blanks."""

import pytest

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.text_end import BEGINNING
from cellwire.model_file.vocabulary import Vocabulary


def words(*symbols: str, separator: str) -> Vocabulary:
    return Vocabulary.of(
        VocabularyFacts(
            kind="words", symbols=("<unk>", *symbols), unknown="<unk>", separator=separator
        )
    )


def again(vocabulary: Vocabulary, text: str) -> str:
    return vocabulary.text(vocabulary.encode(text).tolist())[0]


def test_line_feeds_are_symbols_and_texts_join_without_loss() -> None:
    vocabulary = words("Roses", " are", " red", ",", "\n", "Violets", separator="")
    text = "Roses are red,\nViolets are red"
    assert again(vocabulary, text) == text


def test_closing_punctuation_takes_no_separator() -> None:
    text = again(words("red", ",", "Violets", separator=" "), "red, Violets")
    assert text == " red, Violets"  # each word brings its separator


@pytest.mark.parametrize("symbol", ["👨\u200d👩\u200d👧", "❤\ufe0f", "🇩🇪"])
@pytest.mark.parametrize("separator", ["", " "])
def test_an_emoji_is_one_symbol(symbol: str, separator: str) -> None:
    assert len(words(symbol, separator=separator).encode(symbol)) == 1


def test_half_a_word_is_read_again_with_its_rest() -> None:
    vocabulary = words("hello", separator="")
    first = vocabulary.read("hel", after=BEGINNING)
    assert vocabulary.text(vocabulary.read("lo", after=first.end).tokens.tolist())[0] == "hello"


def test_the_models_own_unknown_is_read_again() -> None:
    assert words("a", separator=" ").encode("a <unk>").tolist() == [1, 0]


def test_symbols_have_names_as_they_join() -> None:
    vocabulary = words(" red", separator="")
    assert vocabulary.symbol(1) == " red"
    assert vocabulary.token_of("<unk>") == 0


def test_a_stop_is_spelt_with_and_without_its_blank() -> None:
    assert set(words("red", " red", separator="").stops("red")) == {(1,), (2,)}
